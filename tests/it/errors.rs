//! The kinds of errors: the page that explains them, and where they are named.
//!
//! In: `docs/errors.md` and the kinds agree, every failure that ends the process names its kind.
//! Out: when which error comes (the other files here).

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use mcp_bridge::error::FailureKind;
use mcp_bridge::proto::failure::Kind;

use crate::support::{Home, Legacy};

/// What an anchor of the page looks like, up to its name.
const ANCHOR: &str = "### <a id=\"";

fn kinds() -> BTreeSet<&'static str> {
    let of_requests = Kind::ALL.map(Kind::as_str);
    let of_the_process = FailureKind::OF_THE_PROCESS.map(FailureKind::as_str);
    of_requests.into_iter().chain(of_the_process).collect()
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_kind_has_its_place_on_the_page_and_nothing_else_has() {
    let page = page();
    let mut found = BTreeSet::new();
    for section in page.split("\n### ").skip(1) {
        let heading = section.lines().next().unwrap();
        let (kind, title) = format!("### {heading}")
            .strip_prefix(ANCHOR)
            .and_then(|rest| rest.split_once("\"></a>"))
            .map_or_else(
                || panic!("{heading}"),
                |(kind, title)| (kind.to_owned(), title.to_owned()),
            );
        assert_eq!(kind, title);
        assert!(found.insert(kind.clone()), "{kind} stands there twice");
        let (said, sample) = section.split_once("```text\n").unwrap();
        assert!(said.len() > 120, "{kind}: says too little");
        let sample = sample.split("\n```").next().unwrap();
        assert_eq!(sample.lines().count(), 1, "{kind}");
        assert!(sample.ends_with(&format!(" [{kind}]")), "{kind}: {sample}");
    }
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, kinds());
    let links = page.split("](#").skip(1);
    for link in links.map(|rest| rest.split(')').next().unwrap()) {
        assert!(found.contains(link), "{link}");
    }
}

#[test]
fn a_failure_that_ends_the_process_ends_its_line_in_its_kind() {
    let remote = Legacy::sessions().start();
    remote.must_stay_uncalled();
    let url = remote.url();
    for (arguments, kind, code) in [
        (&[&url, "--no-such-option"][..], "usage", 2),
        (&["ftp://mcp.test/"], "usage", 2),
        (&[&url, "--config", "/no/such/file"], "file", 1),
        (&[&url, "--header-file", "/no/such/file"], "file", 1),
        (&["login", "http://127.0.0.1:1/mcp"], "connect", 1),
    ] {
        let home = Home::new();
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        let of_us = |line: &&str| line.starts_with("mcp-bridge: ");
        let line = stderr.lines().find(of_us).unwrap_or_default();
        assert!(line.ends_with(&format!(" [{kind}]")), "{stderr}");
        assert!(kinds().contains(kind));
    }
}
