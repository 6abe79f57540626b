//! Every bound on what a peer can make the bridge hold or wait for, in one place.
//!
//! In: numbers with their reason. Out: where they are enforced, and limits that belong to one
//! format (the event decoder's and the cookie jar's stand beside them).

use std::time::Duration;

/// Largest line from the local client, largest event and largest JSON body from the server, in
/// bytes after decompression (`--max-message-size`). Large tool results are legitimate.
pub const MESSAGE: usize = 64 << 20;

/// How much of a line that is too long is kept to look for its id, in bytes.
pub const LINE_HEAD: usize = 64 << 10;

/// Largest body read from an answer whose status is an error, in bytes. A JSON-RPC error fits
/// many times over.
pub const ERROR_BODY: usize = 1 << 20;

/// Bytes of client messages that may wait for the server before the bridge stops reading stdin.
pub const PARKED: usize = 64 << 20;

/// What a waiting message counts beside its text, in bytes, so that many small ones are bounded
/// by [`PARKED`] too.
pub const PARKED_EACH: usize = 1 << 10;

/// Requests of the client that may be open at the server at once; later ones wait their turn.
/// Stays below the usual limit of open files (256 on macOS), since each may need a connection.
pub const IN_FLIGHT: usize = 200;

/// Questions (requests of the server) that may wait for the client's answer at once.
pub const QUESTIONS: usize = 256;

/// Longest id of such a request, and of one of the client that is remembered beyond its answer, in
/// bytes as it is spelled.
pub const QUESTION_ID: usize = 1 << 10;

/// Waits between looks for such requests that nobody waits for any more.
pub const QUESTIONS_SWEPT: Duration = Duration::from_secs(1);

/// Rounds of questions that a modern server may take before it answers one request. Other clients
/// take eight or ten.
pub const ROUNDS: u32 = 25;

/// How long a question of a round may stay open without an answer to any.
pub const QUESTION_IDLE: Duration = Duration::from_secs(10 * 60);

/// How long a server may take to notice what a person did at a link that it asked to open.
pub const LINK: Duration = Duration::from_secs(10 * 60);

/// What rounds may hold at once between legs: states and keys of servers, answers of the client, in
/// bytes.
pub const ROUND_BYTES: usize = 16 << 20;

/// Requests about tasks that may be under way at once.
pub const TASK_REQUESTS: usize = 32;

/// How long such a request may go unanswered.
pub const TASK_ANSWER: Duration = Duration::from_secs(60);

/// Such requests in a row that may come to nothing before the task is given up.
pub const TASK_FAILURES: u32 = 5;

/// Messages of the server held back until the client has sent `notifications/initialized`.
pub const HELD: usize = 256;

/// Their size together, in bytes.
pub const HELD_BYTES: usize = 4 << 20;

/// Resources that may be subscribed to, and are subscribed to again after a session was lost.
pub const SUBSCRIPTIONS: usize = 1024;

/// `subscriptions/listen` requests of the client that may be open at once; each may need a
/// connection.
pub const LISTENERS: usize = 128;

/// Requests that the bridge itself has open at once to subscribe to resources.
pub const WATCHES: usize = 8;

/// How long a `subscriptions/listen` may go without its acknowledgement.
pub const ACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Pages of the server's list of tools that the bridge reads itself (`--read-only`).
pub const TOOL_PAGES: usize = 100;

/// How long reading that list may take, all pages together.
pub const TOOL_LIST: Duration = Duration::from_secs(60);

/// Tools of one list that are named when they are left out; the others are counted.
pub const LEFT_OUT: usize = 20;

/// Messages in one JSON-RPC batch.
pub const BATCH: usize = 256;

/// Longest message text taken over from a server into an error of our own, in characters.
pub const QUOTED_CHARS: usize = 300;

/// An output line above this size, in bytes, is mentioned once: some clients refuse longer ones.
pub const LARGE_LINE: usize = 10 << 20;

/// From the client's `initialize` to the server's answer, retries included.
pub const INITIALIZE: Duration = Duration::from_secs(60);

/// How long later messages wait for the server to accept `notifications/initialized`, and a
/// notification or response for the one before it.
pub const ACCEPTED: Duration = Duration::from_secs(10);

/// How long `server/discover` may go unanswered before the server counts as one that does not know
/// it.
pub const PROBE: Duration = Duration::from_secs(10);

/// The same while the client itself waits for such an answer: some give up after five seconds.
pub const PROBE_AWAITED: Duration = Duration::from_secs(4);

/// How long a request that depends on it waits until the server has opened its own stream or
/// declined to.
pub const STREAM_OPENS: Duration = Duration::from_secs(1);

/// How long the `endpoint` event of HTTP+SSE may take.
pub const ENDPOINT: Duration = Duration::from_secs(10);

/// How long a request that was answered with an empty body may wait when no stream is open on
/// which its answer could still arrive.
pub const EMPTY_ANSWER: Duration = Duration::from_secs(5);

/// How long the answer of a request whose own stream broke may still arrive on another stream.
pub const LATE_ANSWER: Duration = Duration::from_secs(2);

/// Requests that were given up and whose late answers are kept apart from those to new requests with
/// the same ids: the latest ones, with ids of up to [`QUESTION_ID`] bytes.
pub const GIVEN_UP: usize = 256;

/// How long a stream may stay open after it carried its response.
pub const LINGER: Duration = Duration::from_secs(10);

/// How long a stream with which a notification or response was answered is read.
pub const DRAIN: Duration = Duration::from_secs(60);

/// From the order to end (signal, closed pipe, end of the grace) to the end, `DELETE` included.
pub const SHUTDOWN: Duration = Duration::from_millis(1200);

/// How often other credentials are got for one request that keeps being refused. The sign-in has
/// stricter limits of its own.
pub const AUTHORIZATIONS: u32 = 8;

/// Operations that are remembered to have passed after a refusal, until the next one.
pub const PASSED: usize = 64;

/// Largest result of `initialize` that is kept for the next start, in bytes.
pub const KEPT_INITIALIZE: usize = 256 << 10;

/// Fruitless resumptions of one broken stream before its request is given up.
pub const RESUMPTIONS: u32 = 5;

/// Sessions reopened within [`RECOVERY_WINDOW`] before requests fail at once.
pub const RECOVERIES: usize = 3;

/// See [`RECOVERIES`].
pub const RECOVERY_WINDOW: Duration = Duration::from_secs(60);

/// Rest after [`RECOVERIES`] were used up.
pub const RECOVERY_REST: Duration = Duration::from_secs(30);

/// Requests that wait at once for a modern client to come back with answers to questions; beyond
/// that the one that waits longest is given up.
pub const SUSPENDED: usize = 64;

/// How long such a request waits for the client.
pub const SUSPENDED_FOR: Duration = Duration::from_secs(600);

/// What is kept for a modern client meanwhile, in bytes: questions, answers and log messages.
pub const SUSPENDED_BYTES: usize = 64 << 20;

/// Log messages that are kept for such a request; the newest stay.
pub const SUSPENDED_LOGS: usize = 50;

/// How long further questions of a legacy server may join the first before they are asked.
pub const COLLECTED: Duration = Duration::from_millis(50);

/// Questions of a legacy server that one request of a modern client may have open.
pub const QUESTIONS_OF_ONE: usize = 64;

/// How long a question waits for a request of a modern client that it can be asked with.
pub const QUESTION_HELD: Duration = Duration::from_secs(60);

/// How long a call waits for the word of a legacy server that the person has done what it asked
/// for.
pub const ELICITED: Duration = Duration::from_secs(30);

/// How long a session stays at the log level of a request after that request is over.
pub const LEVEL_KEPT: Duration = Duration::from_secs(30);

/// Sessions that finish their requests beside the one in use.
pub const RETIRED: usize = 4;

/// How often in a row a task of a legacy server is asked for in vain.
pub const TASK_ASKED: u32 = 3;

/// Largest progress notification that is kept for a request while its client is asked, in bytes.
pub const PROGRESS_KEPT: usize = 64 << 10;
