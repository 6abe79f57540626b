//! What `doctor` needs to know.
//!
//! In: which part of the options it uses, how the terminal may be written on, which variables
//! count. Out: what the options mean (the other files here).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::CommandFactory as _;

use super::{Notice, Settings};
use crate::cli::{Cli, Doctor, Typed};
use crate::error::Failure;
use crate::proto::doctor::render::Style;
use crate::proto::secret::Secret;

/// Variables beside the bridge's own that change what it does.
const VARIABLES: [&str; 20] = [
    "ALL_PROXY",
    "DEBUG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "MCP_BRIDGE_CONFIG_DIR",
    "MCP_REMOTE_CONFIG_DIR",
    "NODE_EXTRA_CA_CERTS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NO_COLOR",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What `doctor` needs to know.
#[derive(Clone, Debug)]
pub struct DoctorSettings {
    /// Those of the bridge that is looked at.
    pub settings: Settings,
    /// What was noticed about its options.
    pub notices: Vec<Notice>,
    /// The options of the bridge that were typed, for the report. Values may be secret.
    pub typed: Vec<Typed>,
    /// Names of the variables that count and are set, for the report.
    pub variables: Vec<String>,
    /// Whether to print JSON.
    pub json: bool,
    /// Where to write a report for others.
    pub report: Option<PathBuf>,
    /// Whether to sign in where that is needed.
    pub login: bool,
    /// How a terminal may be written on.
    pub style: Style,
    /// Whether a line on a terminal can be written anew.
    pub rewrites: bool,
    /// Values of variables that went into options: never shown.
    pub secrets: Vec<Secret>,
}

impl DoctorSettings {
    /// Gives the options of `doctor` their meaning.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub fn resolve(
        doctor: &Doctor,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let (mut settings, notices) = Settings::resolve(&doctor.cli, env)?;
        // What the bridge says of itself stands in the checks already.
        settings.log.quiet = !settings.log.debug;
        settings.log.keep = doctor.report.is_some();
        let value = |name: &String| Some(Secret::from(env(name)?.into_string().ok()?));
        let secrets = settings.secret_variables.iter().filter_map(value).collect();
        Ok(Self {
            settings,
            notices,
            typed: doctor.typed.clone(),
            variables: variables(env),
            json: doctor.json,
            report: doctor.report.clone(),
            login: doctor.login,
            style: style(env, cfg!(windows)),
            rewrites: env("TERM").is_none_or(|term| term != "dumb"),
            secrets,
        })
    }
}

/// Names of the variables that count and are set.
fn variables(env: &impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let command = Cli::command();
    let options = command.get_arguments().filter_map(|option| {
        let name = option.get_long()?.replace('-', "_").to_uppercase();
        Some(format!("MCP_BRIDGE_{name}"))
    });
    let mut names: Vec<String> = VARIABLES
        .into_iter()
        .map(str::to_owned)
        .chain(options)
        .filter(|name| env(name).is_some())
        .collect();
    names.sort();
    // Windows does not tell apart how a name is spelled.
    names.dedup_by(|one, other| cfg!(windows) && one.eq_ignore_ascii_case(other));
    names
}

/// Colour unless `NO_COLOR` holds something (<https://no-color.org>) or the terminal is a `dumb`
/// one; signs where the locale says UTF-8 (POSIX.1-2017 §8.2: `LC_ALL` over `LC_CTYPE` over
/// `LANG`). On Windows both where a terminal says that it can.
pub(super) fn style(env: &impl Fn(&str) -> Option<OsString>, windows: bool) -> Style {
    let held = |name: &str| {
        let value = env(name)?.to_string_lossy().to_lowercase();
        (!value.is_empty()).then_some(value)
    };
    if held("TERM").is_some_and(|term| term == "dumb") {
        return Style::PLAIN;
    }
    let is_modern = ["WT_SESSION", "TERM_PROGRAM", "TERM"]
        .into_iter()
        .any(|name| held(name).is_some());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(held);
    let is_utf8 = locale.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"));
    Style {
        colour: held("NO_COLOR").is_none() && (!windows || is_modern),
        signs: if windows { is_modern } else { is_utf8 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(windows: bool, variables: &[(&str, &str)]) -> (bool, bool) {
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let style = style(&env, windows);
        (style.colour, style.signs)
    }

    #[test]
    fn colour_and_signs_are_for_terminals_that_show_them() {
        let term = ("TERM", "xterm");
        for (variables, expected) in [
            (&[term, ("LANG", "de_DE.UTF-8")][..], (true, true)),
            (&[term, ("LANG", "C")], (true, false)),
            (&[term], (true, false)),
            (&[term, ("LANG", "x.UTF-8"), ("LC_ALL", "C")], (true, false)),
            (&[term, ("LANG", "x.UTF-8"), ("LC_ALL", "")], (true, true)),
            (&[term, ("LC_CTYPE", "utf8"), ("LANG", "C")], (true, true)),
            (&[term, ("NO_COLOR", "1")], (false, false)),
            (&[term, ("NO_COLOR", "")], (true, false)),
            (&[("TERM", "dumb"), ("LANG", "x.UTF-8")], (false, false)),
        ] {
            assert_eq!(look(false, variables), expected, "{variables:?}");
        }
        assert_eq!(look(true, &[]), (false, false));
        assert_eq!(look(true, &[("WT_SESSION", "x")]), (true, true));
        assert_eq!(
            look(true, &[("WT_SESSION", "x"), ("NO_COLOR", "1")]),
            (false, true)
        );
    }

    #[test]
    fn variables_are_named_without_their_values() {
        let set = ["HTTPS_PROXY", "MCP_BRIDGE_CONNECT_TIMEOUT", "OTHER"];
        let env = |name: &str| set.contains(&name).then(|| OsString::from("hunter2"));
        assert_eq!(
            variables(&env),
            ["HTTPS_PROXY", "MCP_BRIDGE_CONNECT_TIMEOUT"]
        );
    }
}
