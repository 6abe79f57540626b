//! Connections to addresses that documents of strangers name: none into networks that the user's
//! server has no business to name (MCP 2026-07-28, Security Best Practices, Server-Side Request
//! Forgery).
//!
//! In: resolving names and refusing what they resolve to, at the moment of the connection, so that
//! a second look-up cannot bring another answer. Out: which addresses are allowed
//! ([`crate::proto::auth::address`]). The connections to the user's own server are not guarded.
//!
//! A proxy resolves names by itself (only `socks5://` does not): behind one, literal addresses are
//! all that can be checked.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::client::{Built, HttpClient};
use super::proxy::{ProxyChoice, ProxyUrl};
use super::trouble;
use crate::proto::Trouble;
use crate::proto::auth::address::{self, AddressPolicy, Reach};
use crate::proto::auth::limits;
use crate::proto::failure::Failure;
use crate::proto::text::sanitize;

/// Longest host that is shown, in characters.
const HOST_CHARS: usize = 255;

/// How names become addresses; the ports mean nothing.
pub(in crate::edge) type Lookup = Arc<dyn Fn(&str) -> Looking + Send + Sync>;

/// Addresses to come.
pub(in crate::edge) type Looking =
    Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// As the operating system resolves them.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        let name = name.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    })
}

/// From where a server of the user's can be reached. A name counts as what it resolves to: as
/// loopback if all its addresses are, as private if one of them is, else as public; so does one
/// that a proxy resolves, or nobody.
pub(in crate::edge) async fn reach(http: &HttpClient, server: &Url) -> Reach {
    if address::is_loopback(server) {
        return Reach::Loopback;
    }
    let name = match server.host() {
        Some(Host::Domain(name)) => name,
        Some(Host::Ipv4(literal)) => return address::reach(IpAddr::V4(literal)),
        Some(Host::Ipv6(literal)) => return address::reach(IpAddr::V6(literal)),
        None => return Reach::Public,
    };
    if is_resolved_elsewhere(http, server) {
        return Reach::Public;
    }
    let looking = (http.lookup())(name);
    let found = match tokio::time::timeout(limits::METADATA_REQUEST, looking).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let mut reaches = found.iter().map(|found| address::reach(found.ip()));
    if !found.is_empty() && reaches.clone().all(|reach| reach == Reach::Loopback) {
        Reach::Loopback
    } else if reaches.any(|reach| reach == Reach::Private) {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// A client for addresses that documents name, under one policy.
pub(in crate::edge) struct GuardedClient {
    http: HttpClient,
    guard: Guard,
    kept: Kept,
}

/// The guarded clients made so far.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) plain: OnceLock<Built>,
    pub(super) tls: OnceLock<Built>,
}

impl GuardedClient {
    pub(in crate::edge) fn new(http: HttpClient, policy: AddressPolicy) -> Self {
        let guard = Guard {
            policy: Arc::new(policy),
            lookup: Arc::clone(http.lookup()),
            proxies: proxies_resolved_here(&http.settings().proxy).into(),
        };
        Self {
            http,
            guard,
            kept: Kept::default(),
        }
    }

    /// Whether this is the policy that is kept to.
    pub(in crate::edge) fn obeys(&self, policy: &AddressPolicy) -> bool {
        let own = &self.guard.policy;
        own.server == policy.server
            && own.reach == policy.reach
            && own.allow_private == policy.allow_private
    }

    /// The client for this address, as [`HttpClient::for_url`] has it but for the guard.
    ///
    /// # Errors
    /// The address is a literal one that is refused, or a certificate file cannot be used.
    pub(in crate::edge) async fn for_url(&self, url: &Url) -> Result<reqwest::Client, Refused> {
        let literal = match url.host() {
            Some(Host::Ipv4(literal)) => Some(IpAddr::V4(literal)),
            Some(Host::Ipv6(literal)) => Some(IpAddr::V6(literal)),
            _ => None,
        };
        let host = url.host_str().unwrap_or_default();
        if let Some(literal) = literal
            && !self.guard.policy.allows(host, literal)
        {
            return Err(Refused::Forbidden(refusal(host, literal)));
        }
        let client = if is_resolved_elsewhere(&self.http, url) {
            self.http.for_url(url).await
        } else {
            self.http.guarded(url, &self.guard, &self.kept).await
        };
        client.map_err(Refused::Trouble)
    }
}

/// Why there is no answer from an address.
#[derive(Debug)]
pub(in crate::edge) enum Refused {
    /// It, or where it leads to, must not be contacted.
    Forbidden(Failure),
    /// It cannot be, or not as it should.
    Trouble(Trouble),
}

/// The failure of a request that the guard stopped, if it did.
pub(in crate::edge) fn blocked(error: &reqwest::Error) -> Option<Failure> {
    trouble::causes(error)
        .into_iter()
        .find_map(|cause| cause.downcast_ref::<BlockedAddress>())
        .map(|blocked| blocked.0.clone())
}

/// The resolver of guarded clients.
#[derive(Clone)]
pub(super) struct Guard {
    policy: Arc<AddressPolicy>,
    lookup: Lookup,
    /// Hosts that the user named as proxies.
    proxies: Arc<[String]>,
}

impl Guard {
    /// One address that is refused makes the whole name suspect.
    async fn resolve(self, name: String) -> Result<Addrs, Box<dyn StdError + Send + Sync>> {
        let found = (self.lookup)(&name).await?;
        let is_proxy = self.proxies.contains(&name);
        let refused = found
            .iter()
            .find(|found| !is_proxy && !self.policy.allows(&name, found.ip()));
        match refused {
            Some(found) => Err(BlockedAddress(refusal(&name, found.ip())).into()),
            None => Ok(Box::new(found.into_iter())),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(self.clone().resolve(name.as_str().to_owned()))
    }
}

/// A host that must not be contacted because of an address it has.
#[derive(Debug, thiserror::Error)]
#[error("the address is refused")]
struct BlockedAddress(Failure);

fn refusal(host: &str, address: IpAddr) -> Failure {
    address::blocked(
        &format!("no request is sent to {}", sanitize(host, HOST_CHARS)),
        address,
    )
}

fn is_resolved_elsewhere(http: &HttpClient, url: &Url) -> bool {
    let proxy = http.settings().proxy.for_url(url);
    proxy.is_some_and(|proxy| !proxy.resolves_here())
}

/// The hosts of proxies whose names are resolved by the same resolver as those of servers.
fn proxies_resolved_here(choice: &ProxyChoice) -> Vec<String> {
    let all = match choice {
        ProxyChoice::None => Vec::new(),
        ProxyChoice::Fixed(proxy) => vec![proxy],
        ProxyChoice::Environment(environment) => {
            [&environment.http, &environment.https, &environment.all]
                .into_iter()
                .flatten()
                .collect()
        }
    };
    all.into_iter()
        .filter(|proxy| proxy.resolves_here())
        .map(|proxy: &ProxyUrl| proxy.host().to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
