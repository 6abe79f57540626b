//! Connections: one client for everybody, trust in certificates, proxies, and words for failures.
//!
//! In: how a request gets out. Out: what is sent and what comes back ([`super::remote`]).

mod certificate;
pub mod client;
pub mod guard;
#[cfg(test)]
pub(crate) mod loopback;
pub mod observe;
pub mod proxy;
mod seen;
pub mod settings;
mod tls;
pub(in crate::edge) mod tracked;
pub mod trouble;
