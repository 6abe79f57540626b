//! A sign-in that needs a person: begun once for everybody, and going on beside all else until the
//! person is done or its time is over.
//!
//! In: one attempt in this process, its steps with a browser. Out: one attempt across processes
//! (`waiting`), the steps with another device (`device`).

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use super::authorize::Why;
use super::exchange::Provenance;
use super::identity::Identity;
use super::wallet::Origin;
use super::{SignIn, lock, now};
use crate::edge::browser::Launch;
use crate::edge::callback::page::Page;
use crate::edge::callback::{Browser, Listener};
use crate::edge::store::PendingSignIn;
use crate::edge::{keys, log};
use crate::proto::auth::authorize::{self, Pending};
use crate::proto::auth::callback::{self, Outcome, Retry};
use crate::proto::auth::client::Provenance as ClientProvenance;
use crate::proto::auth::discovery::Discovered;
use crate::proto::auth::scope::Wanted;
use crate::proto::auth::settings::Grant;
use crate::proto::auth::{grant, key, limits, preflight, quirks};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::{Level, Prompt, text};

/// How many ports after the derived one are tried, as npm `mcp-remote` does.
const PORTS: u16 = 8;

/// One attempt. Clones watch the same one.
#[derive(Clone)]
pub(super) struct Attempt {
    progress: watch::Receiver<Progress>,
    pasted: mpsc::Sender<Pasted>,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The person was told, and has the turn.
    prompt: Option<Prompt>,
    outcome: Option<Result<(), Failure>>,
}

/// A pasted address, and where to say what is wrong with it.
struct Pasted {
    text: Secret,
    answer: oneshot::Sender<Result<(), String>>,
}

impl Attempt {
    /// Whether a person has the turn.
    pub(super) fn is_with_person(&self) -> bool {
        let progress = self.progress.borrow();
        progress.prompt.is_some() && progress.outcome.is_none()
    }

    fn is_over(&self) -> bool {
        self.progress.borrow().outcome.is_some() || self.progress.has_changed().is_err()
    }

    /// Waits for its end.
    pub(super) async fn outcome(&self) -> Result<(), Failure> {
        let mut progress = self.progress.clone();
        let ended = progress
            .wait_for(|progress| progress.outcome.is_some())
            .await;
        match ended.ok().and_then(|progress| progress.outcome.clone()) {
            Some(outcome) => outcome,
            None => {
                let text = "the sign-in crashed; please report this with the output of --debug";
                Err(Failure::new(Kind::AuthorizationError, Executed::No, text))
            }
        }
    }

    /// Hands in a redirect address that the person pasted.
    pub(super) async fn paste(&self, text: &str) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let pasted = Pasted {
            text: Secret::from(text),
            answer,
        };
        let gone = || "the sign-in is over".to_owned();
        self.pasted.send(pasted).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// What an attempt reports to and hears from.
pub(super) struct Desk {
    progress: watch::Sender<Progress>,
    pasted: mpsc::Receiver<Pasted>,
}

impl Desk {
    /// The person has the turn.
    pub(super) fn show(&self, prompt: Prompt) {
        self.progress
            .send_modify(|progress| progress.prompt = Some(prompt));
    }

    /// No browser shows the address that the person was given.
    fn not_opened(&self) {
        self.progress.send_modify(|progress| {
            if let Some(prompt) = &mut progress.prompt {
                prompt.opened = false;
            }
        });
    }
}

/// What an attempt is to bring about.
pub(super) struct Task {
    pub(super) found: Arc<Discovered>,
    pub(super) scope: Option<String>,
    pub(super) proof: bool,
    pub(super) why: Why,
    /// The access token that is no good any more.
    pub(super) refused: Option<Secret>,
}

impl SignIn {
    /// The attempt that is under way, if there is one.
    pub(super) fn running_attempt(&self) -> Option<Attempt> {
        let attempt = lock(&self.attempt).clone();
        attempt.filter(|attempt| !attempt.is_over())
    }

    pub(super) fn start_attempt(
        self: &Arc<Self>,
        found: Arc<Discovered>,
        wanted: Wanted,
        proof: bool,
        why: Why,
    ) -> Attempt {
        let (progress, watched) = watch::channel(Progress::default());
        let (paste, pasted) = mpsc::channel(1);
        let attempt = Attempt {
            progress: watched,
            pasted: paste,
        };
        *lock(&self.attempt) = Some(attempt.clone());
        let refused = self.wallet().tokens().map(|tokens| tokens.access.clone());
        let task = Task {
            found,
            scope: wanted.scope,
            proof,
            why,
            refused,
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut desk = Desk { progress, pasted };
            let outcome = this.attempt_alone(task, &mut desk).await;
            this.keep(|state| {
                let ours = std::process::id();
                if state
                    .pending
                    .as_ref()
                    .is_some_and(|pending| pending.pid == ours)
                {
                    state.pending = None;
                }
            });
            desk.progress
                .send_modify(|progress| progress.outcome = Some(outcome));
        });
        attempt
    }

    /// Waits for an attempt, for as long as a person may take. It goes on beyond that, so that a
    /// late answer still counts.
    pub(super) async fn join(&self, attempt: &Attempt) -> Result<(), Failure> {
        let mut progress = attempt.progress.clone();
        let mut shown = None;
        let mut limit = None;
        loop {
            let (prompt, is_over) = {
                let progress = progress.borrow_and_update();
                (progress.prompt.clone(), progress.outcome.is_some())
            };
            if is_over {
                return attempt.outcome().await;
            }
            if prompt.is_some() && prompt != shown {
                shown.clone_from(&prompt);
                limit.get_or_insert_with(|| tokio::time::Instant::now() + self.settings.timeout);
                if let Some(prompt) = prompt {
                    // Nobody may be listening any more: then the process is ending.
                    let _ = self.prompts.try_send(prompt);
                }
            }
            let too_late = async {
                match limit {
                    Some(limit) => tokio::time::sleep_until(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = progress.changed() => if changed.is_err() {
                    return attempt.outcome().await;
                },
                () = too_late => return Err(self.nobody_came()),
            }
        }
    }

    fn nobody_came(&self) -> Failure {
        let text = format!(
            "nobody signed in to {} within {} s; the link keeps working for some minutes, \
             --auth-timeout SECONDS waits longer{}",
            self.server(),
            self.settings.timeout.as_secs(),
            self.dead_client_hint()
        );
        Failure::new(Kind::AuthorizationTimeout, Executed::No, text)
    }

    /// Authorization servers that do not know the client show that to the person alone.
    fn dead_client_hint(&self) -> &'static str {
        if self.settings.given_client.is_none() && self.entry.client().is_some() {
            ". If the browser shows an error about the client, forget the registration with \
             \"mcp-bridge logout --forget-client URL\""
        } else {
            ""
        }
    }

    /// Under the lock of all processes.
    async fn attempt_alone(&self, task: Task, desk: &mut Desk) -> Result<(), Failure> {
        let Some(_lock) = self.wait_for_turn(&task, desk).await? else {
            return Ok(());
        };
        if task.proof {
            self.ensure_proof_key()?;
        }
        match self.settings.grant {
            Grant::Device => self.sign_in_with_device(&task, desk).await,
            _ => self.sign_in_with_browser(task, desk).await,
        }
    }

    async fn sign_in_with_browser(&self, mut task: Task, desk: &mut Desk) -> Result<(), Failure> {
        let server = task.found.server.clone();
        let allow =
            self.settings.allow_missing_pkce || quirks::of(&server.issuer).pkce_unadvertised;
        server
            .check_code_flow(allow)
            .map_err(|failure| self.with_hint(failure))?;
        let mut listener = self.listen().await?;
        let redirect_uri = match (&listener, self.foreign_redirect()) {
            (Some(listener), _) => self.redirect_uri(listener.port()),
            (None, Some(given)) => given.to_owned(),
            (None, None) => String::new(),
        };
        let (mut anew, mut retried) = (false, false);
        loop {
            let scope = self.user_param("scope").or_else(|| task.scope.clone());
            let identity = self
                .identity(&server, Some(&redirect_uri), scope.as_deref(), anew)
                .await
                .map_err(|failure| self.with_hint(failure))?;
            let resource = task.found.resource.as_ref();
            let resource = resource.map(|resource| resource.resource.as_str());
            let resource = self
                .user_param("resource")
                .or_else(|| authorize::resource(&self.settings, resource));
            if !anew
                && self
                    .is_forgotten(&identity, &redirect_uri, &task, resource.as_deref())
                    .await
            {
                anew = true;
                continue;
            }
            let pkce = keys::Pkce::new()?;
            let pending = Pending {
                state: keys::random_token(32)?,
                verifier: pkce.verifier,
                server: server.clone(),
                client: identity.client,
                redirect_uri: redirect_uri.clone(),
                resource,
                scope,
                since: wall_clock(),
            };
            let url = authorize::url(&self.settings, &pending, &pkce.challenge)?;
            authorize::openable(url.as_str())?;
            self.brake()?;
            let port = listener.as_ref().map(Listener::port);
            let launching = self.invite(&url, port, desk);
            let life = limits::STATE.max(self.settings.timeout);
            let back = self.wait_for_browser(&mut listener, &pending, desk, launching);
            let (outcome, browser) = match tokio::time::timeout(life, back).await {
                Ok(back) => back,
                Err(_) => return Err(self.nobody_came()),
            };
            let failure = match outcome {
                Outcome::Code(code) => {
                    let exchanged = self.exchange(&pending, &code, task.proof).await;
                    return self.conclude(exchanged, browser).await;
                }
                Outcome::Failed(_, Some(Retry::WithoutOfflineAccess))
                    if !retried && has_offline_access(task.scope.as_deref()) =>
                {
                    retried = true;
                    task.scope = without_offline_access(task.scope.as_deref());
                    show(browser, Page::Elsewhere).await;
                    continue;
                }
                Outcome::Failed(_, Some(Retry::NewClient))
                    if !anew && pending.client.provenance == ClientProvenance::Registered =>
                {
                    anew = true;
                    show(browser, Page::Elsewhere).await;
                    continue;
                }
                Outcome::Failed(failure, _) => failure,
            };
            show(browser, Page::Failed).await;
            return Err(self.with_hint(failure));
        }
    }

    /// Exchanges the code, once (RFC 6749 §4.1.3).
    async fn exchange(&self, pending: &Pending, code: &Secret, proof: bool) -> Result<(), Failure> {
        let resource = pending.resource.as_deref();
        let form = grant::code(code, &pending.verifier, &pending.redirect_uri, resource);
        let asked = self
            .token_request(&pending.server, Some(&pending.client), form, proof)
            .await;
        let mut tokens = asked.map_err(|refused| {
            let unknown = refused.error.code.as_deref() == Some("invalid_client");
            if unknown && pending.client.provenance == ClientProvenance::Registered {
                // The next attempt registers anew.
                if let Err(failure) = self.entry.drop_client() {
                    log::say(Level::Debug, &failure.text);
                }
            }
            refused.failure()
        })?;
        if self.settings.use_id_token && tokens.id_token.is_none() {
            let text = "--use-id-token: the authorization server sent no ID token; the scope needs \"openid\" (--static-oauth-client-metadata '{\"scope\": \"openid …\"}')";
            return Err(Failure::new(Kind::TokenResponseInvalid, Executed::No, text));
        }
        if tokens.scope.is_none() {
            tokens.scope.clone_from(&pending.scope);
        }
        let kept_without_refresh = tokens.refresh.is_none() && tokens.expires_at.is_some();
        let provenance = Provenance {
            server: &pending.server,
            resource,
            requested_scope: pending.scope.as_deref(),
            origin: Origin::SignedIn,
        };
        self.keep_tokens(tokens, &provenance);
        log::say(Level::Info, &format!("Signed in to {}", self.server()));
        if kept_without_refresh {
            let hint = quirks::of(&pending.server.issuer).hint.unwrap_or(
                "some servers give one for --authorize-param prompt=consent or access_type=offline",
            );
            let text = format!(
                "the authorization server gave no refresh token: signing in will be needed again when the token expires; {hint}"
            );
            log::say(Level::Info, &text);
        }
        Ok(())
    }

    /// Tells the browser how it ended.
    async fn conclude(
        &self,
        outcome: Result<(), Failure>,
        browser: Option<Browser>,
    ) -> Result<(), Failure> {
        let page = match (&outcome, &self.settings.success_url) {
            (Ok(()), Some(url)) => Page::Redirect(url.clone()),
            (Ok(()), None) => Page::SignedIn,
            (Err(_), _) => Page::Failed,
        };
        show(browser, page).await;
        outcome.map_err(|failure| self.with_hint(failure))
    }

    /// Waits for the browser, or for an address that the person pastes.
    async fn wait_for_browser(
        &self,
        listener: &mut Option<Listener>,
        pending: &Pending,
        desk: &mut Desk,
        mut launching: Option<JoinHandle<Launch>>,
    ) -> (Outcome, Option<Browser>) {
        let port = listener.as_ref().map(Listener::port);
        loop {
            let came = async {
                match listener.as_mut() {
                    Some(listener) => listener.wait(pending, &self.settings.callback_path).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(launched) = async { Some(launching.as_mut()?.await) } => {
                    launching = None;
                    self.say_launched(launched.ok(), port, desk);
                }
                (outcome, browser) = came => return (outcome, Some(browser)),
                Some(pasted) = desk.pasted.recv() => {
                    let judged = callback::pasted(pending, pasted.text.reveal());
                    // The person may have given up waiting for the verdict.
                    let _ = pasted.answer.send(judged.as_ref().map(drop).map_err(Clone::clone));
                    if let Ok(outcome) = judged {
                        return (outcome, None);
                    }
                }
            }
        }
    }

    /// Listens where the browser is to return to. `None`: that is not on this machine.
    async fn listen(&self) -> Result<Option<Listener>, Failure> {
        if self.foreign_redirect().is_some() {
            return Ok(None);
        }
        let derived = key::derived_port(&self.settings.key);
        let ports = match self.settings.callback_port {
            Some(port) => vec![port],
            None if self.settings.given_client.is_some() => {
                vec![self.registered_port().unwrap_or(derived)]
            }
            None if self.settings.client_metadata_url.is_some() => vec![derived],
            None => {
                let walk = (0..PORTS).filter_map(|step| derived.checked_add(step));
                self.registered_port()
                    .into_iter()
                    .chain(walk)
                    .chain([0])
                    .collect()
            }
        };
        Listener::bind(&self.settings.host, &ports).await.map(Some)
    }

    /// A parameter that the user's own `--authorize-param` puts in the place of ours: all requests
    /// have to say the same.
    fn user_param(&self, name: &str) -> Option<String> {
        let mut params = self.settings.authorize_params.iter().rev();
        let (_, value) = params.find(|(key, _)| key == name)?;
        Some(value.clone())
    }

    fn redirect_uri(&self, port: u16) -> String {
        let (host, path) = (&self.settings.host, &self.settings.callback_path);
        let bare_v6 = host.contains(':') && !host.starts_with('[');
        if bare_v6 {
            format!("http://[{host}]:{port}{path}")
        } else {
            format!("http://{host}:{port}{path}")
        }
    }

    /// The port of an address that the client is registered with, or that the user gave.
    fn registered_port(&self) -> Option<u16> {
        let given = self.settings.given_client.as_ref();
        let uris = match given {
            Some(client) => client.redirect_uris.clone(),
            None => self.entry.client()?.redirect_uris,
        };
        uris.iter().find_map(|uri| {
            let port = Url::parse(uri).ok()?.port()?;
            (self.redirect_uri(port) == *uri).then_some(port)
        })
    }

    /// A redirect address of the user's that does not lead to this machine.
    fn foreign_redirect(&self) -> Option<&str> {
        let given = self.settings.given_client.as_ref();
        let given = given.and_then(|client| client.redirect_uris.first());
        let given = given.map(String::as_str).or_else(|| {
            let uris = self.settings.client_metadata.get("redirect_uris")?;
            uris.get(0)?.as_str()
        })?;
        let url = Url::parse(given).ok()?;
        (!crate::proto::auth::address::is_loopback(&url)).then_some(given)
    }

    /// A registration of earlier days may be forgotten by now, and only the browser would show it.
    /// One request without following it anywhere tells (RFC 6749 §4.1.2.1).
    async fn is_forgotten(
        &self,
        identity: &Identity,
        redirect_uri: &str,
        task: &Task,
        resource: Option<&str>,
    ) -> bool {
        let stored = identity.client.provenance == ClientProvenance::Registered;
        if identity.is_new || !stored || task.why == Why::StepUp {
            return false;
        }
        let (Ok(pkce), Ok(state)) = (keys::Pkce::new(), keys::random_token(32)) else {
            return false;
        };
        let probe = Pending {
            state,
            verifier: pkce.verifier,
            server: task.found.server.clone(),
            client: identity.client.clone(),
            redirect_uri: redirect_uri.to_owned(),
            resource: resource.map(str::to_owned),
            scope: task.scope.clone(),
            since: wall_clock(),
        };
        let Ok(url) = authorize::url(&self.settings, &probe, &pkce.challenge) else {
            return false;
        };
        let policy = self.policy().await;
        let Some(answer) = self.http.look(&url, policy).await else {
            return false;
        };
        let location = answer.location.as_deref();
        let forgotten = preflight::client_is_unknown(answer.status, location, &answer.body);
        if forgotten {
            let text = format!(
                "{} does not know this client any more; registering again",
                text::sanitize(&task.found.server.issuer, 200)
            );
            log::say(Level::Info, &text);
        }
        forgotten
    }

    /// Opens the browser, and says in words what to do in any case.
    fn invite(&self, url: &Url, port: Option<u16>, desk: &Desk) -> Option<JoinHandle<Launch>> {
        let (server, page) = (self.server(), text::origin(url));
        log::say(
            Level::Error,
            &format!("{server} wants you to sign in at {page}"),
        );
        log::tell("Please authorize this client by visiting:", url.as_str());
        self.keep(|state| state.pending = Some(self.pending(url.as_str())));
        desk.show(Prompt {
            url: url.to_string(),
            instruction: None,
            opened: !self.settings.no_browser,
        });
        if port.is_none() {
            log::say(
                Level::Error,
                "the redirect address is not on this machine: run \"mcp-bridge login URL\" in a \
                 terminal and paste the address that the browser ends at",
            );
        }
        if self.settings.no_browser {
            self.say_by_hand("--no-browser", port);
            return None;
        }
        let (launcher, url) = (self.launcher.clone(), url.clone());
        Some(tokio::spawn(async move { launcher.open(&url).await }))
    }

    fn say_launched(&self, launched: Option<Launch>, port: Option<u16>, desk: &Desk) {
        let why = match launched {
            Some(Launch::Launched) => {
                log::say(Level::Info, "Browser opened automatically.");
                return;
            }
            Some(Launch::Unavailable(reason)) => reason.to_owned(),
            Some(Launch::Failed(problem)) => problem,
            None => "opening a browser crashed".to_owned(),
        };
        self.say_by_hand(&why, port);
        desk.not_opened();
    }

    fn say_by_hand(&self, why: &str, port: Option<u16>) {
        let text = format!("no browser was opened ({why}): open the address above by hand");
        log::say(Level::Error, &text);
        self.say_ways(port);
    }

    /// For other processes to show.
    pub(super) fn pending(&self, link: &str) -> PendingSignIn {
        PendingSignIn {
            link: Secret::from(link),
            pid: std::process::id(),
            since: now(),
        }
    }

    /// Ways to sign in on a machine that is somewhere else.
    fn say_ways(&self, port: Option<u16>) {
        if let Some(port) = port {
            let text = format!(
                "if your browser runs on another machine: forward the port first (ssh -L {port}:localhost:{port} HOST), or run \"mcp-bridge login URL\" here and paste the address that the browser ends at"
            );
            log::say(Level::Info, &text);
        }
        let found = lock(&self.found).clone();
        let device = found.and_then(|found| found.server.device_authorization_endpoint.clone());
        if device.is_some() {
            log::say(
                Level::Info,
                "this authorization server also lets you sign in on another device: --device-code",
            );
        }
    }

    /// Counts one more window, unless there were too many.
    pub(super) fn brake(&self) -> Result<(), Failure> {
        let brake = self.entry.state().brake;
        if !brake.allows(now()) {
            let text = format!(
                "{} sign-ins for {} began within {} min without lasting success, so no other one \
                 is begun now; try by hand: mcp-bridge login URL",
                brake.opened.len(),
                self.server(),
                limits::BRAKE_WINDOW.as_secs() / 60
            );
            return Err(Failure::new(Kind::AuthLoop, Executed::No, text));
        }
        self.keep(|state| state.brake.open(now()));
        Ok(())
    }

    /// Adds what is known of this authorization server to a failure.
    pub(super) fn with_hint(&self, mut failure: Failure) -> Failure {
        let found = lock(&self.found).clone();
        let hint = found.and_then(|found| quirks::of(&found.server.issuer).hint);
        if let Some(hint) = hint
            && !failure.text.contains(hint)
        {
            failure.text = format!("{}; {hint}", failure.text);
        }
        failure
    }
}

async fn show(browser: Option<Browser>, page: Page) {
    if let Some(browser) = browser {
        browser.show(page).await;
    }
}

fn has_offline_access(scope: Option<&str>) -> bool {
    scope.is_some_and(|scope| scope.split(' ').any(|one| one == "offline_access"))
}

fn without_offline_access(scope: Option<&str>) -> Option<String> {
    let rest: Vec<&str> = scope?
        .split(' ')
        .filter(|one| *one != "offline_access")
        .collect();
    (!rest.is_empty()).then(|| rest.join(" "))
}

#[expect(clippy::disallowed_methods, reason = "when the sign-in began")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
