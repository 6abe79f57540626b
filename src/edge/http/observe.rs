//! Looking at the way to a server: its name's addresses, and one request that shows everything on
//! the way.
//!
//! In: looking, through the client that the bridge uses. Out: what to say about what was seen
//! ([`crate::proto::doctor`]).

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderName};
use reqwest::{Response, Version};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use url::{Host, Url};

use super::client::HttpClient;
use super::proxy::ProxyUrl;
use super::seen::{Roots, Seen, Shown};
use super::trouble;
use crate::proto::auth::{address, limits};
use crate::proto::doctor::certificate::{Presented, Verdict};
use crate::proto::doctor::name::{Found, Reach};
use crate::proto::{Trouble, TroubleKind};

/// Longest wait for an answer to [`observe`], once there is a connection.
const ANSWER: Duration = Duration::from_secs(5);

/// Longest wait for a connection that only shows whether an address can be reached.
const ATTEMPT: Duration = Duration::from_secs(2);

/// What a server's name leads to.
#[derive(Debug)]
pub enum Resolved {
    /// It is an address already.
    Address(IpAddr),
    /// This proxy (host and port) resolves it.
    ByProxy(String),
    /// Addresses, and the milliseconds that it took to find them.
    Found(Found, u64),
    /// Nothing.
    Nothing(Trouble),
}

/// Resolves the server's name as a connection would, and tries which kinds of addresses can be
/// reached where that is a question.
pub async fn resolve(http: &HttpClient, url: &Url) -> Resolved {
    let host = match url.host() {
        Some(Host::Ipv4(literal)) => return Resolved::Address(literal.into()),
        Some(Host::Ipv6(literal)) => return Resolved::Address(literal.into()),
        Some(Host::Domain(name)) => name,
        None => "",
    };
    let settings = http.settings();
    let proxy = settings.proxy.for_url(url);
    if let Some(proxy) = proxy.filter(|proxy| !proxy.resolves_here()) {
        return Resolved::ByProxy(proxy.label());
    }
    let began = Instant::now();
    let limit = settings.connect_timeout.unwrap_or(limits::CONNECT);
    let addresses: Vec<IpAddr> = match timeout(limit, (http.lookup())(host)).await {
        Ok(Ok(found)) => found.iter().map(SocketAddr::ip).collect(),
        Ok(Err(_)) => Vec::new(),
        Err(_) => return Resolved::Nothing(slow(host)),
    };
    let millis = millis_since(began);
    if addresses.is_empty() {
        return Resolved::Nothing(unresolved(host, url, proxy));
    }
    let mut found = Found {
        host: host.to_owned(),
        addresses,
        only_ipv4: settings.ipv4,
        ipv4: None,
        ipv6: None,
    };
    if proxy.is_none() && !settings.ipv4 && !address::is_loopback(url) {
        try_both(&mut found, url.port_or_known_default().unwrap_or_default()).await;
    }
    Resolved::Found(found, millis)
}

/// Tries one address of each kind, if there are any of IPv6: IPv4 alone raises no question.
async fn try_both(found: &mut Found, port: u16) {
    let first = |kind: fn(&IpAddr) -> bool| found.addresses.iter().copied().find(kind);
    let (four, six) = (first(IpAddr::is_ipv4), first(IpAddr::is_ipv6));
    let Some(six) = six else { return };
    let four = async {
        match four {
            Some(four) => Some(attempt(SocketAddr::new(four, port)).await),
            None => None,
        }
    };
    let (four, six) = tokio::join!(four, attempt(SocketAddr::new(six, port)));
    (found.ipv4, found.ipv6) = (four, Some(six));
}

async fn attempt(address: SocketAddr) -> Reach {
    match timeout(ATTEMPT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Reach::Open,
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Reach::Refused,
            io::ErrorKind::TimedOut => Reach::Silent,
            _ => Reach::NoWay,
        },
        Err(_) => Reach::Silent,
    }
}

fn unresolved(host: &str, url: &Url, proxy: Option<&ProxyUrl>) -> Trouble {
    let text = match proxy {
        Some(proxy) => trouble::unresolved_before_proxy(url, &proxy.label()),
        None => trouble::unresolved(host),
    };
    Trouble {
        kind: TroubleKind::Dns,
        sent: false,
        text,
    }
}

fn slow(host: &str) -> Trouble {
    Trouble {
        kind: TroubleKind::Timeout,
        sent: false,
        text: format!(
            "the name {host} was not resolved in the time that --connect-timeout allows; check \
             whether this machine is online, and whether its DNS server answers"
        ),
    }
}

/// What one request showed.
#[derive(Debug)]
pub struct Observed {
    /// What came of it.
    pub outcome: Outcome,
    /// The certificate of the server, or of the proxy where that was as far as it got.
    pub certificate: Option<(Presented, Verdict)>,
    /// Milliseconds until then.
    pub millis: u64,
    /// Our time before it.
    pub before: SystemTime,
    /// Our time after it.
    pub after: SystemTime,
}

/// What came of a request.
#[derive(Debug)]
pub enum Outcome {
    /// An answer.
    Answered(Answered),
    /// A connection, but no answer in time.
    Silent,
    /// Neither.
    Failed(Trouble),
}

/// The head of an answer. Values are as the server sent them.
#[derive(Debug)]
pub struct Answered {
    /// The version of HTTP, such as `HTTP/2`.
    pub version: &'static str,
    /// The status.
    pub status: u16,
    /// The other end of the connection: the server, or a proxy.
    pub peer: Option<SocketAddr>,
    /// `Date` (RFC 9110 §6.6.1).
    pub date: Option<String>,
    /// `Age` (RFC 9111 §5.1).
    pub age: Option<String>,
}

/// Sends one HEAD request (RFC 9110 §9.3.2) without credentials or headers of the user, through a
/// client like the bridge's.
pub async fn observe(http: &HttpClient, url: &Url) -> Observed {
    let (before, began) = (now(), Instant::now());
    let seen = Arc::new(Seen::default());
    let connect = http.settings().connect_timeout.unwrap_or(limits::CONNECT);
    let patience = async {
        sleep(ANSWER).await;
        if !is_connected(http, url, &seen).await {
            sleep(connect).await;
        }
    };
    let outcome = tokio::select! {
        biased;
        answer = head(http, url, &seen) => match answer {
            Ok(answered) => Outcome::Answered(answered),
            Err(trouble) => Outcome::Failed(trouble),
        },
        () = patience => Outcome::Silent,
    };
    let (after, millis) = (now(), millis_since(began));
    let certificate = seen.take_last().map(|shown| {
        let verdict = verdict(http, &shown, &outcome);
        (shown.presented(), verdict)
    });
    Observed {
        outcome,
        certificate,
        millis,
        before,
        after,
    }
}

/// Whether it is certain that somebody is there who could answer by now.
async fn is_connected(http: &HttpClient, url: &Url, seen: &Seen) -> bool {
    if http.proxy_for(url).is_some() {
        return false;
    }
    if url.scheme() == "https" {
        return !seen.is_empty();
    }
    let first = match url.host() {
        Some(Host::Ipv4(literal)) => Some(literal.into()),
        Some(Host::Ipv6(literal)) => Some(literal.into()),
        Some(Host::Domain(name)) => {
            let found = (http.lookup())(name).await.unwrap_or_default();
            found.first().map(SocketAddr::ip)
        }
        None => None,
    };
    let port = url.port_or_known_default().unwrap_or_default();
    match first {
        Some(first) => attempt(SocketAddr::new(first, port)).await == Reach::Open,
        None => false,
    }
}

async fn head(http: &HttpClient, url: &Url, seen: &Arc<Seen>) -> Result<Answered, Trouble> {
    let proxy = http.proxy_for(url);
    let client = http.watched(url, seen).await?;
    let response = client.head(url.clone()).send().await;
    let response =
        response.map_err(|error| trouble::explain(&error, url, proxy.as_deref(), false))?;
    if let (407, Some(proxy)) = (response.status().as_u16(), &proxy) {
        return Err(trouble::proxy_wants_credentials(proxy));
    }
    match trouble::oversized_head(response.headers(), url) {
        Some(trouble) => Err(trouble),
        None => Ok(Answered::new(&response)),
    }
}

impl Answered {
    fn new(response: &Response) -> Self {
        let field = |name: HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Self {
            version: match response.version() {
                Version::HTTP_09 => "HTTP/0.9",
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_3 => "HTTP/3",
                _ => "HTTP/1.1",
            },
            status: response.status().as_u16(),
            peer: response.remote_addr(),
            date: field(header::DATE),
            age: field(header::AGE),
        }
    }
}

/// The verdict on what was shown. A refusal is what came of the whole request.
fn verdict(http: &HttpClient, shown: &Shown, outcome: &Outcome) -> Verdict {
    match (&shown.refused, outcome) {
        (problem, _) if shown.is_insecure => Verdict::Unchecked(problem.clone()),
        (Some(_), Outcome::Failed(trouble)) => Verdict::Refused(trouble.text.clone()),
        (Some(problem), _) => Verdict::Refused(problem.clone()),
        (None, _) => {
            let roots = Roots::read(http.settings()).unwrap_or_default();
            Verdict::Trusted(roots.end_of(shown))
        }
    }
}

/// How many certificates are trusted.
#[derive(Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The system's own; unknown where the system itself judges (macOS, Windows).
    pub system: Option<usize>,
    /// What each file adds to them, under the option or variable that names it.
    pub files: Vec<(String, usize)>,
}

/// Counts the certificates that are trusted. Reads them anew.
///
/// # Errors
/// A sentence that names the file and the flag behind it.
pub fn trusted(http: &HttpClient) -> Result<Trusted, String> {
    let Roots { system, files } = Roots::read(http.settings())?;
    let own: HashSet<&[u8]> = system.iter().flatten().map(AsRef::as_ref).collect();
    let added = |group: &[CertificateDer<'_>]| {
        let new = group.iter().filter(|root| !own.contains(root.as_ref()));
        new.count()
    };
    let files = files.iter().map(|(by, group)| (by.clone(), added(group)));
    Ok(Trusted {
        system: system.as_ref().map(Vec::len),
        files: files.collect(),
    })
}

fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "our time is compared with the server's, read while bytes move"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests;
