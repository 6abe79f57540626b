//! What the browser shows when it is back.
//!
//! In: whole pages, fixed when the program is built: no script, nothing from outside, not a byte
//! of what anybody sent. Out: when each is shown (`super`).

use url::Url;

/// What the browser is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// The sign-in is complete.
    SignedIn,
    /// The sign-in failed; the application says why.
    Failed,
    /// Nothing is known here; the application knows.
    Elsewhere,
    /// The user's own page (`--auth-success-url`).
    Redirect(Url),
}

macro_rules! page {
    ($title:literal, $class:literal, $drawing:literal, $text:literal) => {
        concat!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
            "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
            $title,
            " – mcp-bridge</title>\n<style>\n",
            include_str!("page.css"),
            "</style>\n</head>\n<body>\n<main>\n<svg class=\"",
            $class,
            "\" viewBox=\"0 0 24 24\" aria-hidden=\"true\">",
            "<circle cx=\"12\" cy=\"12\" r=\"10\"/><path d=\"",
            $drawing,
            "\"/></svg>\n<h1>",
            $title,
            "</h1>\n<p>",
            $text,
            "</p>\n<footer>mcp-bridge, on this computer</footer>\n</main>\n</body>\n</html>\n"
        )
    };
}

const SIGNED_IN: &str = page!(
    "Signed in",
    "good",
    "M7.5 12.5l3 3 6-7",
    "You can close this tab and go back to your application."
);

const FAILED: &str = page!(
    "Sign-in did not complete",
    "bad",
    "M8.5 8.5l7 7M15.5 8.5l-7 7",
    "Go back to your application. It says what went wrong and what to do next. You can close this \
     tab."
);

/// Also the answer to whatever is not the browser's way back.
const ELSEWHERE: &str = page!(
    "Look at your application",
    "open",
    "M12 7.5v5.5M12 16.5v.01",
    "It says whether you are signed in. Nothing more happens here; you can close this tab."
);

impl Page {
    /// The HTTP status it is sent with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::SignedIn => 200,
            Self::Elsewhere => 202,
            Self::Redirect(_) => 303,
            Self::Failed => 400,
        }
    }

    /// HTML; nothing for a redirect.
    #[must_use]
    pub fn html(&self) -> &'static str {
        match self {
            Self::SignedIn => SIGNED_IN,
            Self::Failed => FAILED,
            Self::Elsewhere => ELSEWHERE,
            Self::Redirect(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c30_pages_are_whole_and_need_nothing_from_outside() {
        for page in [Page::SignedIn, Page::Failed, Page::Elsewhere] {
            let html = page.html();
            assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
            assert!(html.contains("<html lang=\"en\">") && html.contains("prefers-color-scheme"));
            for foreign in [
                "<script", "<a ", "<img", "<link", "<iframe", "http", "url(", "@import", "onload=",
            ] {
                assert!(!html.contains(foreign), "{foreign} in {html}");
            }
        }
        assert_eq!(Page::Redirect(Url::parse("https://x/").unwrap()).html(), "");
    }

    #[test]
    fn c30_only_one_page_claims_success() {
        assert!(Page::SignedIn.html().contains("<h1>Signed in</h1>"));
        for page in [Page::Failed, Page::Elsewhere] {
            assert!(!page.html().contains("Signed in"));
        }
    }
}
