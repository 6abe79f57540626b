//! Everything that touches the world outside: pipes, sockets, files, signals.

pub mod header_command;
pub mod http;
pub mod log;
pub mod remote;
pub mod signals;
pub mod stdio;
