//! The bridge's decisions over whole conversations, with a clock that the test moves.
//!
//! | module | what it holds |
//! |---|---|
//! | `world` | a bridge, a client and a server without any I/O |
//! | `changes` | list changes and resource updates, between every pair of eras |
//! | `first_contact` | which transport, retries, giving up |
//! | `recovery` | lost sessions and streams |
//! | `rounds` | a modern server's questions and tasks before a legacy client |
//! | `signing_in` | refused credentials, answers in the server's place |
//! | `tools` | hidden tools, headers made anew |
//! | `upward` | a legacy server's questions, logs, progress and tasks for a modern client |
//! | `waiting` | back-offs, late answers, streams that are continued |

mod changes;
mod eras;
mod first_contact;
mod recovery;
mod rounds;
mod signing_in;
mod tools;
mod upward;
mod waiting;
mod world;
