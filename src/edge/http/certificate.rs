//! What a refused X.509 certificate says about itself, in words.
//!
//! In: the two names and the dates of RFC 5280 §4.1.2, and the sentence that says why the
//! certificate was refused and what would help. Out: judging a certificate ([`super::tls`] and rustls); nothing
//! here decides about trust.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error};

use crate::proto::doctor::certificate::Moment;
use crate::proto::text::sanitize;

/// Longest name shown, in characters.
const NAME_CHARS: usize = 120;

/// Most names of a certificate listed in a message.
const NAMES_SHOWN: usize = 5;

/// Longest text taken over from a certificate or a library into a message, in characters.
const WORDS_CHARS: usize = 200;

/// DER tags (X.690 §8).
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
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
    let Fields {
        issuer, subject, ..
    } = fields(certificate)?;
    Some(Names {
        issuer: words(issuer),
        subject: words(subject),
        self_signed: issuer == subject,
    })
}

/// From when and until when a DER certificate counts, or nothing where that cannot be read.
#[must_use]
pub(super) fn validity(certificate: &[u8]) -> Option<(Moment, Moment)> {
    let mut validity = fields(certificate)?.validity;
    Some((moment(&mut validity)?, moment(&mut validity)?))
}

/// The parts of a certificate that are looked at, DER contents.
struct Fields<'a> {
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
}

fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let outer = expect(&mut &*certificate, SEQUENCE)?;
    let mut fields = expect(&mut &*outer, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        expect(&mut fields, VERSION)?;
    }
    expect(&mut fields, INTEGER)?; // serial number
    expect(&mut fields, SEQUENCE)?; // signature algorithm
    Some(Fields {
        issuer: expect(&mut fields, SEQUENCE)?,
        validity: expect(&mut fields, SEQUENCE)?,
        subject: expect(&mut fields, SEQUENCE)?,
    })
}

/// Takes one time off the front, in one of the two forms of RFC 5280 §4.1.2.5.
fn moment(input: &mut &[u8]) -> Option<Moment> {
    let (tag, text) = element(input)?;
    let digits = text.strip_suffix(b"Z")?;
    let (mut year, rest) = match tag {
        UTC_TIME => digits.split_at_checked(2),
        GENERALIZED_TIME => digits.split_at_checked(4),
        _ => None,
    }
    .and_then(|(year, rest)| Some((number(year)?, rest)))?;
    if tag == UTC_TIME {
        year += if year < 50 { 2000 } else { 1900 };
    }
    let (pairs, []) = rest.as_chunks::<2>() else {
        return None;
    };
    let mut pairs = pairs.iter().map(|pair| number(pair));
    let [month, day, hour, minute, second] = std::array::from_fn(|_| pairs.next().flatten());
    let (month, day, hour, minute, second) = (month?, day?, hour?, minute?, second?);
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if pairs.next().is_some() || !is_date || !is_time {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60 + second;
    Some(Moment {
        unix: days_since_1970(year, month, day) * 86_400 + seconds,
        day: format!("{year:04}-{month:02}-{day:02}"),
    })
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; 0 for dates before it.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that the leap day is their last.
    let year = if month < 3 {
        year.saturating_sub(1)
    } else {
        year
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day;
    (year * 365 + leap_days + day_of_year).saturating_sub(719_469)
}

/// What is wrong with a certificate that came with others, who issued it, and what would help.
pub(super) fn refusal(
    error: &Error,
    certificate: &CertificateDer<'_>,
    sent_along: usize,
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
        CertificateError::UnknownIssuer if sent_along == 0 => format!(
            "the server's certificate was issued by `{issuer}` (whose own certificate did not come \
             with it), which is not trusted here; if this is your company's CA, save its \
             certificate and pass --ca-cert FILE (or set NODE_EXTRA_CA_CERTS), else the server's \
             operator has to add the missing intermediate certificate"
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
            let _ = (names(&good[..cut]), validity(&good[..cut]));
        }
        assert_eq!(names(&good[..60]), None);
        assert_eq!(names(b"\x30\x80\x00\x00"), None);
        assert_eq!(names(b"\x30\x84\xff\xff\xff\xff"), None);
        for byte in 0..good.len() {
            let mut bent = good.clone();
            bent[byte] ^= 0xff;
            let _ = (names(&bent), validity(&bent));
        }
    }

    #[test]
    fn dates_are_read_in_both_forms() {
        let dated = |from: (i32, u8, u8), until: (i32, u8, u8)| {
            let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
            params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
            let key = KeyPair::generate().unwrap();
            validity(params.self_signed(&key).unwrap().der()).unwrap()
        };
        let (from, until) = dated((1999, 12, 31), (2024, 2, 29));
        assert_eq!((from.unix, from.day.as_str()), (946_598_400, "1999-12-31"));
        assert_eq!(
            (until.unix, until.day.as_str()),
            (1_709_164_800, "2024-02-29")
        );
        let (from, until) = dated((1970, 1, 1), (4096, 1, 1));
        assert_eq!((from.unix, from.day.as_str()), (0, "1970-01-01"));
        assert_eq!(
            (until.unix, until.day.as_str()),
            (67_090_118_400, "4096-01-01")
        );
    }

    #[test]
    fn absurd_dates_are_no_dates() {
        let time = |tag, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            let der = [&[tag, length], text.as_bytes()].concat();
            moment(&mut der.as_slice())
        };
        for (tag, text) in [
            (UTC_TIME, ""),
            (UTC_TIME, "Z"),
            (UTC_TIME, "260131000000"),
            (UTC_TIME, "2601310000Z"),
            (UTC_TIME, "261331000000Z"),
            (UTC_TIME, "260100000000Z"),
            (UTC_TIME, "260131240000Z"),
            (UTC_TIME, "26013100000000Z"),
            (UTC_TIME, "26013100000+Z"),
            (UTC_TIME, "260131000000+0100"),
            (GENERALIZED_TIME, "260131000000Z"),
            (GENERALIZED_TIME, "-9990131000000Z"),
            (SEQUENCE, "260131000000Z"),
        ] {
            assert_eq!(time(tag, text), None, "{text}");
        }
        assert_eq!(time(GENERALIZED_TIME, "00000101000000Z").unwrap().unix, 0);
        let last = time(GENERALIZED_TIME, "99991231235959Z").unwrap();
        assert_eq!(
            (last.unix, last.day.as_str()),
            (253_402_300_799, "9999-12-31")
        );
        assert_eq!(time(UTC_TIME, "500101000000Z").unwrap().day, "1950-01-01");
        assert_eq!(time(UTC_TIME, "490101000000Z").unwrap().day, "2049-01-01");
    }
}
