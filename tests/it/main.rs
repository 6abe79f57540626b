//! The program against servers of the tests' own, over loopback.
//!
//! One binary, so that it links once. A new file becomes a module here; `unlisted` insists.
//!
//! | module | what it holds |
//! |---|---|
//! | `support` | the equipment: a scripted server, ready-made servers, the program as a child |
//! | `layers` | imports under `src` point downwards only |
//! | `smoke` | one short conversation |
//! | `unlisted` | every file here is a module |
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod layers;
mod smoke;
mod support;
mod unlisted;
