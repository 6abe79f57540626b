//! The program against servers of the tests' own, over loopback.
//!
//! One binary, so that it links once. A new file becomes a module here; `unlisted` insists.
//!
//! | module | what it holds |
//! |---|---|
//! | `support` | the equipment: a scripted server, ready-made servers, the program as a child |
//! | `layers` | imports under `src` point downwards only |
//! | `stdio` | the two pipes: framing, bad lines, ids, order, back-pressure |
//! | `batches` | JSON-RPC batches of the client |
//! | `help` | help texts, completions, manual pages |
//! | `docs` | the pages for people: options, links |
//! | `errors` | the kinds of errors and the page about them |
//! | `words` | stderr and the log file |
//! | `shutdown` | how it ends |
//! | `smoke` | one short conversation |
//! | `answers` | nothing is left without an answer, whatever the server does |
//! | `faults` | a thousand calls under random faults |
//! | `limits` | hostile servers against every limit |
//! | `streamable` | Streamable HTTP of the revisions with sessions |
//! | `network` | certificates, proxies, time limits, cookies |
//! | `cli` | help, exit codes, options, variables, the settings file |
//! | `secrets` | no secret in anything the program says |
//! | `canary` | no secret of a sign-in in anything the program says |
//! | `hostile_sign_in` | sign-ins among hostile peers |
//! | `tools` | hidden tools |
//! | `first_contact` | the first request: redirects, odd servers, which transport |
//! | `http_sse` | the transport of 2024-11-05 |
//! | `eras` | every revision on either side |
//! | `recovery` | lost sessions, servers that go away and come back |
//! | `patience` | servers that answer late or never, and the options for that |
//! | `unlisted` | every file here is a module |
//! | `rules` | the table of rules and the numbered tests agree |
//! | `callback_page` | the last page of a sign-in in a real browser |
//! | `user_headers` | the user's own headers, and 401 |
//! | `sign_in` | the course of a sign-in |
//! | `meanwhile` | what the client hears while a person signs in |
//! | `machines` | sign-ins without a browser on this machine |
//! | `commands` | login, logout, status |
//! | `install` | install, uninstall |
//! | `doctor_sign_in` | what doctor says about signing in |
//! | `doctor` | broken set-ups, and what is said about them |
//! | `siblings` | many processes and one sign-in, killed anywhere |
//! | `renewal` | renewing tokens |
//! | `keychain` | tokens in the system's keychain |
//! | `pack` | extensions for Claude Desktop |
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod batches;
mod callback_page;
#[cfg(unix)]
mod canary;
mod cli;
#[cfg(unix)]
mod commands;
mod docs;
#[cfg(unix)]
mod doctor;
#[cfg(unix)]
mod doctor_sign_in;
mod eras;
mod errors;
mod faults;
mod first_contact;
mod help;
#[cfg(unix)]
mod hostile_sign_in;
mod http_sse;
#[cfg(unix)]
mod install;
mod keychain;
mod layers;
mod limits;
#[cfg(unix)]
mod machines;
#[cfg(unix)]
mod meanwhile;
mod network;
mod pack;
mod patience;
mod recovery;
#[cfg(unix)]
mod renewal;
mod rules;
mod secrets;
mod shutdown;
#[cfg(unix)]
mod siblings;
#[cfg(unix)]
mod sign_in;
mod smoke;
mod stdio;
mod streamable;
mod support;
mod tools;
mod unlisted;
mod user_headers;
mod words;
