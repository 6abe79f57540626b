//! The bridge's decisions over whole conversations, with a clock that the test moves.
//!
//! | module | what it holds |
//! |---|---|
//! | `world` | a bridge, a client and a server without any I/O |
//! | `changes` | list changes and resource updates, between every pair of eras |
//! | `contact` | first contact in either era: refusals, streams, people, memory, both eras on one pipe |
//! | `downward` | a legacy client before a modern server that is slow, sloppy or means harm |
//! | `first_contact` | which transport, retries, giving up |
//! | `heartbeat` | what the client is told of while the server is silent |
//! | `interleavings` | random clients before random servers, and what must hold whatever happens |
//! | `patience` | requests that the server leaves unanswered, between every pair of eras |
//! | `recovery` | lost sessions and streams |
//! | `rounds` | a modern server's questions and tasks before a legacy client |
//! | `signing_in` | refused credentials, answers in the server's place |
//! | `tools` | hidden tools, headers made anew |
//! | `upward` | a legacy server's questions, logs, progress and tasks for a modern client |
//! | `upward_review` | the same where several things happen to one request at once |
//! | `waiting` | back-offs, late answers, streams that are continued |

mod changes;
mod contact;
mod downward;
mod eras;
mod first_contact;
mod heartbeat;
mod interleavings;
mod patience;
mod recovery;
mod rounds;
mod signing_in;
mod tools;
mod upward;
mod upward_review;
mod waiting;
mod world;
