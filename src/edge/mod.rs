//! Everything that touches the world outside: pipes, sockets, files, signals.

pub mod certificate;
pub mod header_command;
pub mod http_client;
pub mod log;
#[cfg(test)]
mod loopback;
pub mod proxy;
pub mod remote;
pub mod signals;
pub mod stdio;
pub mod tls;
pub mod trouble;
