//! What people read before they type: help texts, completions, manual pages.
//!
//! In: that examples work, that short is short, that shells and `man` can use what is made. Out:
//! what the options do.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use mcp_bridge::cli::{Parsed, pages};

use crate::support::Home;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is a program of its own as well"
)]
#[path = "../../examples/man.rs"]
mod man;

/// Lines of the short help text at the width that is used where there is no terminal.
const SCREEN: usize = 40;

/// Columns of every help text.
const WIDTH: usize = 100;

const COMMANDS: [&str; 8] = [
    "install",
    "uninstall",
    "doctor",
    "login",
    "logout",
    "status",
    "pack",
    "completions",
];

fn program(arguments: &[&str]) -> Output {
    let home = Home::new();
    Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = program(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words of a line as a shell would pass them on. Where its output goes is left out.
fn words(line: &str) -> Vec<OsString> {
    let line = line.split(" > ").next().unwrap();
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (index, word) in part.split(' ').enumerate() {
            if index > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(word);
        }
    }
    words.into_iter().map(OsString::from).collect()
}

#[track_caller]
fn assert_parses(line: &str) {
    match Parsed::read(words(line), &|_| None) {
        Ok(Parsed::Answer(answer)) => panic!("{line}: {answer}"),
        Ok(_) => {}
        Err(failure) => panic!("{line}: {failure}"),
    }
}

#[test]
fn every_example_can_be_typed() {
    let mut seen = 0;
    for page in pages() {
        let topics: Vec<_> = page.examples.iter().map(|example| example.topic).collect();
        assert_eq!(topics.first(), Some(&""), "{}", page.name);
        for heading in page
            .command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter_map(clap::Arg::get_help_heading)
        {
            assert!(topics.contains(&heading), "{}: {heading}", page.name);
        }
        for example in &page.examples {
            assert!(example.line.starts_with(page.name), "{}", example.line);
            assert_parses(&example.line);
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
    // The help texts show them, and nothing else that looks like one.
    for name in [None].into_iter().chain(COMMANDS.map(Some)) {
        let arguments: Vec<&str> = name.into_iter().chain(["--help"]).collect();
        let help = printed(&arguments);
        // The forms behind "Usage:" are none.
        let (_, rest) = help.split_once("Example").unwrap();
        let lines = rest.lines().filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("Example: ").unwrap_or(line);
            line.starts_with("mcp-bridge ").then_some(line)
        });
        let mut shown = 0;
        for line in lines.filter(|line| !line.contains(['<', '['])) {
            assert_parses(line);
            shown += 1;
        }
        let page = pages().into_iter().find(|page| match name {
            Some(name) => page.name == format!("mcp-bridge {name}"),
            None => page.name == "mcp-bridge",
        });
        assert_eq!(shown, page.unwrap().examples.len(), "{help}");
    }
}

#[test]
fn short_help_fits_on_a_screen_and_long_help_has_all() {
    for name in [None].into_iter().chain(COMMANDS.map(Some)) {
        let of = |flag| printed(&name.into_iter().chain([flag]).collect::<Vec<_>>());
        let (short, long) = (of("-h"), of("--help"));
        assert!(short.lines().count() <= SCREEN, "{short}");
        for text in [&short, &long] {
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
                assert_eq!(line.trim_end(), line);
            }
            let usage = name.map_or("Usage: mcp-bridge [OPTIONS] <URL>".into(), |name| {
                format!("Usage: mcp-bridge {name}")
            });
            assert!(text.contains(&usage), "{text}");
        }
        let page = pages().into_iter().find(|page| match name {
            Some(name) => page.name == format!("mcp-bridge {name}"),
            None => page.name == "mcp-bridge",
        });
        for arg in page.unwrap().command.get_arguments() {
            let Some(option) = arg.get_long() else {
                continue;
            };
            let line = format!("--{option}");
            let is_there = |text: &str| {
                text.lines()
                    .filter(|line| line.trim_start().starts_with('-'))
                    .any(|found| found.split([' ', ',']).any(|word| word == line))
            };
            assert_eq!(is_there(&long), !arg.is_hide_set(), "{name:?} {option}");
        }
    }
    let short = printed(&["-h"]);
    for command in COMMANDS {
        assert!(short.contains(&format!("\n  {command} ")), "{short}");
    }
}

#[test]
fn bash_completes_options_commands_and_values() {
    let script = printed(&["completions", "bash"]);
    let tests = r#"
        ask() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _mcp__bridge mcp-bridge "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
            echo "${COMPREPLY[*]}"
        }
        ask mcp-bridge --tra
        ask mcp-bridge ins
        ask mcp-bridge --transport s
        ask mcp-bridge install cl
        ask mcp-bridge install cursor --dry
        ask mcp-bridge uninstall x --client v
        ask mcp-bridge completions p
        ask mcp-bridge login --only
    "#;
    let Some(said) = piped("bash", &["--norc"], &format!("{script}\n{tests}")) else {
        return;
    };
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "--transport",
            "install",
            "sse-first sse-only",
            "claude-desktop claude-code",
            "--dry-run",
            "vscode",
            "powershell",
            "",
        ]
    );
}

#[test]
fn every_script_is_understood_by_its_shell() {
    for (shell, arguments) in [
        ("bash", &["-n"][..]),
        ("zsh", &["-n"]),
        ("fish", &["--no-execute"]),
    ] {
        let script = printed(&["completions", shell]);
        let _ = piped(shell, arguments, &script);
    }
    let script = printed(&["completions", "powershell"]);
    assert!(script.contains("Register-ArgumentCompleter"), "{script}");
    assert!(script.contains("'mcp-bridge;install'"), "{script}");
}

#[test]
fn manual_pages_are_set_without_a_warning() {
    for page in pages() {
        let text = String::from_utf8(man::render(&page).unwrap()).unwrap();
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "NOTES"] {
            let found = text.contains(&format!(".SH {section}\n"));
            assert!(found, "{}: {section}\n{text}", man::file_name(&page));
        }
        let arguments = ["-man", "-ww", "-z", "-Tutf8", "-K", "utf8"];
        let _ = piped("groff", &arguments, &text);
        if let Some(read) = piped("groff", &["-man", "-Tutf8", "-K", "utf8", "-P-c"], &text) {
            for example in &page.examples {
                let line = example.line.split(" --").next().unwrap();
                assert!(read.contains(line), "{line}\n{read}");
            }
        }
    }
    let names: Vec<String> = pages().iter().map(man::file_name).collect();
    assert_eq!(names.len(), COMMANDS.len() + 1);
    assert!(
        names.contains(&"mcp-bridge-uninstall.1".to_owned()),
        "{names:?}"
    );
}

/// What another program makes of a text: `None` where it is not installed. It must have nothing
/// to complain about.
#[track_caller]
fn piped(program: &str, arguments: &[&str], text: &str) -> Option<String> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {stderr}");
    assert_eq!(stderr, "", "{program}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn help_is_also_a_word() {
    assert_eq!(printed(&["help"]), printed(&["--help"]));
    assert_eq!(
        printed(&["help", "install"]),
        printed(&["install", "--help"])
    );
}

#[test]
fn a_mistyped_command_is_told_from_an_address() {
    for (typed, meant) in [("instal", "install"), ("docter", "doctor")] {
        let output = program(&[typed, "cursor", "https://example.com/mcp"]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        let hint = format!("did you mean `mcp-bridge {meant}`?");
        assert!(said.contains(&hint), "{said}");
    }
    let output = program(&["example.com"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("put https:// in front of it"), "{said}");
}
