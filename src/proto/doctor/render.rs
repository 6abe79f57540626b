//! Findings as lines of text, for people.
//!
//! In: marks, columns, colour, what goes under a line. Out: what was found (the other files here),
//! whether somebody looks at a terminal (`commands`).

use std::fmt::Write as _;

use super::{Check, Mark};
use crate::proto::text::sanitize;

/// Longest text of one line, in characters.
pub const TEXT_CHARS: usize = 1000;

/// Width of the column that names the check.
const NAME_WIDTH: usize = 18;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Marks have a colour (ECMA-48 §8.3.117, select graphic rendition).
    pub colour: bool,
    /// Marks are signs in place of words; needs a terminal that shows UTF-8.
    pub signs: bool,
}

impl Style {
    /// Words without colour: for files and pipes.
    pub const PLAIN: Self = Self {
        colour: false,
        signs: false,
    };

    /// The mark alone, in its column.
    #[must_use]
    pub fn mark(self, mark: Mark) -> String {
        let (sign, colour) = match mark {
            Mark::Good => ("✓", "32"),
            Mark::Warning => ("!", "33"),
            Mark::Bad => ("✗", "31"),
        };
        let shown = if self.signs {
            sign.to_owned()
        } else {
            format!("{:<7}", mark.as_str())
        };
        self.painted(&shown, colour)
    }

    /// Text in faint letters.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.painted(text, "2")
    }

    /// Text in bold letters.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.painted(text, "1")
    }

    fn painted(self, text: &str, colour: &str) -> String {
        if self.colour {
            format!("\u{1b}[{colour}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// The columns before what goes under a line.
    fn indent(self) -> usize {
        if self.signs { 2 } else { 8 }
    }
}

/// One check: a line, and under it what to do where something is to be done. Ends with a line end;
/// nothing that others wrote can act on a terminal.
#[must_use]
pub fn check(check: &Check, style: Style) -> String {
    let mut line = format!(
        "{} {:<NAME_WIDTH$} {}",
        style.mark(check.mark),
        check.id,
        sanitize(&check.text, TEXT_CHARS)
    );
    let mut aside = Vec::new();
    if let Some(millis) = check.millis {
        aside.push(format!("{millis} ms"));
    }
    if let Some(kind) = check.kind.filter(|_| check.mark != Mark::Good) {
        aside.push(format!("[{}]", kind.as_str()));
    }
    if !aside.is_empty() {
        line.push(' ');
        line.push_str(&style.faint(&aside.join(" ")));
    }
    line.push('\n');
    if let Some(next) = next_step(check) {
        let (indent, arrow) = (style.indent(), if style.signs { "→" } else { "->" });
        // Writing to a string cannot fail.
        let _ = writeln!(line, "{:indent$}{arrow} {next}", "");
    }
    line
}

/// What to do about a check that is not good, with the option that does it.
#[must_use]
pub fn next_step(check: &Check) -> Option<String> {
    if check.mark == Mark::Good {
        return None;
    }
    let advice = check.advice.as_deref();
    let next = match (advice, check.flag.as_deref()) {
        (Some(advice), Some(flag)) if !advice.contains(flag) => format!("{advice}: {flag}"),
        (Some(advice), _) => advice.to_owned(),
        (None, Some(flag)) => flag.to_owned(),
        (None, None) => return None,
    };
    Some(sanitize(&next, TEXT_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::failure::Kind;

    #[test]
    fn a_line_has_mark_name_text_and_what_to_do_under_it() {
        let bad = Check::bad(
            "certificate",
            "issued by \"Corp CA\"",
            "trust that authority",
        )
        .with_flag("--ca-cert FILE")
        .of_kind(Kind::Connect)
        .in_millis(12);
        assert_eq!(
            check(&bad, Style::PLAIN),
            "bad     certificate        issued by \"Corp CA\" 12 ms [connect]\n        \
             -> trust that authority: --ca-cert FILE\n"
        );
        let signs = Style {
            colour: false,
            signs: true,
        };
        assert!(check(&bad, signs).starts_with("✗ certificate "));
        let good = Check::good("clock", "right").of_kind(Kind::Connect);
        assert_eq!(
            check(&good, Style::PLAIN),
            "good    clock              right\n"
        );
    }

    #[test]
    fn an_option_that_the_advice_names_is_not_said_twice() {
        let check = Check::warning("x", "t", "leave --a b out").with_flag("--a b");
        assert_eq!(next_step(&check).as_deref(), Some("leave --a b out"));
        let flag_alone = Check {
            advice: None,
            ..check
        };
        assert_eq!(next_step(&flag_alone).as_deref(), Some("--a b"));
        assert_eq!(next_step(&Check::good("x", "t").with_flag("--a")), None);
    }

    #[test]
    fn g09_nothing_of_others_acts_on_the_terminal() {
        let hostile = "a\u{1b}[2J\u{9b}31m\r\nbad  forged\u{202e}";
        let bad = Check::bad("name", hostile, hostile).with_flag(hostile);
        let colours = Style {
            colour: true,
            signs: true,
        };
        let plain = check(&bad, Style::PLAIN);
        assert_eq!(plain.lines().count(), 2, "{plain:?}");
        let is_hostile = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!plain.chars().any(is_hostile), "{plain:?}");
        let painted = check(&bad, colours);
        assert_eq!(painted.matches('\u{1b}').count(), 2, "{painted:?}");
        let endless = Check::good("name", "x".repeat(1 << 20));
        assert!(check(&endless, Style::PLAIN).len() < 2 * TEXT_CHARS);
    }
}
