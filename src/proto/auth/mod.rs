//! Signing in: every decision about it, and none of its doing.
//!
//! ```text
//!   challenge ──▶ discovery ──▶ client ──▶ authorize ──▶ callback ──▶ token
//!   (401, 403)    (metadata)    (who we are)  (browser)    (its way back)
//! ```
//!
//! `address` says which addresses may be contacted, `grant` writes the requests to the token
//! endpoint, `scope` what is asked for, `brake` how often a browser may be opened, `key` where
//! things are stored, `quirks` what known servers do differently.
//!
//! In: rules. Out: requests, files, browsers, clocks (`edge`), and their order (`sign_in`).

pub mod address;
pub(crate) mod answer;
pub mod authorize;
pub mod brake;
pub mod callback;
pub mod challenge;
pub mod client;
pub mod device;
pub mod discovery;
pub mod dpop;
pub mod enterprise;
pub mod grant;
pub mod key;
pub mod limits;
pub mod metadata;
pub mod preflight;
pub mod quirks;
pub mod scope;
pub mod settings;
pub mod token;
