//! The default: bridge stdin and stdout to the remote server.
//!
//! In: putting the parts together. Out: the parts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::driver::{Driver, HeaderCommands};
use crate::edge::http::client::HttpClient;
use crate::edge::remote::{self, Remote};
use crate::edge::{log, signals, stdio};
use crate::error::Failure;
use crate::proto::{self, Bridge, Level};
use crate::settings::Settings;

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
    let has_authorization = fixed.has_authorization()
        || settings
            .header_commands
            .iter()
            .any(|command| command.name().eq_ignore_ascii_case("authorization"));
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
    let bridge = proto::Settings {
        url,
        strategy: settings.bridge.strategy,
        filter: settings.bridge.filter,
        ping_interval: settings.bridge.ping_interval,
        eof_grace: settings.bridge.eof_grace,
        message_limit: settings.bridge.message_limit,
        has_authorization,
        has_header_commands: has_commands,
        debug: log::enabled(Level::Debug),
        nonce: format!("{nonce:016x}"),
        seed,
    };
    let (stdout, stdout_closed) = stdio::Output::start(std::io::stdout());
    let driver = Driver {
        bridge: Bridge::new(bridge, started()),
        lines: stdio::read_lines(std::io::stdin(), settings.bridge.message_limit),
        stdout,
        stdout_closed,
        remote: Remote::new(http, exchange, headers, reports),
        inputs,
        stops,
        header_commands: HeaderCommands {
            fixed,
            commands: settings.header_commands,
            current,
        },
    };
    driver.run().await;
    Ok(())
}

/// A number nobody can guess: the standard library keys its hash maps from the system's source of
/// randomness.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bridge is told when it starts"
)]
fn started() -> Instant {
    Instant::now()
}
