//! The default: bridge stdin and stdout to the remote server.
//!
//! In: putting the parts together. Out: the parts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use url::Url;

use crate::driver::{Driver, HeaderCommands, Memory};
use crate::edge::browser::Launcher;
use crate::edge::http::client::HttpClient;
use crate::edge::oauth::OauthHttp;
use crate::edge::remote::{self, Remote};
use crate::edge::store::Store;
use crate::edge::{log, signals, stdio};
use crate::error::Failure;
use crate::proto::bridge::Credentials;
use crate::proto::{self, Bridge, Level, StopReason};
use crate::settings::Settings;
use crate::sign_in::{self, Parts, SignIn};

/// How long tokens that were asked for are waited for at the end, whoever asks for the end.
const TOKENS_GRACE: Duration = Duration::from_secs(2);

/// How long a sign-in that a person is in the middle of is waited for after the client has gone.
const SIGN_IN_GRACE: Duration = Duration::from_secs(120);

/// Runs until the client closes its end, a signal comes, or nobody reads the output any more.
///
/// # Errors
///
/// A [`Failure`] when a file the user named cannot be used, or the system refuses signal handlers.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    let http = HttpClient::new(settings.network);
    for warning in http.check(&settings.url).map_err(Failure::usage)? {
        log::say(Level::Warn, &warning);
    }
    http.warm_up(&settings.url);
    let stops = signals::watch()
        .map_err(|error| Failure::runtime(format!("signals cannot be handled: {error}")))?;

    let url = Arc::new(settings.url);
    let fixed = settings.exchange.headers;
    let has_commands = !settings.header_commands.is_empty();
    let (current, headers) = watch::channel((!has_commands).then(|| fixed.clone()));
    let (reports, inputs) = mpsc::channel(remote::INPUTS_QUEUED);
    let exchange = remote::Settings {
        server: Arc::clone(&url),
        cookies: settings.exchange.cookies,
        headers_timeout: settings.exchange.headers_timeout,
        body_timeout: settings.exchange.body_timeout,
        message_limit: settings.exchange.message_limit,
    };
    let (nonce, seed) = (random(), random());
    let store = Store::open(settings.store.base).in_keychain(settings.store.keychain);
    let entry = store.entry(&settings.key);
    let (memory, remembered) = Memory::of(entry, fixed.clone());
    let (reporter, news) = mpsc::channel(sign_in::NEWS_QUEUED);
    let credentials = source_of_credentials(settings.sign_in.is_some(), has_commands);
    let signing_in = settings.sign_in.map(|sign_in| {
        let launcher = launcher(&url, &settings.secret_variables);
        let oauth = OauthHttp::new(http.clone(), headers.clone());
        SignIn::new(Parts {
            settings: sign_in,
            http: oauth,
            store,
            launcher,
            news: reporter,
            spread: spread(seed),
            by_hand: false,
        })
    });
    let bridge = proto::Settings {
        url,
        strategy: settings.bridge.strategy,
        filter: settings.bridge.filter,
        ping_interval: settings.bridge.ping_interval,
        call_timeout: settings.bridge.call_timeout,
        heartbeat: settings.bridge.heartbeat,
        eof_grace: settings.bridge.eof_grace,
        message_limit: settings.bridge.message_limit,
        credentials,
        initialize_wait: settings.bridge.initialize_wait,
        last_initialize: memory.initialize.clone(),
        protocol: settings.bridge.protocol,
        upgrade: settings.bridge.upgrade,
        legacy_first: settings.bridge.legacy_first,
        remembered,
        debug: log::enabled(Level::Debug),
        nonce: format!("{nonce:016x}"),
        seed,
    };
    let source = signing_in
        .clone()
        .map(|source| source as Arc<dyn remote::Credentials>);
    let (stdout, stdout_closed) = stdio::Output::start(std::io::stdout());
    let driver = Driver {
        bridge: Bridge::new(bridge, started()),
        lines: stdio::read_lines(std::io::stdin(), settings.bridge.message_limit),
        stdout,
        stdout_closed,
        remote: Remote::new(http, exchange, headers, source, reports),
        inputs,
        stops,
        header_commands: HeaderCommands {
            fixed,
            commands: settings.header_commands,
            current,
        },
        sign_in: signing_in.clone(),
        news,
        memory,
    };
    let stops = driver.run().await;
    let Some(sign_in) = signing_in else {
        return Ok(());
    };
    if let Some(mut stops) = stops {
        let signalled = async {
            // That the client is gone is known by now.
            while stops
                .recv()
                .await
                .is_some_and(|reason| reason != StopReason::Signal)
            {}
        };
        tokio::select! {
            () = sign_in.finish(SIGN_IN_GRACE) => {}
            () = signalled => {}
        }
    }
    sign_in.settle(TOKENS_GRACE).await;
    Ok(())
}

fn source_of_credentials(signs_in: bool, has_commands: bool) -> Credentials {
    match (signs_in, has_commands) {
        (true, _) => Credentials::SignIn,
        (false, true) => Credentials::Commands,
        (false, false) => Credentials::Given,
    }
}

/// What opens a browser for this server's sign-in.
pub(super) fn launcher(server: &Arc<Url>, secret_variables: &[String]) -> Launcher {
    Launcher::new(Arc::clone(server), std::env::vars_os(), secret_variables)
}

/// A share from 0 to 1, different in every process.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rough share is all that is wanted"
)]
pub(super) fn spread(seed: u64) -> f64 {
    (seed >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number nobody can guess: the standard library keys its hash maps from the system's source of
/// randomness.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bridge is told when it starts"
)]
fn started() -> Instant {
    Instant::now()
}
