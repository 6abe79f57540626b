//! Which addresses may be contacted because a document names them.
//!
//! In: schemes, hosts, literal addresses and those that names resolve to. Out: resolving
//! (`edge/http`), building addresses (`discovery`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use url::{Host, Url};

use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::text::{EXCERPT_CHARS, public_part, public_url, sanitize};

/// Addresses at which clouds hand out the credentials of a machine (Amazon EC2, Google Compute
/// Engine, Azure and others).
const METADATA_SERVICES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
];

/// From where the user's own server can be reached. Documents may name addresses of the same kind
/// or wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From the internet.
    Public,
    /// From a private network: RFC 1918, RFC 6598, RFC 4193, link-local. Also what is set aside
    /// for anything but hosts on the internet (RFC 6890): some VPNs lend out such addresses.
    Private,
    /// From this machine alone.
    Loopback,
}

/// The rule for one server.
#[derive(Clone, Debug)]
pub struct AddressPolicy {
    /// The user's server; its own host is always allowed.
    pub server: Arc<Url>,
    /// From where it can be reached.
    pub reach: Reach,
    /// `--allow-private-network`.
    pub allow_private: bool,
}

impl AddressPolicy {
    /// Checks an address that the document field `field` names: absolute, `https` (or `http` to a
    /// literal loopback host, or to the server's own origin), no user information, no fragment, no
    /// literal address that is out of bounds (MCP 2026-07-28, Authorization, Communication
    /// Security; MCP Security Best Practices, Server-Side Request Forgery).
    ///
    /// # Errors
    /// `insecure_url`, `blocked_address` or `metadata_invalid`, naming the field.
    pub fn parse(&self, field: &str, text: &str) -> Result<Url, Failure> {
        let url = Url::parse(text).map_err(|_| {
            invalid(format!(
                "{field} is \"{}\", which is not an absolute address; ask the server's operator",
                sanitize(public_part(text), EXCERPT_CHARS)
            ))
        })?;
        let shown = sanitize(&public_url(&url), EXCERPT_CHARS);
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) || url.origin() == self.server.origin() => {}
            "http" => {
                return Err(insecure(format!(
                    "{field} is {shown}, which is not encrypted; ask the server's operator for an https address"
                )));
            }
            _ => {
                return Err(insecure(format!(
                    "{field} is {shown}, which is not a web address; ask the server's operator"
                )));
            }
        }
        // What the parser mends is not what other programs would read.
        let written_out = text
            .get(url.scheme().len()..)
            .is_some_and(|rest| rest.starts_with("://"));
        if !written_out || text.contains(|char: char| char <= ' ' || char == '\\') {
            return Err(invalid(format!(
                "{field} is no well-formed address ({shown}); ask the server's operator"
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(format!(
                "{field} is {shown} with a user name or password in it; ask the server's operator"
            )));
        }
        if url.fragment().is_some() {
            return Err(invalid(format!(
                "{field} is {shown} with a fragment, which has no place there; ask the server's operator"
            )));
        }
        let host = url.host_str().unwrap_or_default();
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) if is_local_name(name) => {
                Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
            }
            _ => None,
        };
        match address {
            Some(address) if !self.allows(host, address) => {
                Err(blocked(&format!("{field} is {shown}"), address))
            }
            _ => Ok(url),
        }
    }

    /// Whether a connection to `host` may go to this address, which it resolved to.
    ///
    /// The metadata services of clouds are never allowed, and `localhost` is this machine or
    /// nothing (RFC 6761 §6.3). Beyond that the server's own host may be anywhere, and others may
    /// be reached as far as the server itself, or farther.
    #[must_use]
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        let reach = reach(address);
        if is_metadata_service(address) || (is_local_name(host) && reach != Reach::Loopback) {
            return false;
        }
        self.allow_private
            || reach <= self.reach
            || self
                .server
                .host_str()
                .is_some_and(|own| plain(own).eq_ignore_ascii_case(plain(host)))
    }
}

/// How far an address reaches. An address that carries another one (RFC 4291 §2.5.5, RFC 6052
/// §2.1, RFC 3056 §2) reaches as far as that.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match carried(address) {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// Whether the host is loopback literally: `127.0.0.0/8`, `::1`, `localhost` (RFC 6761 §6.3).
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Why a connection was not made: `what` names an address, by itself or through its host, that
/// resolves to `address`.
#[must_use]
pub fn blocked(what: &str, address: IpAddr) -> Failure {
    let lies = |place: &str| {
        format!(
            "{what}: {address} lies {place}, where this server has no business; if you trust it, add --allow-private-network"
        )
    };
    let text = match reach(address) {
        _ if is_metadata_service(address) => {
            format!("{what}: {address} hands out the credentials of machines and is never asked")
        }
        Reach::Loopback => lies("on this machine"),
        Reach::Private => lies("in a private network"),
        Reach::Public => format!(
            "{what}: {address} is not this machine, which alone is called localhost; check how names are resolved here"
        ),
    };
    Failure::new(Kind::BlockedAddress, Executed::No, text)
}

fn is_metadata_service(address: IpAddr) -> bool {
    METADATA_SERVICES.contains(&carried(address))
}

/// `localhost` and the names below it, which mean this machine (RFC 6761 §6.3).
fn is_local_name(host: &str) -> bool {
    let name = plain(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Without the brackets of an IPv6 address and the dot of the root.
fn plain(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The IPv4 address inside an IPv6 address, where there is one.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(outer) = address else {
        return address;
    };
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match outer.segments() {
        // :: and ::1 are what they are.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        // Mapped, compatible, NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // 6to4.
        | [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // 0.0.0.0 connects to this machine on most systems.
        [0 | 127, ..] => Reach::Loopback,
        [10 | 224..=255, ..]
        | [100, 64..=127, ..]
        | [169, 254, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Reach::Loopback,
        // Protocol assignments (Teredo among them) and documentation, within what is global
        // unicast (RFC 4291 §2.4); beyond it nothing is public.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Reach::Private,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Private,
    }
}

fn invalid(text: String) -> Failure {
    Failure::new(Kind::MetadataInvalid, Executed::No, text)
}

fn insecure(text: String) -> Failure {
    Failure::new(Kind::InsecureUrl, Executed::No, text)
}

#[cfg(test)]
mod tests;
