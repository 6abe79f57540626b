//! What `doctor` found, for programs (`--json`) and for a bug report (`--report`).
//!
//! In: the form of both. Out: what was found, and the files (`edge/report`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::discretion::Discretion;
use crate::edge::{log, report};
use crate::error::Failure;
use crate::proto::doctor::render::{self, Style};
use crate::proto::doctor::verdict::Verdict;
use crate::proto::doctor::{Check, options};
use crate::proto::failure::Kind;
use crate::proto::text::{public_url, sanitize};
use crate::settings::DoctorSettings;

/// Everything that was found.
pub(super) struct Findings<'a> {
    /// Without secrets.
    pub(super) checks: &'a [Check],
    /// Names of what could not be tried.
    pub(super) not_tried: &'a [&'static str],
    /// All in one sentence.
    pub(super) verdict: &'a Verdict,
}

/// One object, with a line end.
///
/// # Errors
/// Cannot fail: text and numbers.
pub(super) fn json(settings: &DoctorSettings, findings: &Findings<'_>) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Whole<'a> {
        version: &'static str,
        server: String,
        verdict: &'static str,
        text: &'a str,
        checks: Vec<One>,
        not_tried: &'a [&'static str],
    }
    #[derive(Serialize)]
    struct One {
        id: &'static str,
        mark: &'static str,
        text: String,
        advice: Option<String>,
        flag: Option<String>,
        kind: Option<&'static str>,
        millis: Option<u64>,
    }
    let fit = |text: &str| sanitize(text, render::TEXT_CHARS);
    let checks = findings.checks.iter().map(|check| One {
        id: check.id,
        mark: check.mark.as_str(),
        text: fit(&check.text),
        advice: check.advice.as_deref().map(fit),
        flag: check.flag.as_deref().map(fit),
        kind: check.kind.map(Kind::as_str),
        millis: check.millis,
    });
    let whole = Whole {
        version: env!("CARGO_PKG_VERSION"),
        server: public_url(&settings.settings.url),
        verdict: findings.verdict.mark.as_str(),
        text: &findings.verdict.text,
        checks: checks.collect(),
        not_tried: findings.not_tried,
    };
    let text = serde_json::to_string_pretty(&whole)
        .map_err(|error| Failure::runtime(error.to_string()))?;
    Ok(text + "\n")
}

/// Writes the report, in Markdown.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(
    path: &Path,
    settings: &DoctorSettings,
    findings: &Findings<'_>,
    discretion: &Discretion,
) -> Result<(), Failure> {
    let text = discretion.text(&markdown(settings, findings));
    report::write(path, &text).map_err(|error| {
        let what = format!("--report {} cannot be written: {error}", path.display());
        Failure::file(what).hint("name a file in a folder that exists and that you may write in")
    })
}

fn markdown(settings: &DoctorSettings, findings: &Findings<'_>) -> String {
    let mut text = String::from("# mcp-bridge doctor\n\n");
    let server = public_url(&settings.settings.url);
    let feature = if cfg!(feature = "keychain") {
        "keychain"
    } else {
        "none"
    };
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {name}: {value}");
    };
    line("version", env!("CARGO_PKG_VERSION"));
    line("features", feature);
    line(
        "system",
        &format!("{}, {}", std::env::consts::OS, std::env::consts::ARCH),
    );
    line("C library", C_LIBRARY);
    line("server", &format!("`{server}`"));
    line("verdict", &code(&findings.verdict.text));
    let options: Vec<String> = settings
        .typed
        .iter()
        .map(|option| {
            let value = option.value.as_ref().map(crate::cli::Secret::reveal);
            code(&options::shown(&option.name, value))
        })
        .collect();
    line("options typed", &listed(&options));
    let variables: Vec<String> = settings.variables.iter().map(|name| code(name)).collect();
    line("variables set", &listed(&variables));
    let used: Vec<String> = settings
        .settings
        .secret_variables
        .iter()
        .map(|name| code(name))
        .collect();
    line("variables used in options", &listed(&used));
    section(&mut text, "Checks", &checks(findings));
    for (name, folder) in folders(settings) {
        section(
            &mut text,
            &format!("Files in {name}"),
            &report::listing(&folder),
        );
    }
    section(&mut text, "Log of this run", &log::kept());
    text
}

const C_LIBRARY: &str = if cfg!(target_env = "musl") {
    "musl"
} else if cfg!(target_env = "gnu") {
    "gnu"
} else if cfg!(target_env = "msvc") {
    "msvc"
} else {
    "the system's"
};

fn checks(findings: &Findings<'_>) -> String {
    let mut text = String::new();
    for check in findings.checks {
        text.push_str(&render::check(check, Style::PLAIN));
    }
    if !findings.not_tried.is_empty() {
        let _ = writeln!(text, "not tried: {}", findings.not_tried.join(", "));
    }
    text
}

/// The folders of the store, as they are named to others: the path may hold a person's name.
fn folders(settings: &DoctorSettings) -> Vec<(&'static str, PathBuf)> {
    let Some(base) = &settings.settings.store.base else {
        return Vec::new();
    };
    vec![
        ("the store's mcp-remote-v1", base.join("mcp-remote-v1")),
        ("the store's mcp-bridge", base.join("mcp-bridge")),
    ]
}

/// A block in which nothing is markup, whatever stands in it: a fence ends at one that is as long or
/// longer (`CommonMark` 0.31.2 §4.5).
fn section(text: &mut String, heading: &str, block: &str) {
    let longest = block
        .lines()
        .map(|line| {
            line.trim_start()
                .chars()
                .take_while(|char| *char == '`')
                .count()
        })
        .max();
    let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
    let end = if block.is_empty() || block.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {heading}\n\n{fence}text\n{block}{end}{fence}\n");
}

/// Text in which nothing is markup, in a line.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

fn listed(items: &[String]) -> String {
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g09_what_others_wrote_is_no_markup_in_the_report() {
        let mut text = String::new();
        section(&mut text, "Checks", "a\n````\n# forged\n  `````x");
        assert!(
            text.contains("\n``````text\na\n") && text.ends_with("\n``````\n"),
            "{text}"
        );
        assert_eq!(code("a`b"), "`a'b`");
    }
}
