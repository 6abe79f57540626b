//! The pages for people: every option stands where it belongs, and links lead somewhere.
//!
//! In: what the program says of itself, the files. Out: error kinds (`errors`), examples in help
//! texts (`help`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_option_stands_on_the_page_about_options() {
    let page = read("docs/options.md");
    let documented = options_in(&page);
    let known = options();
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/options.md: {missing:?}");
    let gone: Vec<_> = documented.difference(&known).collect();
    assert!(gone.is_empty(), "in docs/options.md alone: {gone:?}");
}

#[test]
fn every_option_stands_on_the_page_about_migrating() {
    let documented = options_in(&read("docs/migrating.md"));
    let missing: Vec<_> = options().difference(&documented).cloned().collect();
    assert!(missing.is_empty(), "not in docs/migrating.md: {missing:?}");
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let mut faults = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(path)
            };
            if !target.exists() {
                faults.push(format!("{}: {link}", page.display()));
            } else if !anchor.is_empty() && !anchors(&target).contains(anchor) {
                faults.push(format!("{}: no such anchor: {link}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The long options that the full help of the bridge lists.
fn options() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let listed = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line
            .strip_prefix("-h, ")
            .or(line.strip_prefix("-V, "))
            .unwrap_or(line);
        let name = line.strip_prefix("--")?;
        Some(first_word(name))
    });
    let found: BTreeSet<String> = listed
        .filter(|name| !["help", "version"].contains(&name.as_str()))
        .collect();
    assert!(found.len() > 50, "{found:?}");
    found
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .collect()
}

/// The long options that a page mentions in backticks.
fn options_in(page: &str) -> BTreeSet<String> {
    page.split("`--")
        .skip(1)
        .map(first_word)
        .filter(|name| !name.is_empty())
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let mut found = vec![
        root().join("README.md"),
        root().join("CONTRIBUTING.md"),
        root().join("SECURITY.md"),
    ];
    let docs = fs::read_dir(root().join("docs")).unwrap();
    found.extend(
        docs.map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "md")),
    );
    found
}

/// The targets of Markdown links and images, outside code.
fn links(text: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchors of a page: explicit ones, and those made from headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let explicit = text
        .split("<a id=\"")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    let headings = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        });
    explicit.chain(headings).collect()
}
