//! The default: bridge stdin and stdout to the remote server.
//!
//! In: the pipes, the signals, the end, and a word to a person who started it by hand. Out: putting
//! the bridge together (`assembly`).

use std::io::IsTerminal as _;
use std::time::Duration;

use url::Url;

use super::assembly::{Ends, Guest, assemble, stops};
use crate::edge::http::client::HttpClient;
use crate::edge::{log, stdio};
use crate::error::Failure;
use crate::proto::text::public_url;
use crate::proto::{Level, StopReason};
use crate::settings::Settings;

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
    let http = HttpClient::new(settings.network.clone());
    for warning in http.check(&settings.url).map_err(Failure::usage)? {
        log::say(Level::Warn, &warning);
    }
    http.warm_up(&settings.url);
    let stops = stops()?;
    let is_by_hand = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if is_by_hand {
        for line in words_to_a_person(&settings.url) {
            log::say(Level::Info, &line);
        }
    }
    let (stdout, stdout_closed) = stdio::Output::start(std::io::stdout());
    let ends = Ends {
        lines: stdio::read_lines(std::io::stdin(), settings.bridge.message_limit),
        stdout,
        stdout_closed,
        stops,
    };
    let (driver, signing_in) = assemble(settings, http, ends, Guest::Client);
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

/// What somebody should know who typed what a client should start.
fn words_to_a_person(url: &Url) -> [String; 2] {
    [
        "Waiting for an MCP client on stdin: this program is meant to be started by one. Ctrl+C \
         ends it."
            .to_owned(),
        format!(
            "To see whether the server works: mcp-bridge doctor {}",
            public_url(url)
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_what_to_do_instead_without_secrets() {
        let url = "https://mcp.example.com/mcp?key=hunter2".parse().unwrap();
        let words = words_to_a_person(&url).join("\n");
        assert!(words.contains("Ctrl+C") && words.contains("client on stdin"));
        assert!(words.ends_with("mcp-bridge doctor https://mcp.example.com/mcp"));
    }
}
