//! Words of strangers, made fit for terminals, logs and error messages.
//!
//! In: escaping, shortening, the title of a web page, addresses without secrets. Out: what is said
//! about them, and JSON text for the client (`json`).

use std::fmt::Write as _;

use url::Url;

/// Most characters that [`excerpt`] and [`html_title`] return.
pub const EXCERPT_CHARS: usize = 300;

/// How many bytes of a body [`excerpt`] and [`html_title`] look at.
pub const EXCERPT_BYTES: usize = 64 << 10;

/// One line of at most `max_chars` characters that a terminal shows as it is.
///
/// Control characters, line and paragraph separators, direction controls and characters without
/// width become visible escapes such as `\u{1b}`. A text that is cut ends in `…`.
#[must_use]
pub fn sanitize(text: &str, max_chars: usize) -> String {
    let mut clean = String::new();
    // Where to cut if the text turns out too long: before the last character that fits.
    let mut cut = 0;
    let mut count = 0;
    for char in text.chars() {
        let before = clean.len();
        let width = if is_hidden(char) {
            let escape = char.escape_unicode();
            let width = escape.len();
            clean.extend(escape);
            width
        } else {
            clean.push(char);
            1
        };
        if count < max_chars {
            cut = before;
        }
        count += width;
        if count > max_chars {
            clean.truncate(cut);
            if max_chars > 0 {
                clean.push('…');
            }
            return clean;
        }
    }
    clean
}

/// The beginning of a body for an error message: white space folded, [`sanitize`]d, at most
/// [`EXCERPT_CHARS`] characters.
#[must_use]
pub fn excerpt(body: &[u8]) -> String {
    let body = body.get(..EXCERPT_BYTES).unwrap_or(body);
    sanitize(&fold(&String::from_utf8_lossy(body)), EXCERPT_CHARS)
}

/// The title of a web page, [`sanitize`]d, at most [`EXCERPT_CHARS`] characters; `None` if there
/// is none or it is empty.
#[must_use]
pub fn html_title(body: &[u8]) -> Option<String> {
    let body = body.get(..EXCERPT_BYTES).unwrap_or(body);
    let page = String::from_utf8_lossy(body);
    // ASCII case folding keeps every byte in its place.
    let lower = page.to_ascii_lowercase();
    let tag = lower
        .match_indices("<title")
        .map(|(at, tag)| at + tag.len())
        .find(|&at| {
            lower
                .get(at..)
                .is_some_and(|tail| tail.starts_with(['>', ' ', '\t', '\n', '\r', '/']))
        })?;
    let start = tag + lower.get(tag..)?.find('>')? + 1;
    let length = lower.get(start..)?.find("</title")?;
    let title = unescape(&fold(page.get(start..start + length)?));
    (!title.is_empty()).then(|| sanitize(&title, EXCERPT_CHARS))
}

/// Scheme, host and port, the port only where it is not the scheme's own (RFC 6454 §6.2).
#[must_use]
pub fn origin(url: &Url) -> String {
    let mut text = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        // Writing to a string cannot fail.
        let _ = write!(text, ":{port}");
    }
    text
}

/// The address without user name, password, query and fragment, any of which may be a secret.
#[must_use]
pub fn public_url(url: &Url) -> String {
    if url.cannot_be_a_base() {
        return format!("{}:…", url.scheme());
    }
    origin(url) + url.path()
}

/// Characters that change how the text around them is shown, or that are not seen at all.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Runs of white space become one space; none at the ends.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded
}

/// The character references that titles commonly hold.
fn unescape(text: &str) -> String {
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    named
        .iter()
        .fold(text.to_owned(), |text, (reference, char)| {
            text.replace(reference, char)
        })
}

/// What may be shown of a text that should be an address and cannot be read as one: nothing of a
/// query, a fragment or user information. Not yet fit for a terminal.
#[must_use]
pub fn public_part(address: &str) -> &str {
    let shown = address.split(['?', '#']).next().unwrap_or_default();
    if address.contains('@') {
        shown.split_once("://").map_or("", |(scheme, _)| scheme)
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn g09_terminal_escapes_become_visible() {
        let cases = [
            ("\u{1b}]8;;http://x\u{7}", r"\u{1b}]8;;http://x\u{7}"),
            ("\u{1b}[2J\u{9b}A\u{85}", r"\u{1b}[2J\u{9b}A\u{85}"),
            (
                "a\rb\nc\td\u{8}\u{7f}\0",
                r"a\u{d}b\u{a}c\u{9}d\u{8}\u{7f}\u{0}",
            ),
            (
                "\u{2028}\u{2029}\u{202e}\u{2066}\u{61c}",
                r"\u{2028}\u{2029}\u{202e}\u{2066}\u{61c}",
            ),
            (
                "\u{200b}\u{200d}\u{feff}\u{e0041}",
                r"\u{200b}\u{200d}\u{feff}\u{e0041}",
            ),
            ("Grüße 日本 🙂 \\u{1b}", "Grüße 日本 🙂 \\u{1b}"),
        ];
        for (text, expected) in cases {
            assert_eq!(sanitize(text, 1000), expected);
        }
    }

    #[test]
    fn sanitize_cuts_at_the_limit_and_never_inside_an_escape() {
        assert_eq!(sanitize("abcde", 5), "abcde");
        assert_eq!(sanitize("abcdef", 5), "abcd…");
        assert_eq!(sanitize("äöüäöü", 5), "äöüä…");
        assert_eq!(sanitize("ab\u{1b}cd", 6), "ab…");
        assert_eq!(sanitize("ab\u{1b}", 8), "ab\\u{1b}");
        assert_eq!(sanitize("ab\u{1b}c", 8), "ab…");
        assert_eq!(sanitize("abc", 1), "…");
        assert_eq!(sanitize("abc", 0), "");
        assert_eq!(sanitize("", 0), "");
    }

    #[test]
    fn g20_excerpt_is_short_and_one_line() {
        assert_eq!(
            excerpt(b"  Internal \r\n\t Server\n Error \n"),
            "Internal Server Error"
        );
        assert_eq!(excerpt(b"bad \xff byte\x1b"), "bad \u{fffd} byte\\u{1b}");
        let long = excerpt(&b"x".repeat(1 << 20));
        assert_eq!(
            (long.chars().count(), long.ends_with('…')),
            (EXCERPT_CHARS, true)
        );
        assert_eq!(excerpt(b""), "");
    }

    #[test]
    fn t63_title_of_a_web_page() {
        let title = |page: &str| html_title(page.as_bytes());
        assert_eq!(
            title("<!doctype html><HTML><Title data-x=1>\n Sign in &amp;\n go\u{1b} </TITLE>"),
            Some("Sign in & go\\u{1b}".into())
        );
        assert_eq!(title("<title>&amp;lt;</title>"), Some("&lt;".into()));
        assert_eq!(
            title("<titles>no</titles><title>yes</title>"),
            Some("yes".into())
        );
        for page in [
            "",
            "<title>",
            "<title",
            "<title> </title>",
            "<p>x</p>",
            "{\"a\":1}",
        ] {
            assert_eq!(title(page), None, "{page}");
        }
        let endless = "<title>".to_owned() + &"x".repeat(1 << 20);
        assert_eq!(title(&endless), None);
    }

    #[test]
    fn addresses_lose_their_secrets() {
        let url = |text: &str| Url::parse(text).unwrap();
        let secret = url("https://user:pw@Example.com:8443/a/b?key=1#top");
        assert_eq!(public_url(&secret), "https://example.com:8443/a/b");
        assert_eq!(origin(&secret), "https://example.com:8443");
        assert_eq!(
            origin(&url("https://example.com:443/x")),
            "https://example.com"
        );
        assert_eq!(origin(&url("http://[::1]:80/")), "http://[::1]");
        assert_eq!(public_url(&url("javascript:alert(1)")), "javascript:…");
        assert_eq!(public_url(&url("http://h")), "http://h/");
    }

    proptest! {
        #[test]
        fn sanitized_text_is_plain_and_short(text in any::<String>(), max in 0_usize..40) {
            let clean = sanitize(&text, max);
            prop_assert!(clean.chars().count() <= max);
            prop_assert!(!clean.chars().any(is_hidden));
        }
    }

    #[test]
    fn unreadable_addresses_are_shown_without_secrets() {
        for (address, shown) in [
            ("http://[/a?key=secret", "http://[/a"),
            ("http://[/a#secret", "http://[/a"),
            ("http://me:secret@[/a", "http"),
            ("http://me:sec?ret@[/a", "http"),
            ("me:secret@[/a", ""),
            ("http://[/a?mail=secret@b", "http"),
            ("", ""),
        ] {
            assert_eq!(public_part(address), shown, "{address}");
        }
    }
}
