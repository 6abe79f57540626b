//! Everything that touches the world outside: pipes, sockets, files, signals.

pub mod archive;
pub mod browser;
pub mod callback;
pub mod child;
pub mod config_file;
pub mod header_command;
pub mod http;
pub mod keys;
pub mod log;
pub mod memory;
pub mod oauth;
pub mod program;
pub mod remote;
pub mod report;
pub mod signals;
pub mod source;
pub mod stdio;
pub mod store;
