//! Text that must not be shown: tokens, codes, client secrets, values the user gave.
//!
//! In: hiding it from debug output, wiping it from memory, masking it in texts. Out: who may see
//! it.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;

use bytes::Bytes;
use memchr::memmem;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// Text that must not be printed: its debug form hides it, and its memory is wiped when it is
/// dropped. Copies made by libraries are beyond its reach.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself, for use and not for show.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Shorter secrets are not looked for in texts, in bytes: they stand there by chance.
pub const MASKED_BYTES: usize = 8;

const HIDDEN: &[u8] = b"[hidden]";

/// A copy of the text with all secrets masked. `None` if it holds none of them.
#[must_use]
pub fn mask<'a>(text: &[u8], secrets: impl Iterator<Item = &'a [u8]>) -> Option<Bytes> {
    let long_enough = |secret: &&[u8]| secret.len() >= MASKED_BYTES;
    let mut secrets: Vec<&[u8]> = secrets.filter(long_enough).collect();
    // Of a secret that begins with another one nothing may be left over.
    secrets.sort_by_key(|secret| Reverse(secret.len()));
    let mut hidden: Option<Vec<u8>> = None;
    for secret in secrets {
        let current = hidden.as_deref().unwrap_or(text);
        let finder = memmem::Finder::new(secret);
        if finder.find(current).is_none() {
            continue;
        }
        let mut masked = Vec::with_capacity(current.len());
        let mut rest = current;
        while let Some(at) = finder.find(rest) {
            let (before, from) = rest.split_at(at);
            masked.extend_from_slice(before);
            masked.extend_from_slice(HIDDEN);
            rest = from.get(secret.len()..).unwrap_or_default();
        }
        masked.extend_from_slice(rest);
        hidden = Some(masked);
    }
    hidden.map(Bytes::from)
}

/// As [`mask`], in every spelling in which a peer may quote what it was sent: as it is,
/// form-encoded (once, and once more within a form), percent-encoded, and escaped in JSON.
#[must_use]
pub fn mask_quoted<'a>(text: &[u8], secrets: impl Iterator<Item = &'a str>) -> Option<Bytes> {
    let spelled: Vec<Cow<'a, str>> = secrets.flat_map(spellings).collect();
    mask(text, spelled.iter().map(|secret| secret.as_bytes()))
}

fn spellings(secret: &str) -> Vec<Cow<'_, str>> {
    let mut all = vec![Cow::Borrowed(secret)];
    if secret.len() >= MASKED_BYTES {
        let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let twice: String = form_urlencoded::byte_serialize(form.as_bytes()).collect();
        let json = serde_json::Value::from(secret).to_string();
        let json = json.trim_matches('"').to_owned();
        all.extend([
            Cow::from(form.replace('+', "%20")),
            Cow::from(json.replace('/', r"\/")),
            Cow::from(json),
            Cow::from(twice),
            Cow::from(form),
        ]);
        all.sort();
        all.dedup();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f25_its_debug_form_hides_the_text() {
        let secret = Secret::from("canary");
        assert_eq!(format!("{secret:?}"), "[hidden]");
        assert_eq!(secret.reveal(), "canary");
    }

    #[test]
    fn f22_quotes_are_masked_in_every_spelling() {
        let secret = "a/b c\"d+canary";
        let masked = |text: &str| {
            let masked = mask_quoted(text.as_bytes(), [secret].into_iter());
            String::from_utf8(masked.unwrap_or_default().to_vec()).unwrap()
        };
        for quoted in [
            secret,
            "a%2Fb+c%22d%2Bcanary",
            "a%2Fb%20c%22d%2Bcanary",
            "a%252Fb%2Bc%2522d%252Bcanary",
            r#"a/b c\"d+canary"#,
            r#"a\/b c\"d+canary"#,
        ] {
            assert_eq!(masked(&format!("<{quoted}>")), "<[hidden]>");
        }
        assert_eq!(mask_quoted(b"nothing", [secret].into_iter()), None);
    }

    #[test]
    fn f22_nothing_is_left_of_a_secret_that_begins_with_another() {
        let secrets: [&[u8]; 2] = [b"canary-1", b"canary-1-and-more"];
        let masked = mask(b"canary-1-and-more canary-1", secrets.into_iter()).unwrap();
        assert_eq!(masked, &b"[hidden] [hidden]"[..]);
    }
}
