//! `doctor`: finds out why a server does not work, and what to do about it.
//!
//! In: the order of the checks, and which of them follow from others. Out: the checks (the other
//! files here), how they are shown (`terminal`, `report`).

mod authorization;
mod conversation;
mod discretion;
mod network;
mod report;
mod terminal;
mod transports;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use url::Url;

use self::discretion::Discretion;
use self::report::Findings;
use self::terminal::{Screen, Task};
use self::transports::Asker;
use super::assembly::{launcher, random, spread, stops};
use super::print;
use crate::edge::http::client::HttpClient;
use crate::edge::oauth::OauthHttp;
use crate::edge::remote;
use crate::edge::store::Store;
use crate::error::Failure;
use crate::proto::doctor::transports::Looks;
use crate::proto::doctor::verdict::Verdict;
use crate::proto::doctor::{Check, Mark, revision};
use crate::proto::headers::UserHeaders;
use crate::proto::text::public_url;
use crate::proto::{Level, Refused, StopReason};
use crate::settings::{DoctorSettings, Notice, Settings};
use crate::sign_in::{self, Parts, SignIn};

/// What follows the connection.
const AFTER_CONNECTION: [&str; 8] = [
    "streamable-http",
    "http-sse",
    "revision",
    "sign-in",
    "initialize",
    "tools",
    "prompts",
    "resources",
];

/// How long the end of a session is waited for when somebody stops us.
const ENDING: Duration = Duration::from_secs(3);

/// Names of the checks in a conversation.
const CONVERSATION: [&str; 4] = ["initialize", "tools", "prompts", "resources"];

/// Looks at everything between here and the server's tools. The worst that was found.
///
/// # Errors
/// A [`Failure`] when what was found cannot be printed, or the report cannot be written.
pub async fn run(settings: DoctorSettings) -> Result<Mark, Failure> {
    let mut screen = Screen::new(&settings, Discretion::of(&settings));
    let version = env!("CARGO_PKG_VERSION");
    let server = public_url(&settings.settings.url);
    screen.begin(&format!("mcp-bridge {version} looks at {server}"))?;
    let not_tried = unless_stopped(&settings, &mut screen).await?;
    if !not_tried.is_empty() {
        screen.say(&format!("not tried: {}", not_tried.join(", ")))?;
    }
    let verdict = Verdict::of(&screen.checks);
    let findings = Findings {
        checks: &screen.checks,
        not_tried: &not_tried,
        verdict: &verdict,
    };
    if settings.json {
        print(&report::json(&settings, &findings)?)?;
    }
    let mut written = Ok(());
    if let Some(path) = &settings.report {
        written = report::write(path, &settings, &findings, &Discretion::of(&settings));
        if written.is_ok() {
            screen.say(&format!("the report is in {}", path.display()))?;
        }
    }
    screen.conclude(&format!("{server} {}.", verdict.text))?;
    written.map(|()| verdict.mark)
}

/// Makes the checks. Whoever stops them (Ctrl+C) waits no longer than for the end of a session.
async fn unless_stopped(
    settings: &DoctorSettings,
    screen: &mut Screen,
) -> Result<Vec<&'static str>, Failure> {
    let mut stops = stops()?;
    let stop = watch::Sender::new(false);
    let mut examination = pin!(examine(settings, screen, &stop));
    tokio::select! {
        biased;
        done = &mut examination => return done,
        () = signal(&mut stops) => {}
    }
    // Whoever listens has a session to end.
    if stop.receiver_count() > 0 {
        stop.send_replace(true);
        tokio::select! {
            _ = &mut examination => {}
            () = tokio::time::sleep(ENDING) => {}
            () = signal(&mut stops) => {}
        }
    }
    Err(stopped())
}

/// A signal. That the program is gone which started us is no reason to stop.
async fn signal(stops: &mut mpsc::Receiver<StopReason>) {
    while let Some(reason) = stops.recv().await {
        if reason == StopReason::Signal {
            return;
        }
    }
    std::future::pending::<()>().await;
}

fn stopped() -> Failure {
    Failure::runtime("stopped before everything was looked at")
}

/// Makes the checks, in the order in which they follow from each other. Names of those that could
/// not be tried.
async fn examine(
    settings: &DoctorSettings,
    screen: &mut Screen,
    stop: &watch::Sender<bool>,
) -> Result<Vec<&'static str>, Failure> {
    let bridge = &settings.settings;
    screen.show(options(&settings.notices))?;
    let http = HttpClient::new(bridge.network.clone());
    http.warm_up(&bridge.url);
    let task = Task::new("looking up the name");
    let name = screen
        .during(&task, network::name(&http, &bridge.url))
        .await;
    let is_nowhere = is_bad(&name);
    screen.show(name)?;
    screen.show(network::proxy(&http, &bridge.url))?;
    if is_nowhere {
        return Ok(["connection"].into_iter().chain(AFTER_CONNECTION).collect());
    }
    task.set("connecting");
    let connection = network::connection(&http, &bridge.url);
    let connected = screen.during(&task, connection).await;
    screen.show(connected.checks)?;
    if !connected.reached {
        return Ok(AFTER_CONNECTION.to_vec());
    }
    let server = Server::new(settings, http);
    server.examine(screen, &task, stop).await
}

/// What was noticed about the options.
fn options(notices: &[Notice]) -> Vec<Check> {
    notices
        .iter()
        .filter(|notice| notice.level >= Level::Warn)
        .map(|notice| Check {
            mark: Mark::Warning,
            ..Check::good("options", &notice.text)
        })
        .collect()
}

fn is_bad(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.mark == Mark::Bad)
}

/// A server that can be reached.
struct Server<'a> {
    settings: &'a Settings,
    login: bool,
    http: HttpClient,
    url: Arc<Url>,
    current: watch::Sender<Option<UserHeaders>>,
    headers: watch::Receiver<Option<UserHeaders>>,
    sign_in: Option<Arc<SignIn>>,
}

impl<'a> Server<'a> {
    fn new(settings: &'a DoctorSettings, http: HttpClient) -> Self {
        let login = settings.login;
        let settings = &settings.settings;
        let url = Arc::new(settings.url.clone());
        let (current, headers) = watch::channel(Some(settings.exchange.headers.clone()));
        let sign_in = settings.sign_in.clone().map(|sign_in| {
            let store = Store::open(settings.store.base.clone());
            // Nobody waits for news: whoever signs in here is told at once.
            let (news, _) = mpsc::channel(sign_in::NEWS_QUEUED);
            SignIn::new(Parts {
                settings: sign_in,
                http: OauthHttp::new(http.clone(), headers.clone()),
                store: store.in_keychain(settings.store.keychain),
                launcher: launcher(&url, &settings.secret_variables),
                news,
                spread: spread(random()),
                by_hand: true,
                may_sign_in: login,
            })
        });
        Self {
            settings,
            login,
            http,
            url,
            current,
            headers,
            sign_in,
        }
    }

    async fn examine(
        self,
        screen: &mut Screen,
        task: &Task,
        stop: &watch::Sender<bool>,
    ) -> Result<Vec<&'static str>, Failure> {
        let (strategy, protocol) = (self.settings.bridge.strategy, self.settings.bridge.protocol);
        if !self.settings.header_commands.is_empty() {
            task.set("running the header commands");
            let checks = screen.during(task, self.run_commands()).await;
            screen.show(checks)?;
        }
        task.set("trying both transports");
        let mut looks = screen.during(task, self.look()).await;
        screen.show(looks.judge(strategy))?;
        let mut judged = revision::judge(&looks, protocol);
        let mut is_excluded = judged.as_ref().is_some_and(|check| check.mark == Mark::Bad);
        let knew_revision = judged.is_some();
        screen.show(judged.into_iter().collect())?;
        if let Some(refused) = looks.refused().cloned() {
            if !self.authorize(&refused, screen, task).await? {
                return Ok(CONVERSATION.to_vec());
            }
            task.set("trying both transports again");
            looks = screen.during(task, self.look()).await;
            judged = revision::judge(&looks, protocol).filter(|_| !knew_revision);
            is_excluded |= judged.as_ref().is_some_and(|check| check.mark == Mark::Bad);
            screen.show(judged.into_iter().collect())?;
            if looks.refused().is_some() {
                return Ok(CONVERSATION.to_vec());
            }
        } else if looks.can_talk(strategy) {
            let sign_in = self.sign_in.as_ref();
            screen.show(authorization::authorization(sign_in, None, false).await)?;
        } else {
            return Ok(["sign-in"].into_iter().chain(CONVERSATION).collect());
        }
        if !looks.can_talk(strategy) || is_excluded {
            return Ok(CONVERSATION.to_vec());
        }
        let (settings, http) = (self.settings, &self.http);
        let conversation =
            conversation::converse(settings, http, self.login, task, stop.subscribe());
        let conversation = Box::pin(screen.during(task, conversation)).await;
        if *stop.borrow() {
            return Err(stopped());
        }
        let over_sse = revision::judge(&looks, protocol).is_none();
        if let Some(result) = conversation.initialized.filter(|_| over_sse) {
            screen.show(vec![revision::of_result(&result)])?;
        }
        let missing = CONVERSATION.iter().skip(conversation.checks.len());
        let missing = missing.copied().collect();
        screen.show(conversation.checks)?;
        Ok(missing)
    }

    async fn look(&self) -> Looks {
        let credentials = self.sign_in.clone();
        let credentials = credentials.map(|source| source as Arc<dyn remote::Credentials>);
        let (http, headers) = (self.http.clone(), self.headers.clone());
        let exchange = &self.settings.exchange;
        let mut asker = Asker::new(http, &self.url, exchange, headers, credentials);
        asker.look(self.settings.bridge.protocol).await
    }

    /// Runs every command that makes a header.
    async fn run_commands(&self) -> Vec<Check> {
        let mut headers = self.settings.exchange.headers.clone();
        let mut checks = Vec::new();
        for command in &self.settings.header_commands {
            let name = command.name();
            let made = match command.run().await {
                Ok(value) => headers
                    .insert(name, &value)
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            checks.push(match made {
                Ok(()) => Check::good("header-command", format!("made a value for {name}")),
                Err(wrong) => {
                    let advice = "run the command by hand and see what it prints";
                    Check::bad("header-command", wrong, advice)
                }
            });
        }
        self.current.send_replace(Some(headers));
        checks
    }

    /// Looks at the sign-in that the server wants, and signs in if that is wanted here too. Whether
    /// it may be asked again.
    async fn authorize(
        &self,
        refused: &Refused,
        screen: &mut Screen,
        task: &Task,
    ) -> Result<bool, Failure> {
        task.set("looking at the sign-in");
        let Some(sign_in) = &self.sign_in else {
            let checks = authorization::authorization(None, Some(refused), false).await;
            screen.show(checks)?;
            return Ok(false);
        };
        if refused.credentials != 0 {
            // What a bridge would do first: renew what is stored.
            let renewed = screen
                .during(task, sign_in.authorize(refused))
                .await
                .is_ok();
            if renewed && !self.login {
                screen.show(authorization::authorization(Some(sign_in), None, false).await)?;
                return Ok(true);
            }
        }
        let section = authorization::authorization(Some(sign_in), Some(refused), self.login);
        let checks = screen.during(task, section).await;
        let is_possible = !is_bad(&checks);
        screen.show(checks)?;
        if !self.login || !is_possible {
            return Ok(false);
        }
        let (http, exchange) = (&self.http, &self.settings.exchange);
        let login = authorization::login(sign_in, http, &self.url, exchange, &self.headers);
        let check = login.await;
        let has_signed_in = check.mark != Mark::Bad;
        screen.show(vec![check])?;
        Ok(has_signed_in)
    }
}
