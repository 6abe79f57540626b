//! `WWW-Authenticate`: what a server that refused a request wants (RFC 9110 §11.6.1, RFC 6750 §3,
//! RFC 9728 §5.1).
//!
//! In: the grammar, and the parameters of `Bearer` and `DPoP` challenges. Out: what follows.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::limits;

/// What the `Bearer` and `DPoP` challenges of one answer say, taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Every `resource_metadata` value in order, unchecked (RFC 9728 §5.1).
    pub resource_metadata: Vec<String>,
    /// `scope`, as sent (RFC 6750 §3).
    pub scope: Option<String>,
    /// `error`, such as `invalid_token` or `insufficient_scope` (RFC 6750 §3.1).
    pub error: Option<String>,
    /// `error_description`, unsanitized.
    pub error_description: Option<String>,
    /// A `DPoP` challenge was among them (RFC 9449 §7.1).
    pub dpop: bool,
    /// A `Bearer` challenge was among them.
    pub bearer: bool,
}

impl Challenge {
    /// Reads all `WWW-Authenticate` fields. What cannot be read is left out, up to
    /// [`super::limits::CHALLENGE`] bytes and [`super::limits::CHALLENGES`] challenges. Of a
    /// parameter that comes twice the first counts, `resource_metadata` excepted; an empty value
    /// counts as none.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut reader = Reader::default();
        let mut left = limits::CHALLENGE;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let bytes = value.as_bytes();
            let line = bytes.get(..left).unwrap_or(bytes);
            reader.line(&String::from_utf8_lossy(line), line.len() < bytes.len());
            left -= line.len();
        }
        reader.challenge
    }

    /// The server wants a token that allows more (RFC 6750 §3.1).
    #[must_use]
    pub fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }

    fn parameter(&mut self, name: &str, value: String) {
        if value.trim().is_empty() {
            return;
        }
        let slot = match name.to_ascii_lowercase().as_str() {
            "resource_metadata" => return self.resource_metadata.push(value),
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            "error_description" => &mut self.error_description,
            _ => return,
        };
        slot.get_or_insert(value);
    }
}

/// Reads one line after the other. Field lines are one list (RFC 9110 §5.3), so a challenge goes
/// on in the next line unless that begins another one.
#[derive(Default)]
struct Reader {
    challenge: Challenge,
    /// Challenges so far.
    count: usize,
    /// The parameters that follow belong to a `Bearer` or `DPoP` challenge.
    ours: bool,
}

impl Reader {
    /// `cut`: the line went on beyond what may be read, so what touches its end is not whole.
    fn line(&mut self, line: &str, cut: bool) {
        let mut rest = Rest(line);
        // A scheme stands at the start of a list element and nowhere else.
        let mut at_start = true;
        loop {
            if rest.skip_separators() {
                at_start = true;
            }
            let name = rest.token();
            rest.skip_blanks();
            if rest.0.is_empty() && (cut || name.is_empty()) {
                return;
            }
            if !name.is_empty() && rest.skip('=') {
                rest.skip_blanks();
                let Some(value) = rest.value() else { return };
                if cut && rest.0.is_empty() {
                    return;
                }
                if self.ours {
                    self.challenge.parameter(name, value);
                }
            } else if at_start && !name.is_empty() {
                if self.count == limits::CHALLENGES {
                    self.ours = false;
                    return;
                }
                self.scheme(name);
                rest.skip_token68();
            } else if rest.skip_element().is_none() {
                return;
            }
            at_start = false;
        }
    }

    fn scheme(&mut self, name: &str) {
        self.count += 1;
        let bearer = name.eq_ignore_ascii_case("bearer");
        let dpop = name.eq_ignore_ascii_case("dpop");
        self.challenge.bearer |= bearer;
        self.challenge.dpop |= dpop;
        self.ours = bearer || dpop;
    }
}

/// What is left of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|char| !keep(char)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        self.take_while(is_blank);
    }

    fn skip(&mut self, char: char) -> bool {
        match self.0.strip_prefix(char) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Whether there was a comma among what was skipped.
    fn skip_separators(&mut self) -> bool {
        self.take_while(|char| is_blank(char) || char == ',')
            .contains(',')
    }

    /// RFC 9110 §5.6.2.
    fn token(&mut self) -> &'a str {
        self.take_while(|char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char))
    }

    /// The credentials of schemes that have no parameters (RFC 9110 §11.2), if that is what
    /// stands here.
    fn skip_token68(&mut self) {
        let mut ahead = Self(self.0);
        let text = ahead.take_while(|char| char.is_ascii_alphanumeric() || "-._~+/".contains(char));
        ahead.take_while(|char| char == '=');
        ahead.skip_blanks();
        if !text.is_empty() && (ahead.0.is_empty() || ahead.0.starts_with(',')) {
            self.0 = ahead.0;
        }
    }

    /// A value: quoted, in single quotes as some servers do, or anything up to a blank or a comma,
    /// as addresses without quotes are sent. `None`: a quote that does not end.
    fn value(&mut self) -> Option<String> {
        if self.skip('"') {
            return self.quoted();
        }
        if let Some(inner) = self.0.strip_prefix('\'')
            && let Some((value, rest)) = inner.split_once('\'')
            && rest
                .trim_start_matches(is_blank)
                .chars()
                .next()
                .is_none_or(|char| char == ',')
        {
            self.0 = rest;
            return Some(value.to_owned());
        }
        Some(
            self.take_while(|char| !is_blank(char) && char != ',')
                .to_owned(),
        )
    }

    /// The rest of a quoted string (RFC 9110 §5.6.4).
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.0.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(chars.next()?),
                char => value.push(char),
            }
        }
        self.0 = chars.as_str();
        Some(value)
    }

    /// Skips what cannot be read up to the next comma outside quotes. `None`: a quote that does
    /// not end.
    fn skip_element(&mut self) -> Option<()> {
        loop {
            self.take_while(|char| char != ',' && char != '"');
            if !self.skip('"') {
                return Some(());
            }
            self.quoted()?;
        }
    }
}

fn is_blank(char: char) -> bool {
    char == ' ' || char == '\t'
}

#[cfg(test)]
mod tests;
