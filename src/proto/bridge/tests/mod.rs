//! The bridge's decisions over whole conversations, with a clock that the test moves.
//!
//! | module | what it holds |
//! |---|---|
//! | `world` | a bridge, a client and a server without any I/O |
//! | `first_contact` | which transport, retries, giving up |
//! | `recovery` | lost sessions and streams |
//! | `signing_in` | refused credentials, answers in the server's place |
//! | `tools` | hidden tools, headers made anew |
//! | `waiting` | back-offs, late answers, streams that are continued |

mod first_contact;
mod recovery;
mod signing_in;
mod tools;
mod waiting;
mod world;
