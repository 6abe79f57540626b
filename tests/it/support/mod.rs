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
//! | `tls` | certificates |
//! | `bridge` | the program under test: line in, line out |
//! | `answers` | what is checked on every run of it |
//! | `pipe` | a stdout that can be closed in mid-wait |
//! | `proxy` | HTTP and SOCKS5 proxies |
//! | `home` | a home directory for it |
//! | `rpc` | what a client says |
//! | `watched` | waiting with a deadline |
//! | `server`, `wire` | the thread and the sockets behind `remote` |
//! | `self_test` | the equipment's own tests |
//!
//! Everything binds port 0 on 127.0.0.1, nothing sleeps, every wait has a deadline.
#![allow(
    dead_code,
    unused_imports,
    reason = "a kit: every test takes what it needs"
)]

mod answers;
mod bridge;
mod call;
mod home;
mod legacy;
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

pub(crate) use bridge::{Bridge, Ended, Launch};
pub(crate) use call::Call;
pub(crate) use home::Home;
pub(crate) use legacy::{Legacy, LegacyRemote, Refusal};
pub(crate) use proxy::Proxy;
pub(crate) use remote::Remote;
pub(crate) use reply::Reply;
pub(crate) use server::Progress;
pub(crate) use stream::StreamHandle;
pub(crate) use tls::{Authority, ServerTls};
pub(crate) use watched::{DEADLINE, Gate, Mailbox, Watched};
