//! Putting a bridge together from its settings.
//!
//! In: which part gets what. Out: the parts, and who talks to the bridge (`run`, `doctor`).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use url::Url;

use crate::driver::{Driver, HeaderCommands, Memory};
use crate::edge::browser::Launcher;
use crate::edge::http::client::HttpClient;
use crate::edge::oauth::OauthHttp;
use crate::edge::remote::{self, Remote};
use crate::edge::stdio::{self, FromClient};
use crate::edge::store::Store;
use crate::edge::{log, signals};
use crate::error::Failure;
use crate::proto::bridge::Credentials;
use crate::proto::{self, Bridge, Level, StopReason};
use crate::settings::{ExchangeSettings, Settings};
use crate::sign_in::{self, Parts, SignIn};

/// How long `initialize` waits where nothing may be said in the server's place.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// What a bridge reads from, writes to and hears of its end by.
pub(super) struct Ends {
    /// Lines of the client.
    pub(super) lines: mpsc::Receiver<FromClient>,
    /// Lines for it.
    pub(super) stdout: stdio::Output,
    /// Resolves when nobody reads those any more.
    pub(super) stdout_closed: oneshot::Receiver<()>,
    /// Who asks for an end.
    pub(super) stops: mpsc::Receiver<StopReason>,
}

/// Whom a bridge is put together for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// The client that started us.
    Client,
    /// Somebody who wants to know what the server says now: nothing is answered in its place and
    /// nothing of earlier starts is relied on. `may_sign_in`: other credentials than those that
    /// are stored may be got.
    Examiner {
        /// Whether that is allowed.
        may_sign_in: bool,
    },
}

/// A bridge that is ready to run, and what signs in for it.
pub(super) fn assemble(
    settings: Settings,
    http: HttpClient,
    ends: Ends,
    guest: Guest,
) -> (Driver, Option<Arc<SignIn>>) {
    let url = Arc::new(settings.url);
    let has_commands = !settings.header_commands.is_empty();
    let exchange = exchange(&url, &settings.exchange);
    let fixed = settings.exchange.headers;
    let (current, headers) = watch::channel((!has_commands).then(|| fixed.clone()));
    let (reports, inputs) = mpsc::channel(remote::INPUTS_QUEUED);
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
            may_sign_in: guest != Guest::Examiner { may_sign_in: false },
        })
    });
    let is_client = guest == Guest::Client;
    let initialize_wait = settings.bridge.initialize_wait;
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
        initialize_wait: if is_client { initialize_wait } else { FOREVER },
        last_initialize: memory.initialize.clone().filter(|_| is_client),
        protocol: settings.bridge.protocol,
        upgrade: settings.bridge.upgrade,
        legacy_first: settings.bridge.legacy_first,
        remembered: remembered.filter(|_| is_client),
        debug: log::enabled(Level::Debug),
        nonce: format!("{nonce:016x}"),
        seed,
    };
    let source = signing_in
        .clone()
        .map(|source| source as Arc<dyn remote::Credentials>);
    let driver = Driver {
        bridge: Bridge::new(bridge, now()),
        lines: ends.lines,
        stdout: ends.stdout,
        stdout_closed: ends.stdout_closed,
        remote: Remote::new(http, exchange, headers, source, reports),
        inputs,
        stops: ends.stops,
        header_commands: HeaderCommands {
            fixed,
            commands: settings.header_commands,
            current,
        },
        sign_in: signing_in.clone(),
        news,
        memory,
    };
    (driver, signing_in)
}

/// Who asks for an end from outside.
///
/// # Errors
/// The system refuses signal handlers.
pub(super) fn stops() -> Result<mpsc::Receiver<StopReason>, Failure> {
    let failed = |error| Failure::runtime(format!("signals cannot be handled: {error}"));
    signals::watch().map_err(failed)
}

/// What exchanges with this server need to know.
pub(super) fn exchange(url: &Arc<Url>, settings: &ExchangeSettings) -> remote::Settings {
    remote::Settings {
        server: Arc::clone(url),
        cookies: settings.cookies,
        headers_timeout: settings.headers_timeout,
        body_timeout: settings.body_timeout,
        message_limit: settings.message_limit,
    }
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

/// The clock that only runs forwards.
#[expect(
    clippy::disallowed_methods,
    reason = "the bridge is told when it starts, and a report how long something took"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
