//! Every bound on what a peer can make the sign-in hold or wait for.
//!
//! In: numbers with their reason. Out: where they are enforced.

use std::time::Duration;

/// Largest body of metadata, registration, token, device and revocation answers, in bytes after
/// decompression. Real documents stay below 64 KiB.
pub const BODY: usize = 1 << 20;

/// How much of the body of an error answer is read, in bytes; the rest is left.
pub const ERROR_BODY: usize = 16 << 10;

/// Longest `DPoP-Nonce`, in bytes.
pub const NONCE: usize = 4 << 10;

/// Largest part of `WWW-Authenticate` that is read, all lines together, in bytes.
pub const CHALLENGE: usize = 16 << 10;

/// Challenges read from one answer.
pub const CHALLENGES: usize = 16;

/// Scopes considered, and the length of one in bytes.
pub const SCOPES: usize = 256;
/// See [`SCOPES`].
pub const SCOPE: usize = 256;

/// Authorization servers of one resource that are looked at.
pub const AUTHORIZATION_SERVERS: usize = 8;

/// Longest access, refresh or ID token, in bytes.
pub const TOKEN: usize = 64 << 10;

/// Longest authorization address, in bytes.
pub const AUTHORIZATION_URL: usize = 8 << 10;

/// Making a connection for a request of the sign-in, unless `--connect-timeout` says otherwise.
pub const CONNECT: Duration = Duration::from_secs(5);

/// One request for metadata.
pub const METADATA_REQUEST: Duration = Duration::from_secs(10);

/// All requests for metadata of one discovery.
pub const DISCOVERY: Duration = Duration::from_secs(30);

/// A token, registration, device or revocation request. Identity providers can be slow.
pub const TOKEN_REQUEST: Duration = Duration::from_secs(30);

/// Life of a refresh lease: longer than [`TOKEN_REQUEST`], so that nobody breaks one that is in
/// use.
pub const LEASE: Duration = Duration::from_secs(40);

/// Longest wait for another process that refreshes: longer than [`LEASE`].
pub const LOCK_WAIT: Duration = Duration::from_secs(45);

/// Redirects followed for metadata, within one origin.
pub const REDIRECTS: usize = 3;

/// How long a `state` is good for.
pub const STATE: Duration = Duration::from_secs(600);

/// A token is renewed this long before it expires, at most.
pub const REFRESH_LEAD: Duration = Duration::from_secs(60);

/// Longest believable life of a token.
pub const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Step-ups of one operation before the refusal is passed on.
pub const STEP_UPS: u32 = 2;

/// Browser windows for one server within [`BRAKE_WINDOW`] of which none led to an accepted request.
pub const WINDOWS_IN_VAIN: usize = 2;
/// Browser windows for one server within [`BRAKE_WINDOW`] in any case.
pub const WINDOWS: usize = 6;
/// See [`WINDOWS`].
pub const BRAKE_WINDOW: Duration = Duration::from_secs(300);

/// Head of a request to the callback address, in bytes.
pub const CALLBACK_HEAD: usize = 16 << 10;
/// Time for such a request to arrive.
pub const CALLBACK_TIME: Duration = Duration::from_secs(10);
/// Connections to the callback address at once.
pub const CALLBACK_CONNECTIONS: usize = 16;
/// How long the browser waits for the outcome of the exchange before it is told to look at the
/// client.
pub const CALLBACK_HELD: Duration = Duration::from_secs(15);

/// Longest life of a device code that is believed, and shortest and longest pause between polls
/// (RFC 8628 §3.2, §3.5).
pub const DEVICE_CODE: Duration = Duration::from_secs(1800);
/// See [`DEVICE_CODE`].
pub const DEVICE_INTERVALS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(60));
/// Longest user code that is shown, in characters.
pub const USER_CODE: usize = 64;

/// Largest file of the store that is read, in bytes.
pub const STORED_FILE: u64 = 1 << 20;
/// Longest wait for the system's keychain.
pub const KEYCHAIN: Duration = Duration::from_secs(3);
/// Unreadable files that are kept aside for one name.
pub const CORRUPT_KEPT: usize = 3;
