//! Text that must not be shown: tokens, codes, client secrets, values the user gave.
//!
//! In: hiding it from debug output, wiping it from memory, masking it in texts. Out: who may see
//! it.

use std::fmt;

use bytes::Bytes;
use memchr::memmem;

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
    let mut hidden: Option<Vec<u8>> = None;
    for secret in secrets.filter(|secret| secret.len() >= MASKED_BYTES) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f25_its_debug_form_hides_the_text() {
        let secret = Secret::from("canary");
        assert_eq!(format!("{secret:?}"), "[hidden]");
        assert_eq!(secret.reveal(), "canary");
    }
}
