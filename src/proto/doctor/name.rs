//! What to say about the addresses that a server's name has.
//!
//! In: the addresses, and which of them can be reached. Out: resolving and trying (`edge/http`).

use std::fmt::Display;
use std::net::IpAddr;

use super::Check;
use crate::proto::failure::Kind;

/// The check's name.
const ID: &str = "name";

/// Most addresses of each kind that are shown.
const SHOWN: usize = 3;

/// What came of a connection to an address that was closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Somebody listens.
    Open,
    /// Nobody listens there, or the machine refuses.
    Refused,
    /// There is no way to it from here.
    NoWay,
    /// Nothing came back.
    Silent,
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name.
    pub host: String,
    /// All addresses, in the system's order.
    pub addresses: Vec<IpAddr>,
    /// Whether only IPv4 is used (`--ipv4`).
    pub only_ipv4: bool,
    /// What came of an attempt over IPv4, where one was made.
    pub ipv4: Option<Reach>,
    /// The same over IPv6.
    pub ipv6: Option<Reach>,
}

/// Puts them into words.
#[must_use]
pub fn judge(found: &Found) -> Check {
    let Found {
        host, addresses, ..
    } = found;
    let (four, six): (Vec<&IpAddr>, Vec<&IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv4());
    let listed = [listed(&four, "IPv4"), listed(&six, "IPv6")];
    let listed: Vec<String> = listed.into_iter().flatten().collect();
    let text = format!("{host} has {}", listed.join(" and "));
    if addresses.iter().all(IpAddr::is_unspecified) {
        let text = format!("{text}, which is nowhere");
        let advice = "something blocks this name: look for an ad blocker, a DNS filter or a line \
                      in the hosts file";
        return Check::bad(ID, text, advice).of_kind(Kind::Connect);
    }
    if found.only_ipv4 {
        return if four.is_empty() {
            let text = format!("{text}, and --ipv4 allows none of them");
            Check::bad(ID, text, "leave --ipv4 out").of_kind(Kind::Connect)
        } else {
            Check::good(ID, text)
        };
    }
    match (found.ipv4, found.ipv6) {
        (Some(Reach::Open), Some(Reach::Silent)) => Check::warning(
            ID,
            format!("{text}; over IPv6 nothing comes back, over IPv4 it works"),
            "tell whoever runs your network that IPv6 does not get through; until then connect \
             over IPv4 alone, which spares a wait at each connection",
        )
        .with_flag("--ipv4"),
        (Some(Reach::Open), Some(Reach::NoWay)) => Check::good(
            ID,
            format!("{text}; IPv4 is used, IPv6 does not reach it from here"),
        ),
        (None, Some(Reach::NoWay | Reach::Silent)) => Check::warning(
            ID,
            format!("{text}; IPv6 does not reach it from here, and it has no other address"),
            "use a network that has IPv6, or a proxy that has it (--proxy URL)",
        ),
        _ => Check::good(ID, text),
    }
}

/// How many there are of a kind, and the first of them.
fn listed(addresses: &[impl Display], kind: &str) -> Option<String> {
    let count = addresses.len();
    let mut shown: Vec<String> = addresses
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if count > SHOWN {
        shown.push("…".to_owned());
    }
    let plural = if count == 1 { "" } else { "es" };
    (count > 0).then(|| format!("{count} {kind} address{plural} ({})", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::doctor::Mark;

    fn found(addresses: &[&str]) -> Found {
        Found {
            host: "a.test".to_owned(),
            addresses: addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            only_ipv4: false,
            ipv4: None,
            ipv6: None,
        }
    }

    #[test]
    fn both_kinds_are_counted_and_the_first_shown() {
        let check = judge(&found(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]));
        assert_eq!(check.mark, Mark::Good);
        assert_eq!(
            check.text,
            "a.test has 2 IPv4 addresses (192.0.2.1, 192.0.2.2) and 1 IPv6 address (2001:db8::1)"
        );
        let many: Vec<String> = (0..250).map(|last| format!("192.0.2.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let text = judge(&found(&many)).text;
        assert_eq!(
            text,
            "a.test has 250 IPv4 addresses (192.0.2.0, 192.0.2.1, 192.0.2.2, …)"
        );
    }

    #[test]
    fn ipv6_that_leads_nowhere_is_seen() {
        let (four, six) = (Some(Reach::Open), "2001:db8::1");
        for (ipv4, ipv6, mark, flag) in [
            (four, Reach::Open, Mark::Good, None),
            (four, Reach::Refused, Mark::Good, None),
            (four, Reach::NoWay, Mark::Good, None),
            (four, Reach::Silent, Mark::Warning, Some("--ipv4")),
            (Some(Reach::Silent), Reach::Silent, Mark::Good, None),
            (None, Reach::NoWay, Mark::Warning, None),
            (None, Reach::Silent, Mark::Warning, None),
            (None, Reach::Open, Mark::Good, None),
        ] {
            let mut found = found(&["192.0.2.1", six]);
            if ipv4.is_none() {
                found.addresses.remove(0);
            }
            (found.ipv4, found.ipv6) = (ipv4, Some(ipv6));
            let check = judge(&found);
            assert_eq!(
                (check.mark, check.flag.as_deref()),
                (mark, flag),
                "{found:?}"
            );
        }
    }

    #[test]
    fn addresses_that_cannot_be_used_are_bad() {
        let mut six = found(&["2001:db8::1"]);
        six.only_ipv4 = true;
        let check = judge(&six);
        assert_eq!(check.mark, Mark::Bad);
        assert_eq!(check.advice.as_deref(), Some("leave --ipv4 out"));
        let blocked = judge(&found(&["0.0.0.0", "::"]));
        assert_eq!(blocked.mark, Mark::Bad);
        assert!(blocked.advice.unwrap().contains("hosts file"));
    }
}
