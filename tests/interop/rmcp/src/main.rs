//! A client and a server built on rmcp, the Rust SDK, as peers of the interop matrix. In: the
//! command line and the names both sides agree on. Out: what the server offers (`server.rs`), what
//! the client tries (`client.rs`).
//!
//! | role | names |
//! |---|---|
//! | server | `stateful`, `stateless`: up to 2025-11-25; `modern`: 2026-07-28 alone; `dual`: both, with legacy sessions |
//! | stdio | the same kinds, on stdin and stdout |
//! | client | `legacy`: `initialize`; `modern`: `server/discover`; `auto`: `server/discover`, then `initialize` |
//!
//! Tools: `echo` {text}, `weather` {city}, `fail`, `count` {to}, `chat`, `ask-model` {prompt},
//! `ask-form`, `ask-link`, `ask-both`, `ask-twice`, `list-roots`, `meet` {size, label}, `wait`
//! {label}, `was-cancelled` {label}, `add-tool` {name}, `touch`. Resources: `matrix://greeting`,
//! `matrix://pixel`, `matrix://counter`, template `matrix://item/{id}`. Prompt: `greet` {name}.
//! What each one does stands in `../matrix/offer.mjs`.

mod client;
mod server;

use std::process::ExitCode;

const USAGE: &str = "usage: rmcp-peer server stateful|stateless|modern|dual
       rmcp-peer stdio stateful|stateless|modern|dual
       rmcp-peer client legacy|modern|auto -- COMMAND [ARGUMENT]…";

#[expect(
    clippy::disallowed_methods,
    reason = "the arguments are read here and nowhere else"
)]
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["server", kind] => match server::Kind::named(kind) {
            Some(kind) => server::run(kind).await,
            None => return usage(),
        },
        ["stdio", kind] => match server::Kind::named(kind) {
            Some(kind) => server::run_stdio(kind).await,
            None => return usage(),
        },
        ["client", era, "--", command, rest @ ..] => match client::Era::named(era) {
            Some(era) => client::run(era, command, rest).await,
            None => return usage(),
        },
        _ => return usage(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rmcp-peer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
