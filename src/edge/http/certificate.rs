//! What a refused X.509 certificate says about itself, in words.
//!
//! In: the two names of RFC 5280 §4.1.2, and the sentence that says why the certificate was
//! refused and what would help. Out: judging a certificate ([`super::tls`] and rustls); nothing
//! here decides about trust.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error};

use crate::proto::text::sanitize;

/// Longest name shown, in characters.
const NAME_CHARS: usize = 120;

/// Most names of a certificate listed in a message.
const NAMES_SHOWN: usize = 5;

/// Longest text taken over from a certificate or a library into a message, in characters.
const WORDS_CHARS: usize = 200;

/// DER tags (X.690 §8).
const INTEGER: u8 = 0x02;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// Object identifiers 2.5.4.3 and 2.5.4.10 (RFC 5280, appendix A.1), DER contents.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// Issuer and subject of a certificate, fit for a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// Who signed it: common name, organization in brackets.
    pub issuer: String,
    /// Whose it is, in the same form.
    pub subject: String,
    /// Issuer and subject are byte for byte the same.
    pub self_signed: bool,
}

/// The names in a DER certificate, or nothing when it is not one.
#[must_use]
pub(super) fn names(certificate: &[u8]) -> Option<Names> {
    let outer = expect(&mut &*certificate, SEQUENCE)?;
    let mut fields = expect(&mut &*outer, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        expect(&mut fields, VERSION)?;
    }
    expect(&mut fields, INTEGER)?; // serial number
    expect(&mut fields, SEQUENCE)?; // signature algorithm
    let issuer = expect(&mut fields, SEQUENCE)?;
    expect(&mut fields, SEQUENCE)?; // validity
    let subject = expect(&mut fields, SEQUENCE)?;
    Some(Names {
        issuer: words(issuer),
        subject: words(subject),
        self_signed: issuer == subject,
    })
}

/// What is wrong with a certificate, who issued it, and what would help.
pub(super) fn refusal(
    error: &Error,
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> String {
    let unreadable = "(unreadable)".to_owned();
    let Names {
        issuer,
        subject,
        self_signed,
    } = names(certificate).unwrap_or(Names {
        issuer: unreadable.clone(),
        subject: unreadable,
        self_signed: false,
    });
    let Error::InvalidCertificate(problem) = error else {
        return format!(
            "the check failed: {}",
            sanitize(&error.to_string(), WORDS_CHARS)
        );
    };
    match problem {
        CertificateError::UnknownIssuer if self_signed => format!(
            "the server's certificate is self-signed by `{issuer}` and not trusted here; if the \
             server is yours, save its certificate and pass --ca-cert FILE (or set \
             NODE_EXTRA_CA_CERTS)"
        ),
        CertificateError::UnknownIssuer => format!(
            "the server's certificate was issued by `{issuer}`, which is not trusted here; if this \
             is your company's CA, save its certificate and pass --ca-cert FILE (or set \
             NODE_EXTRA_CA_CERTS)"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the server's certificate (for `{subject}`, issued by `{issuer}`) has expired; it must \
             be renewed on the server, unless the clock here is wrong (until then, --insecure \
             switches the check off for this host)"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the server's certificate (for `{subject}`, issued by `{issuer}`) is not valid yet; is \
             the clock here right?"
        ),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the server's certificate (issued by `{issuer}`) is for {}, not for `{}`; use the name \
             it is made for",
            shown_names(presented),
            name.to_str()
        ),
        CertificateError::NotValidForName => format!(
            "the server's certificate (for `{subject}`, issued by `{issuer}`) is not for `{}`; use \
             the name it is made for",
            name.to_str()
        ),
        CertificateError::Revoked => format!(
            "the server's certificate (for `{subject}`) was revoked by its issuer `{issuer}`; tell \
             the server's operator"
        ),
        _ if is_marked_as_authority(error) => format!(
            "the server's certificate (for `{subject}`, issued by `{issuer}`) is marked as one of \
             an authority, not of a server; it must be made anew"
        ),
        problem => format!(
            "the server's certificate (for `{subject}`, issued by `{issuer}`) was refused: {}",
            sanitize(&problem.to_string(), WORDS_CHARS)
        ),
    }
}

/// `DnsName("a.test")`, as the library lists alternative names, in plainer words.
fn shown_names(presented: &[String]) -> String {
    let mut names: Vec<String> = presented
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| {
            let bare = name
                .split_once('(')
                .and_then(|(_, rest)| rest.strip_suffix(')'))
                .unwrap_or(name)
                .trim_matches('"');
            format!("`{}`", sanitize(bare, WORDS_CHARS))
        })
        .collect();
    if presented.len() > NAMES_SHOWN {
        names.push(format!("{} more", presented.len() - NAMES_SHOWN));
    }
    if names.is_empty() {
        names.push(
            "nobody (it has no alternative name, and a common name does not count)".to_owned(),
        );
    }
    names.join(", ")
}

/// The library's word for a server's certificate that is marked as one of an authority.
const AUTHORITY: &str = "CaUsedAsEndEntity";

/// Whether that is what the library says.
pub(super) fn is_marked_as_authority(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::Other(inner)) if inner.0.to_string() == AUTHORITY
    )
}

/// A distinguished name in words.
fn words(name: &[u8]) -> String {
    let text = match (attribute(name, COMMON_NAME), attribute(name, ORGANIZATION)) {
        (Some(common), Some(organization)) if common != organization => {
            format!("{common} ({organization})")
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => "(no name)".to_owned(),
    };
    sanitize(&text, NAME_CHARS)
}

/// The first value of one attribute type in `SEQUENCE OF SET OF SEQUENCE { type, value }`.
fn attribute(mut name: &[u8], wanted: &[u8]) -> Option<String> {
    while !name.is_empty() {
        let mut set = expect(&mut name, SET)?;
        while !set.is_empty() {
            let mut pair = expect(&mut set, SEQUENCE)?;
            let (_, kind) = element(&mut pair)?;
            let (tag, value) = element(&mut pair)?;
            if kind == wanted {
                return Some(string(tag, value));
            }
        }
    }
    None
}

fn string(tag: u8, value: &[u8]) -> String {
    if tag == BMP_STRING {
        let units = value
            .as_chunks::<2>()
            .0
            .iter()
            .map(|unit| u16::from_be_bytes(*unit));
        return char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
    }
    String::from_utf8_lossy(value).into_owned()
}

/// Takes one element with this tag off the front; its contents.
fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    element(input).and_then(|(found, contents)| (found == tag).then_some(contents))
}

/// Takes one element off the front: tag and contents (X.690 §8.1, definite lengths only).
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 3 {
            return None;
        }
        (
            digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
            rest,
        )
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((tag, contents))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(fill: impl Fn(&mut rcgen::DistinguishedName)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        fill(&mut params.distinguished_name);
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn common_name_and_organization_are_shown() {
        let both = certificate(|name| {
            name.push(DnType::OrganizationName, "Corp");
            name.push(DnType::CommonName, "Corp Proxy CA");
        });
        let expected = "Corp Proxy CA (Corp)".to_owned();
        let expected = Names {
            issuer: expected.clone(),
            subject: expected,
            self_signed: true,
        };
        assert_eq!(names(&both), Some(expected));
        let one = certificate(|name| name.push(DnType::OrganizationName, "Corp"));
        assert_eq!(names(&one).unwrap().issuer, "Corp");
        let none = certificate(|name| name.push(DnType::CountryName, "CH"));
        assert_eq!(names(&none).unwrap().issuer, "(no name)");
    }

    #[test]
    fn two_byte_strings_are_decoded() {
        let wide = certificate(|name| {
            let value = rcgen::string::BmpString::try_from("Zürich CA").unwrap();
            name.push(DnType::CommonName, DnValue::BmpString(value));
        });
        assert_eq!(names(&wide).unwrap().subject, "Zürich CA");
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        let hostile = certificate(|name| name.push(DnType::CommonName, "\u{1b}[2Jevil\nline"));
        let shown = names(&hostile).unwrap().issuer;
        assert!(!shown.contains(['\u{1b}', '\n']), "{shown:?}");
        let long = certificate(|name| name.push(DnType::CommonName, "x".repeat(60_000)));
        assert!(names(&long).unwrap().issuer.chars().count() <= NAME_CHARS + 1);
    }

    #[test]
    fn garbage_is_no_certificate() {
        let good = certificate(|name| name.push(DnType::CommonName, "x"));
        for cut in 0..good.len() {
            // No panic, whatever is missing.
            let _ = names(&good[..cut]);
        }
        assert_eq!(names(&good[..60]), None);
        assert_eq!(names(b"\x30\x80\x00\x00"), None);
        assert_eq!(names(b"\x30\x84\xff\xff\xff\xff"), None);
        for byte in 0..good.len() {
            let mut bent = good.clone();
            bent[byte] ^= 0xff;
            let _ = names(&bent);
        }
    }
}
