//! Equipment for tests that run the real program against a server of the test's own.
//!
//! | module | what it holds |
//! |---|---|
//! | `remote` | a scripted HTTP server: every request goes to a closure and is recorded |
//! | `call` | one request as that server saw it |
//! | `reply` | every way to answer it |
//! | `stream` | bodies that the test sends piece by piece |
//! | `legacy` | ready-made MCP servers of the revisions with sessions, and of HTTP+SSE |
//! | `world` | the rules those go by |
//! | `modern` | a ready-made MCP server of 2026-07-28, and what its client says |
//! | `modern_world` | the rules that one goes by |
//! | `authority` | an OAuth authorization server and its log |
//! | `authority_office`, `authority_grants` | how that one answers |
//! | `authority_manners` | what it takes offence at |
//! | `authority_guard` | makes a ready-made MCP server ask for its tokens |
//! | `person` | somebody who follows sign-in links |
//! | `launcher` | the browser's launcher that a bridge finds |
//! | `auth_world` | all of these together |
//! | `tls` | certificates |
//! | `bridge` | the program under test: line in, line out |
//! | `answers` | what is checked on every run of it |
//! | `pipe` | a stdout that can be closed in mid-wait |
//! | `proxy` | HTTP and SOCKS5 proxies |
//! | `home` | a home directory for it |
//! | `rpc` | what a client says |
//! | `watched` | waiting with a deadline |
//! | `server`, `wire` | the thread and the sockets behind `remote` |
//! | `self_test`, `auth_self_test`, `modern_self_test` | the equipment's own tests |
//!
//! Everything binds port 0 on 127.0.0.1, nothing sleeps, every wait has a deadline.
#![allow(
    dead_code,
    unused_imports,
    reason = "a kit: every test takes what it needs"
)]

mod answers;
#[cfg(unix)]
mod auth_self_test;
#[cfg(unix)]
mod auth_world;
mod authority;
mod authority_grants;
mod authority_guard;
mod authority_manners;
mod authority_office;
mod bridge;
mod call;
mod home;
#[cfg(unix)]
mod launcher;
mod legacy;
mod modern;
mod modern_self_test;
mod modern_world;
mod person;
mod pipe;
mod proxy;
mod remote;
mod reply;
pub(crate) mod rpc;
mod self_test;
mod server;
mod stream;
mod tls;
mod watched;
mod wire;
mod world;

#[cfg(unix)]
pub(crate) use auth_world::{AuthWorld, auth_world};
pub(crate) use authority::{AuthServer, Decision, Document, Iss, Rules, oauth_error};
pub(crate) use authority_guard::{Challenge, Door, Guard, Place};
pub(crate) use authority_office::Visit;
pub(crate) use bridge::{Bridge, Ended, Launch};
pub(crate) use call::Call;
pub(crate) use home::Home;
#[cfg(unix)]
pub(crate) use launcher::{Browser, Launcher, Start};
pub(crate) use legacy::{Legacy, LegacyRemote, Refusal};
pub(crate) use modern::{
    Errand, Listen, MODERN, Modern, ModernRemote, NoHandshake, Round, Side, Unaware, form,
    modern_request, open_url, roots, sampling,
};
pub(crate) use person::{Page, Person, links_in, wait_link};
pub(crate) use proxy::Proxy;
pub(crate) use remote::Remote;
pub(crate) use reply::Reply;
pub(crate) use server::Progress;
pub(crate) use stream::StreamHandle;
pub(crate) use tls::{Authority, ServerTls};
pub(crate) use watched::{DEADLINE, Gate, Mailbox, Watched};
