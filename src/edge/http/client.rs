//! The one HTTP client: trust, proxies, time limits and head limits in one place.
//!
//! In: [`NetworkSettings`] and the [`reqwest::Client`]s made from them, built when first needed.
//! Out: trust in certificates (`tls`), the choice of a proxy ([`super::proxy`]), which addresses
//! must not be reached ([`super::guard`]), words for failures ([`super::trouble`]), single
//! exchanges.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::redirect;
use rustls::ClientConfig;
use tokio::sync::watch;
use url::Url;

use super::guard::{self, Guard, Kept, Lookup};
use super::proxy::{ProxyChoice, ProxyUrl, Route};
use super::seen::Seen;
use super::settings::{NetworkSettings, RESPONSE_FIELDS, RESPONSE_HEAD};
use super::tls::{self, Tls};
use super::trouble;
use crate::proto::auth::limits;
use crate::proto::{Trouble, TroubleKind};

/// Silence on a connection before TCP asks whether the peer is still there (RFC 9293 §3.8.4).
const TCP_KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);

/// Pause between those questions.
const TCP_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Unanswered questions after which the connection is dead: a minute after its last byte.
const TCP_KEEP_ALIVE_RETRIES: u32 = 3;

/// Pause between HTTP/2 PING frames (RFC 9113 §6.7) while a stream is open. Proxies on the way
/// answer TCP's questions themselves; these reach the server.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Longest wait for the answer to such a frame.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an unused connection is kept for the next request: less than the minute after which
/// the common load balancers close theirs.
const POOL_IDLE: Duration = Duration::from_secs(55);

/// How we name ourselves (RFC 9110 §10.1.5).
const USER_AGENT: &str = concat!("mcp-bridge/", env!("CARGO_PKG_VERSION"));

/// Hands out [`reqwest::Client`]s. Clones share them.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    settings: NetworkSettings,
    lookup: Lookup,
    plain: OnceLock<Built>,
    /// Filled by a thread of its own.
    tls: OnceLock<watch::Receiver<Option<Result<Made, String>>>>,
}

/// A client, or a sentence that says which file or flag is at fault.
pub(super) type Built = Result<reqwest::Client, String>;

/// The client for TLS, and what others like it are made from.
#[derive(Clone)]
struct Made {
    client: reqwest::Client,
    tls: Tls,
}

impl HttpClient {
    /// Keeps the settings; reads no file and builds nothing yet.
    #[must_use]
    pub fn new(settings: NetworkSettings) -> Self {
        Self::with_lookup(settings, guard::system_lookup())
    }

    /// As [`Self::new`]; what is asked about names by [`super::guard`] goes to `lookup`.
    pub(in crate::edge) fn with_lookup(settings: NetworkSettings, lookup: Lookup) -> Self {
        Self(Arc::new(Shared {
            settings,
            lookup,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        }))
    }

    /// Reads the certificate files that the user named, where this address needs them, and returns
    /// warnings about those that the environment names in vain. Quick: the system's roots are left
    /// alone.
    ///
    /// # Errors
    /// A sentence that names the file and the flag behind it.
    pub fn check(&self, url: &Url) -> Result<Vec<String>, String> {
        if !self.needs_tls(url) {
            return Ok(Vec::new());
        }
        tls::check(&self.0.settings)
    }

    /// Starts to read the trusted roots in the background, where they will be needed. Once is
    /// enough, more does no harm.
    pub fn warm_up(&self, url: &Url) {
        if self.needs_tls(url) {
            self.tls_client();
        }
    }

    /// The client for this address: no redirects, no cookies, no time limit but the one for
    /// connecting. For https it may have to wait for the trusted roots.
    ///
    /// # Errors
    /// [`TroubleKind::Tls`] when a certificate file cannot be used.
    pub async fn for_url(&self, url: &Url) -> Result<reqwest::Client, Trouble> {
        let built = if self.needs_tls(url) {
            self.made().await?.map(|made| made.client)
        } else {
            let plain =
                || tls::trusting_nobody().and_then(|tls| build(&self.0.settings, tls, None));
            self.0.plain.get_or_init(plain).clone()
        };
        built.map_err(unusable)
    }

    /// The client for this address that connects to nothing the guard refuses, kept in `kept`.
    ///
    /// # Errors
    /// As [`Self::for_url`].
    pub(super) async fn guarded(
        &self,
        url: &Url,
        guard: &Guard,
        kept: &Kept,
    ) -> Result<reqwest::Client, Trouble> {
        let guarded = |tls| build(&self.0.settings, tls, Some(guard.clone()));
        let built = if self.needs_tls(url) {
            let made = self.made().await?;
            let tls = || made.and_then(|made| guarded(made.tls.config));
            kept.tls.get_or_init(tls).clone()
        } else {
            let plain = || tls::trusting_nobody().and_then(guarded);
            kept.plain.get_or_init(plain).clone()
        };
        built.map_err(unusable)
    }

    /// As [`Self::for_url`], a client of its own that keeps in `seen` what servers show.
    ///
    /// # Errors
    /// As [`Self::for_url`].
    pub(super) async fn watched(
        &self,
        url: &Url,
        seen: &Arc<Seen>,
    ) -> Result<reqwest::Client, Trouble> {
        if !self.needs_tls(url) {
            return self.for_url(url).await;
        }
        let built = |made: Made| build(&self.0.settings, made.tls.watched(seen), None);
        self.made().await?.and_then(built).map_err(unusable)
    }

    /// What the user decided about the network.
    pub(super) fn settings(&self) -> &NetworkSettings {
        &self.0.settings
    }

    /// How names are resolved where that is looked at.
    pub(super) fn lookup(&self) -> &Lookup {
        &self.0.lookup
    }

    /// Host and port of the proxy that requests for this address go through, for
    /// [`trouble::explain`].
    #[must_use]
    pub fn proxy_for(&self, url: &Url) -> Option<String> {
        self.0.settings.proxy.for_url(url).map(ProxyUrl::label)
    }

    /// The way that requests for this address take, and what decided it.
    #[must_use]
    pub fn route(&self, url: &Url) -> Route<'_> {
        self.0.settings.proxy.route(url)
    }

    fn needs_tls(&self, url: &Url) -> bool {
        url.scheme() == "https"
            || self
                .0
                .settings
                .proxy
                .for_url(url)
                .is_some_and(ProxyUrl::is_tls)
    }

    async fn made(&self) -> Result<Result<Made, String>, Trouble> {
        let mut ready = self.tls_client();
        // An error means that the thread is gone without a result.
        let made = match ready.wait_for(Option::is_some).await {
            Ok(made) => made.clone(),
            Err(_) => None,
        };
        made.ok_or_else(|| Trouble {
            kind: TroubleKind::Internal,
            sent: false,
            text: "TLS could not be set up; restart, and report this if it stays".to_owned(),
        })
    }

    fn tls_client(&self) -> watch::Receiver<Option<Result<Made, String>>> {
        let start = || {
            let (done, ready) = watch::channel(None);
            let settings = self.0.settings.clone();
            let work = move || {
                let made = Tls::new(&settings).and_then(|tls| {
                    let client = build(&settings, tls.config.clone(), None)?;
                    Ok(Made { client, tls })
                });
                done.send_replace(Some(made));
            };
            // A thread that cannot start drops `done`, which the receiver notices.
            drop(
                std::thread::Builder::new()
                    .name("tls-roots".to_owned())
                    .spawn(work),
            );
            ready
        };
        self.0.tls.get_or_init(start).clone()
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClient").field(&self.0.settings).finish()
    }
}

fn unusable(text: String) -> Trouble {
    Trouble {
        kind: TroubleKind::Tls,
        sent: false,
        text,
    }
}

fn build(settings: &NetworkSettings, tls: ClientConfig, guard: Option<Guard>) -> Built {
    let connect_timeout = match guard {
        Some(_) => settings.connect_timeout.or(Some(limits::CONNECT)),
        None => settings.connect_timeout,
    };
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true)
        .tcp_keepalive(TCP_KEEP_ALIVE_IDLE)
        .tcp_keepalive_interval(TCP_KEEP_ALIVE_INTERVAL)
        .tcp_keepalive_retries(TCP_KEEP_ALIVE_RETRIES)
        .http1_max_headers(RESPONSE_FIELDS)
        .http2_max_header_list_size(RESPONSE_HEAD)
        .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
        .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .http2_keep_alive_while_idle(false);
    if let Some(limit) = connect_timeout {
        builder = builder.connect_timeout(limit);
    }
    if let Some(guard) = guard {
        builder = builder.dns_resolver(guard);
    }
    if settings.ipv4 {
        builder = builder.local_address(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED));
    }
    if !matches!(settings.proxy, ProxyChoice::None) {
        let choice = settings.proxy.clone();
        builder = builder.proxy(reqwest::Proxy::custom(move |url| {
            choice.for_url(url).map(|proxy| proxy.expose().clone())
        }));
    }
    builder.build().map_err(|error| trouble::chain(&error))
}

#[cfg(test)]
mod tests;
