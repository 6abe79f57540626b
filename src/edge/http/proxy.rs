//! Which proxy, if any, stands between us and an address.
//!
//! In: the proxy's own address as a secret, the choice between `--proxy` and the environment's
//! variables, the rules of `NO_PROXY`. Out: reading variables (`settings`), speaking to the proxy
//! (reqwest, set up in [`super::client`]).

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// Port of a SOCKS proxy whose address names none (RFC 1928 §3).
const SOCKS_PORT: u16 = 1080;

/// Where proxies come from.
#[derive(Clone, Debug, Default)]
pub enum ProxyChoice {
    /// Always connect directly (`--proxy none`).
    #[default]
    None,
    /// As the usual variables say.
    Environment(ProxyEnvironment),
    /// This one for every address, loopback and `NO_PROXY` included (`--proxy URL`): what is
    /// asked for by name is done.
    Fixed(ProxyUrl),
}

/// The proxy variables of the environment, already looked up in both spellings.
#[derive(Clone, Debug, Default)]
pub struct ProxyEnvironment {
    /// `HTTP_PROXY`, for http addresses.
    pub http: Option<ProxyUrl>,
    /// `HTTPS_PROXY`, for https addresses.
    pub https: Option<ProxyUrl>,
    /// `ALL_PROXY`, where the one for the scheme is not set.
    pub all: Option<ProxyUrl>,
    /// `NO_PROXY`: comma or space separated; names match themselves and their subdomains, with or
    /// without a leading `.` or `*.`; addresses match themselves, `10.0.0.0/8` a network; `:PORT`
    /// at the end restricts an entry to that port; `*` matches everything.
    pub no_proxy: Option<String>,
}

/// The way to an address, and what decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// Through this proxy, which this option or variable names.
    Through(&'a ProxyUrl, &'static str),
    /// Directly: `--proxy none`.
    Refused,
    /// Directly: no variable names a proxy.
    Unset,
    /// Directly, though a variable names a proxy: the address is on this machine.
    Loopback,
    /// Directly, though a variable names a proxy: this entry of `NO_PROXY` excepts the address.
    Excepted(&'a str),
}

impl ProxyChoice {
    /// The proxy for this address. The environment's proxies are never used for loopback
    /// addresses: another machine's loopback is not ours.
    #[must_use]
    pub fn for_url(&self, url: &Url) -> Option<&ProxyUrl> {
        match self.route(url) {
            Route::Through(proxy, _) => Some(proxy),
            _ => None,
        }
    }

    /// The way to this address.
    #[must_use]
    pub fn route(&self, url: &Url) -> Route<'_> {
        match self {
            Self::None => Route::Refused,
            Self::Fixed(proxy) => Route::Through(proxy, "--proxy"),
            Self::Environment(environment) => environment.route(url),
        }
    }
}

impl ProxyEnvironment {
    fn route(&self, url: &Url) -> Route<'_> {
        let (proxy, variable) = match url.scheme() {
            "https" => (&self.https, "HTTPS_PROXY"),
            _ => (&self.http, "HTTP_PROXY"),
        };
        let (proxy, variable) = match (proxy, &self.all) {
            (Some(proxy), _) => (proxy, variable),
            (None, Some(proxy)) => (proxy, "ALL_PROXY"),
            (None, None) => return Route::Unset,
        };
        if is_loopback(url) {
            return Route::Loopback;
        }
        match self.no_proxy.as_ref().and_then(|list| listed(list, url)) {
            Some(entry) => Route::Excepted(entry),
            None => Route::Through(proxy, variable),
        }
    }
}

/// Address of a proxy. Its user name and password are secrets: `Debug` and [`label`](Self::label)
/// show neither.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Reads `http://`, `https://`, `socks5://` (names resolved here) or `socks5h://` (names
    /// resolved by the proxy), with `USER:PASSWORD@` where needed; without a scheme, `http://`.
    ///
    /// # Errors
    /// A sentence that says what is accepted and repeats nothing of the text, which may hold a
    /// password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let parsed = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        };
        match parsed {
            Ok(mut url)
                if matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h")
                    && url.host_str().is_some_and(|host| !host.is_empty()) =>
            {
                if url.scheme().starts_with("socks") && url.port().is_none() {
                    // Cannot fail: the address has a host.
                    let _ = url.set_port(Some(SOCKS_PORT));
                }
                Ok(Self(url))
            }
            _ => Err(
                "not the address of a proxy: write http://HOST:PORT, https://HOST:PORT, \
                      socks5://HOST:PORT or socks5h://HOST:PORT"
                    .to_owned(),
            ),
        }
    }

    /// Host and port, fit for messages.
    #[must_use]
    pub fn label(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Scheme, host and port, fit for messages.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}://{}", self.0.scheme(), self.label())
    }

    /// Whether the connection to the proxy itself is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether names of servers are resolved here, not by the proxy.
    #[must_use]
    pub fn resolves_here(&self) -> bool {
        self.0.scheme() == "socks5"
    }

    /// The proxy's own host, as [`Url::host_str`] has it.
    #[must_use]
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The whole address, with its secrets, for the HTTP library alone.
    #[must_use]
    pub(super) fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({})", self.address())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// The entry of a `NO_PROXY` list that names the address.
fn listed<'a>(list: &'a str, url: &Url) -> Option<&'a str> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(address.to_canonical()),
        _ => None,
    };
    let name = url.host_str().unwrap_or_default().trim_end_matches('.');
    list.split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty())
        .find(|entry| {
            let (entry, port) = split_port(entry);
            if port.is_some() && port != url.port_or_known_default() {
                return false;
            }
            match address {
                _ if entry == "*" => true,
                Some(address) => entry_holds_address(entry, address),
                None => entry_holds_name(entry, name),
            }
        })
}

/// Takes `:PORT` off an entry; a bare IPv6 address keeps its colons.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let split = entry
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match split {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn entry_holds_name(entry: &str, name: &str) -> bool {
    let entry = entry.strip_prefix('*').unwrap_or(entry);
    let entry = entry
        .strip_prefix('.')
        .unwrap_or(entry)
        .trim_end_matches('.')
        .to_ascii_lowercase();
    !entry.is_empty()
        && name
            .strip_suffix(&entry)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn entry_holds_address(entry: &str, address: IpAddr) -> bool {
    let bare = |text: &str| {
        text.trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
    };
    let Some((network, bits)) = entry.split_once('/') else {
        return bare(entry).is_ok_and(|entry| entry.to_canonical() == address);
    };
    let (Ok(network), Ok(bits)) = (bare(network), bits.parse::<u32>()) else {
        return false;
    };
    let differing = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if bits <= 32 => {
            (network.to_bits() ^ address.to_bits()).leading_zeros()
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if bits <= 128 => {
            (network.to_bits() ^ address.to_bits()).leading_zeros()
        }
        _ => return false,
    };
    differing >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(no_proxy: &str) -> ProxyChoice {
        let proxy = |text| Some(ProxyUrl::parse(text).unwrap());
        ProxyChoice::Environment(ProxyEnvironment {
            http: proxy("http://plain:1"),
            https: proxy("http://secure:2"),
            all: proxy("socks5h://both"),
            no_proxy: Some(no_proxy.to_owned()),
        })
    }

    fn label(choice: &ProxyChoice, url: &str) -> Option<String> {
        choice
            .for_url(&Url::parse(url).unwrap())
            .map(ProxyUrl::label)
    }

    #[test]
    fn the_scheme_decides_and_all_proxy_fills_the_gaps() {
        let choice = environment("");
        assert_eq!(label(&choice, "http://a.test/").as_deref(), Some("plain:1"));
        assert_eq!(
            label(&choice, "https://a.test/").as_deref(),
            Some("secure:2")
        );
        let ProxyChoice::Environment(mut only_all) = choice else {
            unreachable!()
        };
        only_all.http = None;
        only_all.https = None;
        let choice = ProxyChoice::Environment(only_all);
        assert_eq!(
            label(&choice, "http://a.test/").as_deref(),
            Some("both:1080")
        );
        assert_eq!(
            label(&choice, "https://a.test/").as_deref(),
            Some("both:1080")
        );
    }

    #[test]
    fn the_environment_never_proxies_loopback_but_a_fixed_proxy_does() {
        let fixed = ProxyChoice::Fixed(ProxyUrl::parse("proxy.test:3128").unwrap());
        for url in [
            "http://localhost:1/",
            "https://LOCALHOST./",
            "http://mcp.localhost/",
            "http://127.1.2.3/",
            "http://[::1]:9/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(label(&environment(""), url), None, "{url}");
            assert_eq!(
                label(&fixed, url).as_deref(),
                Some("proxy.test:3128"),
                "{url}"
            );
            assert_eq!(label(&ProxyChoice::None, url), None, "{url}");
        }
    }

    #[test]
    fn no_proxy_lists_names_addresses_networks_and_ports() {
        for (list, url, direct) in [
            ("corp.test", "https://corp.test/", true),
            ("corp.test", "https://MCP.Corp.Test/", true),
            ("corp.test", "https://notcorp.test/", false),
            (".corp.test", "https://corp.test/", true),
            ("*.corp.test", "https://a.corp.test/", true),
            ("CORP.TEST", "https://a.corp.test./", true),
            ("a.test, corp.test", "https://corp.test/", true),
            ("a.test corp.test", "https://corp.test/", true),
            ("*", "https://corp.test/", true),
            ("*", "https://10.0.0.1/", true),
            ("corp.test:8443", "https://corp.test:8443/", true),
            ("corp.test:8443", "https://corp.test/", false),
            ("corp.test:443", "https://corp.test/", true),
            ("10.1.2.3", "https://10.1.2.3/", true),
            ("10.1.2.3:443", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://10.200.0.1/", true),
            ("10.0.0.0/8", "https://11.0.0.1/", false),
            ("0.0.0.0/0", "https://11.0.0.1/", true),
            ("10.0.0.0/33", "https://10.0.0.0/", false),
            ("fd00::/8", "https://[fd12::1]/", true),
            ("fd00::/8", "https://[fe80::1]/", false),
            ("fd12::1", "https://[fd12::1]/", true),
            ("[fd12::1]:443", "https://[fd12::1]/", true),
            ("[fd12::1]:444", "https://[fd12::1]/", false),
            ("0.0.1", "https://10.0.0.1/", false),
            ("", "https://corp.test/", false),
            (".", "https://corp.test/", false),
            (",,/,:", "https://corp.test/", false),
        ] {
            let proxied = label(&environment(list), url).is_some();
            assert_eq!(proxied, !direct, "NO_PROXY={list} {url}");
        }
    }

    #[test]
    fn addresses_of_proxies_are_read_and_their_secrets_hidden() {
        for (text, shown) in [
            (
                "http://u:hunter2@proxy.test:3128/",
                "ProxyUrl(http://proxy.test:3128)",
            ),
            (
                "u:hunter2@proxy.test:3128",
                "ProxyUrl(http://proxy.test:3128)",
            ),
            ("proxy.test:3128", "ProxyUrl(http://proxy.test:3128)"),
            ("https://proxy.test", "ProxyUrl(https://proxy.test:443)"),
            (
                "socks5://u:hunter2@proxy.test",
                "ProxyUrl(socks5://proxy.test:1080)",
            ),
            ("socks5h://[::1]:9", "ProxyUrl(socks5h://[::1]:9)"),
        ] {
            let proxy = ProxyUrl::parse(text).unwrap();
            assert_eq!(format!("{proxy:?}"), shown);
            assert!(!format!("{:?}", ProxyChoice::Fixed(proxy)).contains("hunter2"));
        }
        for text in [
            "",
            "ftp://u:hunter2@proxy.test",
            "http://",
            "socks5://",
            "hunter2 @ x:y",
        ] {
            let error = ProxyUrl::parse(text).unwrap_err();
            assert!(error.contains("socks5h://HOST:PORT"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
