//! `mcp-bridge` connects a local MCP client that speaks stdio to a remote MCP server.
//!
//! Imports point downwards only, and `tests/it/layers.rs` holds them to it:
//!
//! ```text
//! main → commands → driver → sign_in → edge → proto
//!              └──→ settings → cli
//! ```
//!
//! [`proto`] decides (no await, no clock, no socket, no file), [`edge`] does, [`driver`] ties the
//! two together in one loop. Signing in takes several edges in turn: [`sign_in`] knows the order.

pub mod cli;
pub mod commands;
pub mod driver;
pub mod edge;
pub mod error;
pub mod proto;
pub mod settings;
pub mod sign_in;
