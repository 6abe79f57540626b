//! Words for what went wrong between us and a server.
//!
//! In: the class of a failure and one sentence for people, with the next step. No sentence holds
//! a query, user information or a proxy's password. Out: what is done about it
//! ([`crate::proto`]), why a certificate is refused (`tls`).

use std::error::Error as StdError;
use std::io;

use reqwest::header::HeaderMap;
use url::Url;

use super::settings::{RESPONSE_FIELDS, RESPONSE_HEAD};
use super::tls::Refused;
use crate::proto::text::sanitize;
use crate::proto::{Trouble, TroubleKind};

/// Longest text taken over from a library into a sentence, in characters.
const DETAIL_CHARS: usize = 300;

/// How the HTTP library says that the connection to a proxy could not be made.
const NOT_TUNNELLED: &str = "failed to create underlying connection";

/// How it says over HTTP/1.1 and HTTP/2 that a head passed a limit.
const HEAD_TOO_LARGE: [&str; 2] = ["message head is too large", "too_many_continuations"];

/// How it says that over HTTP/2 when it has read the head to its end; broken heads are the other
/// reason for these words.
const HEAD_REFUSED: &str = "stream error detected: unspecific protocol error";

/// What a failed request or a broken body means. `proxy` is the proxy's host and port, if one was
/// in use ([`super::client::HttpClient::proxy_for`]); `sent` says whether a byte of the
/// request's body may have gone out, and is overruled where the failure proves that none did.
#[must_use]
pub fn explain(error: &reqwest::Error, url: &Url, proxy: Option<&str>, sent: bool) -> Trouble {
    let failure = Failure {
        error,
        causes: causes(error),
        url,
        peer: host_and_port(url),
        proxy,
    };
    let (kind, text) = failure.explain();
    let sent =
        sent && !error.is_connect() && failure.alert().as_deref() != Some(CERTIFICATE_REQUIRED);
    Trouble { kind, sent, text }
}

/// A 407 answer (RFC 9110 §15.5.8), be it to a CONNECT or to a plain request.
#[must_use]
pub fn proxy_wants_credentials(proxy: &str) -> Trouble {
    let text = format!(
        "the proxy {proxy} asks for a user name and password, or refuses those it got (407); write \
         them into its address: http://USER:PASSWORD@{proxy}, in --proxy or the proxy variable"
    );
    Trouble {
        kind: TroubleKind::Proxy,
        sent: false,
        text,
    }
}

/// Refuses a response head over [`RESPONSE_HEAD`] bytes or [`RESPONSE_FIELDS`] fields.
#[must_use]
pub fn oversized_head(headers: &HeaderMap, url: &Url) -> Option<Trouble> {
    // Name, value, colon, space, line end (RFC 9112 §5).
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let fits = bytes <= usize::try_from(RESPONSE_HEAD).unwrap_or(usize::MAX)
        && headers.len() <= RESPONSE_FIELDS;
    (!fits).then(|| Trouble {
        kind: TroubleKind::TooLarge,
        sent: true,
        text: head_too_large(&host_and_port(url)),
    })
}

/// What it means that the server's name has no address.
pub(super) fn unresolved(host: &str) -> String {
    format!(
        "the name {host} does not resolve; check the address, and whether this machine is online \
         or needs a VPN or a proxy (--proxy)"
    )
}

/// The same where a proxy leaves it to us to resolve the name.
pub(super) fn unresolved_before_proxy(url: &Url, proxy: &str) -> String {
    let peer = host_and_port(url);
    format!(
        "the name in {peer} does not resolve here; socks5h:// in place of socks5:// lets the proxy \
         {proxy} resolve it"
    )
}

/// The causes of an error in one line, without addresses.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error) {
        let next = cause.to_string();
        // The outer layers of the HTTP library add nothing but the address and their own names.
        if cause.is::<reqwest::Error>() || next.starts_with("client error (") {
            continue;
        }
        if !words.iter().any(|word| word.contains(&next)) {
            words.push(next);
        }
    }
    if words.is_empty() {
        words.push("no reason given".to_owned());
    }
    sanitize(&words.join(": "), DETAIL_CHARS)
}

/// An error and everything behind it, outermost first.
pub(super) fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut found = vec![error];
    let mut current = error;
    loop {
        // An I/O error stands in for the error it wraps and skips it in `source`.
        let wrapped = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        current = match (wrapped, current.source()) {
            (Some(inner), _) => inner,
            (None, Some(source)) => source,
            (None, None) => return found,
        };
        found.push(current);
    }
}

/// Host and port of an address; never its user information.
fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn head_too_large(peer: &str) -> String {
    format!(
        "{peer} answered with more than {} KiB or {RESPONSE_FIELDS} fields of headers, which is \
         refused; tell the server's operator",
        RESPONSE_HEAD >> 10
    )
}

type Verdict = (TroubleKind, String);

struct Failure<'a> {
    error: &'a reqwest::Error,
    causes: Vec<&'a (dyn StdError + 'static)>,
    url: &'a Url,
    peer: String,
    proxy: Option<&'a str>,
}

impl Failure<'_> {
    fn explain(&self) -> Verdict {
        if self.error.is_builder() {
            let text = format!(
                "the request to {} could not be built: {}",
                self.peer,
                self.chain()
            );
            return (TroubleKind::Internal, text);
        }
        if let Some(alert) = self.alert() {
            return (TroubleKind::Tls, self.refused_handshake(&alert));
        }
        if let Some(error) = self.find::<rustls::Error>() {
            return (TroubleKind::Tls, self.tls(error));
        }
        match (self.error.is_connect(), self.proxy) {
            (true, _) if self.error.is_timeout() => (TroubleKind::Timeout, self.too_slow()),
            (true, Some(proxy)) if self.is_about_proxy() => self.through_proxy(proxy),
            (true, _) => self.connecting(),
            (false, _) => self.exchanging(),
        }
    }

    fn find<T: StdError + 'static>(&self) -> Option<&T> {
        self.causes.iter().find_map(|cause| cause.downcast_ref())
    }

    /// The innermost I/O error that came from the operating system or from TLS.
    fn io_kind(&self) -> Option<io::ErrorKind> {
        self.causes
            .iter()
            .rev()
            .find_map(|cause| cause.downcast_ref::<io::Error>())
            .map(io::Error::kind)
    }

    /// Whether a cause says this; for causes whose types the HTTP library keeps to itself.
    fn says(&self, words: &str) -> bool {
        self.causes
            .iter()
            .any(|cause| cause.to_string().contains(words))
    }

    fn chain(&self) -> String {
        chain(self.error)
    }

    fn connecting(&self) -> Verdict {
        let peer = self.peer_and_proxy();
        if self.error.is_dns() {
            let host = self.url.host_str().unwrap_or_default();
            return (TroubleKind::Dns, unresolved(host));
        }
        let text = match self.io_kind() {
            Some(io::ErrorKind::ConnectionRefused) => {
                format!("nothing listens at {peer} (connection refused); is the server running?")
            }
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => format!(
                "{peer} closed the connection while it was being made; is the server well, and does \
                 a firewall stand between?"
            ),
            Some(io::ErrorKind::NotConnected) => format!(
                "{peer} has no address that can be used (with --ipv4, only IPv4 addresses can)"
            ),
            Some(
                io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown,
            ) => format!(
                "{peer} cannot be reached ({}); is this machine online, or does it need a VPN or a \
                 proxy (--proxy)?",
                self.chain()
            ),
            _ => format!("no connection to {peer}: {}", self.chain()),
        };
        (TroubleKind::Connect, text)
    }

    fn too_slow(&self) -> String {
        format!(
            "no connection to {} in the time that --connect-timeout allows; is the address right, \
             and does a firewall stand between?",
            self.peer_and_proxy()
        )
    }

    fn through_proxy(&self, proxy: &str) -> Verdict {
        let peer = &self.peer;
        if self.says("error resolving for socks proxy") {
            return (TroubleKind::Dns, unresolved_before_proxy(self.url, proxy));
        }
        let text = if self.says("proxy authorization required") {
            return (TroubleKind::Proxy, proxy_wants_credentials(proxy).text);
        } else if self.error.is_dns() {
            format!(
                "the name of the proxy {proxy} does not resolve; check --proxy and the proxy \
                 variables, or connect without it: --proxy none"
            )
        } else if self.says("user/pass authentication") || self.says("credentials not accepted") {
            format!(
                "the proxy {proxy} does not accept the user name and password in its address; check \
                 --proxy and the proxy variables"
            )
        } else if self.is_proxy_unreachable() {
            format!(
                "the proxy {proxy} cannot be reached ({}); check --proxy and the proxy variables, \
                 or connect without it: --proxy none",
                self.chain()
            )
        } else {
            format!(
                "the proxy {proxy} makes no connection to {peer} ({}); is the server running, and \
                 does the proxy allow it? --proxy none connects without it",
                self.chain()
            )
        };
        (TroubleKind::Proxy, text)
    }

    /// Whether the proxy has a part in a failure to connect: not once its tunnel stands.
    fn is_about_proxy(&self) -> bool {
        self.url.scheme() == "http" || self.says("tunnel error") || self.says("socks proxy")
    }

    /// Whether the connection to the proxy itself is what failed. A plain request that an HTTP
    /// proxy forwards has no other.
    fn is_proxy_unreachable(&self) -> bool {
        self.says(NOT_TUNNELLED) || !self.says("tunnel error") && !self.says("SOCKS error")
    }

    /// The server, and the proxy in between if there is one.
    fn peer_and_proxy(&self) -> String {
        match self.proxy {
            Some(proxy) => format!("{} (through the proxy {proxy})", self.peer),
            None => self.peer.clone(),
        }
    }

    fn exchanging(&self) -> Verdict {
        let peer = self.peer_and_proxy();
        if HEAD_TOO_LARGE.iter().any(|words| self.says(words)) {
            return (TroubleKind::TooLarge, head_too_large(&peer));
        }
        if self.says(HEAD_REFUSED) {
            let text = format!(
                "{peer} answered with headers that are broken or more than {} KiB; tell the \
                 server's operator",
                RESPONSE_HEAD >> 10
            );
            return (TroubleKind::TooLarge, text);
        }
        let damaged = [
            Some(io::ErrorKind::InvalidData),
            Some(io::ErrorKind::InvalidInput),
        ];
        let text = if self.error.is_decode() && damaged.contains(&self.io_kind()) {
            format!(
                "{peer} sent a body that cannot be decompressed: {}",
                self.chain()
            )
        } else if self.says("connection closed before message completed") {
            format!(
                "{peer} closed the connection before its answer was complete; is it in trouble, or \
                 a proxy in between?"
            )
        } else if self.says("invalid HTTP") {
            format!(
                "{peer} does not answer in HTTP; check the address and its port, and whether it \
                 has to start with https://"
            )
        } else if self.error.is_timeout() {
            format!("the connection to {peer} no longer answers; is the network still there?")
        } else {
            format!(
                "the connection to {peer} broke ({}); is it in trouble, or a proxy in between?",
                self.chain()
            )
        };
        (TroubleKind::Broken, text)
    }

    /// Who is at the other end of a TLS connection that failed.
    fn tls_peer(&self) -> String {
        match self.proxy {
            Some(proxy) if self.url.scheme() == "http" || self.says(NOT_TUNNELLED) => {
                format!("the proxy {proxy}")
            }
            _ => self.peer.clone(),
        }
    }

    fn tls(&self, error: &rustls::Error) -> String {
        let peer = self.tls_peer();
        if let Some(refused) = Refused::behind(error) {
            return format!("cannot trust {peer}: {refused}");
        }
        match error {
            rustls::Error::InvalidMessage(_) => format!(
                "{peer} does not speak TLS; check the port, and whether the address has to start \
                 with http://"
            ),
            rustls::Error::PeerIncompatible(_) => {
                format!(
                    "{peer} offers no TLS that is still considered safe (1.2 or 1.3); update it"
                )
            }
            error => format!(
                "TLS with {peer} failed: {}",
                sanitize(&error.to_string(), DETAIL_CHARS)
            ),
        }
    }

    /// A TLS alert that the server sent, by its name in RFC 8446 §6. HTTP/2 keeps of it only the
    /// text.
    fn alert(&self) -> Option<String> {
        self.causes.iter().find_map(|cause| {
            let text = cause.to_string();
            let (_, name) = text.split_once("received fatal alert: ")?;
            Some(
                name.chars()
                    .take_while(char::is_ascii_alphanumeric)
                    .collect(),
            )
        })
    }

    fn refused_handshake(&self, alert: &str) -> String {
        let peer = self.tls_peer();
        if ABOUT_OUR_CERTIFICATE.contains(&alert) {
            return format!(
                "{peer} asks for a client certificate, or refuses the one it got ({alert}); pass \
                 --client-cert FILE and --client-key FILE"
            );
        }
        format!(
            "{peer} refused the TLS handshake ({alert}); it may want a client certificate \
             (--client-cert, --client-key), go by another name, or be too old for TLS 1.2"
        )
    }
}

/// In TLS 1.3 this alert arrives when the request may already be on its way (RFC 8446 §4.4.2.4),
/// but it refuses the handshake for want of a client certificate: no request was read.
const CERTIFICATE_REQUIRED: &str = "CertificateRequired";

/// Alerts about the client's certificate (RFC 8446 §6.2).
const ABOUT_OUR_CERTIFICATE: [&str; 8] = [
    CERTIFICATE_REQUIRED,
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
];
