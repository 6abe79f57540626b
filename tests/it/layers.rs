//! Imports under `src` point downwards only, and every file keeps to the house's form.
//!
//! In: paths that the code mentions, in `use` lines or in full, outside comments, strings and
//! tests. Out: paths that macros make up.

use std::fs;
use std::path::{Path, PathBuf};

/// What `proto` must not mention: a path and everything below it.
const FORBIDDEN_IN_PROTO: &[&str] = &[
    "crate::cli",
    "crate::commands",
    "crate::driver",
    "crate::edge",
    "crate::error",
    "crate::settings",
    "crate::sign_in",
    "hyper",
    "reqwest",
    "rustls",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::sync::Condvar",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "tokio",
    "tracing",
];

/// Words that `proto` must not use at all.
const FORBIDDEN_WORDS_IN_PROTO: &[&str] = &["async", "await"];

/// What an edge must not mention.
const FORBIDDEN_IN_EDGES: &[&str] = &[
    "crate::cli",
    "crate::commands",
    "crate::driver",
    "crate::settings",
    "crate::sign_in",
];

/// What the order of a sign-in must not mention.
const FORBIDDEN_IN_SIGN_IN: &[&str] = &[
    "crate::cli",
    "crate::commands",
    "crate::driver",
    "crate::error",
    "crate::settings",
];

/// Edges that the others may use: one HTTP client for everyone and what it is made of, and one way
/// to run a program.
const SHARED_EDGES: &[&str] = &["child", "http"];

/// Longest file, in lines of code: blank lines, comments and tests do not count.
const LONGEST_FILE: usize = 500;

#[test]
fn proto_only_decides() {
    let mut faults = Vec::new();
    for source in sources("proto") {
        let mentions = source.mentions();
        for path in FORBIDDEN_IN_PROTO {
            if mentions.iter().any(|mention| is_at_or_below(mention, path)) {
                faults.push(format!("{} mentions {path}", source.name));
            }
        }
        for word in FORBIDDEN_WORDS_IN_PROTO {
            if words(&source.code).any(|found| found == *word) {
                faults.push(format!("{} says {word}", source.name));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn edges_neither_look_up_nor_sideways() {
    let mut faults = Vec::new();
    for source in sources("edge") {
        let own = source.module.get(1).map_or("", String::as_str);
        for mention in source.mentions() {
            if FORBIDDEN_IN_EDGES
                .iter()
                .any(|path| is_at_or_below(&mention, path))
            {
                faults.push(format!("{} mentions {mention}", source.name));
            }
            let sibling = mention.strip_prefix("crate::edge::").unwrap_or_default();
            let sibling = sibling.split("::").next().unwrap_or_default();
            let is_module = sibling.starts_with(|first: char| first.is_ascii_lowercase());
            if is_module && !own.is_empty() && sibling != own && !SHARED_EDGES.contains(&sibling) {
                faults.push(format!("{} mentions its sibling {mention}", source.name));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_order_of_a_sign_in_does_not_look_up() {
    let mut faults = Vec::new();
    for source in sources("sign_in") {
        for mention in source.mentions() {
            let mut forbidden = FORBIDDEN_IN_SIGN_IN.iter();
            if forbidden.any(|path| is_at_or_below(&mention, path)) {
                faults.push(format!("{} mentions {mention}", source.name));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn files_have_a_heading_and_an_end() {
    let mut faults = Vec::new();
    for source in sources("") {
        if !source.text.starts_with("//!") {
            faults.push(format!(
                "{} does not begin with what is in and what is out",
                source.name
            ));
        }
        let lines = source
            .code
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        if lines > LONGEST_FILE {
            faults.push(format!("{} has {lines} lines of code", source.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_reader_of_imports_reads_them() {
    let source = Source::new(
        "proto/auth/flow.rs",
        "//! tokio\nuse std::{fs, time::{self, Instant}};\nuse super::super::sse as s;\n\
         use crate::{\n    proto::x::{Y, z::*},\n};\n/* rustls */ fn f<'a>(c: char) { /* a /* b */ */\n\
         let x = \"reqwest \\\" hyper\"; let y = '\"'; tokio::spawn(1); Instant::now(); }\n\
         let r = r#\"a \" tracing\"#;\n#[cfg(test)]\nmod tests { use std::net; }",
    );
    let mentions = source.mentions();
    for expected in [
        "std::fs",
        "std::time::self",
        "std::time::Instant",
        "std::time::Instant::now",
        "crate::proto::sse",
        "crate::proto::x::Y",
        "crate::proto::x::z::*",
        "tokio::spawn",
    ] {
        assert!(
            mentions.iter().any(|mention| mention == expected),
            "{expected} in {mentions:?}"
        );
    }
    for absent in ["reqwest", "hyper", "rustls", "tracing", "std::net"] {
        let found = mentions
            .iter()
            .any(|mention| is_at_or_below(mention, absent));
        assert!(!found, "{absent} in {mentions:?}");
    }
}

/// One file under `src`.
struct Source {
    name: String,
    text: String,
    /// Its path as a module, without the crate.
    module: Vec<String>,
    /// Its text without comments, strings and tests.
    code: String,
}

impl Source {
    fn new(name: &str, text: &str) -> Self {
        let stem = name.strip_suffix(".rs").unwrap_or(name);
        let stem = stem.strip_suffix("/mod").unwrap_or(stem);
        let module = stem.split('/').map(str::to_owned).collect();
        let code = bare(before_tests(text));
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            module,
            code,
        }
    }

    /// Every path it mentions, from the crate's root or from a crate's name; through what `use`
    /// brings into scope too.
    fn mentions(&self) -> Vec<String> {
        let mut imports = Vec::new();
        let mut code = self.code.as_str();
        let mut elsewhere = String::new();
        while let Some(at) = next_use(code) {
            elsewhere.push_str(&code[..at]);
            let end = code[at..].find(';').map_or(code.len(), |end| at + end);
            expand("", &code[at + "use ".len()..end], &mut imports);
            code = &code[end..];
        }
        elsewhere.push_str(code);
        let mut mentions: Vec<String> = imports.iter().map(|path| self.resolve(path)).collect();
        for path in paths(&elsewhere) {
            let (head, tail) = path.split_once("::").unwrap_or((&path, ""));
            let brought = imports
                .iter()
                .find(|import| import.rsplit("::").next() == Some(head));
            mentions.push(match brought {
                Some(import) if tail.is_empty() => self.resolve(import),
                Some(import) => self.resolve(&format!("{import}::{tail}")),
                None => self.resolve(&path),
            });
        }
        mentions
    }

    /// `super` and `self` as seen from this file, made to start at the crate.
    fn resolve(&self, path: &str) -> String {
        let mut at = self.module.clone();
        let mut path = path;
        let mut relative = false;
        loop {
            if let Some(rest) = path.strip_prefix("super::") {
                at.pop();
                path = rest;
            } else if let Some(rest) = path.strip_prefix("self::") {
                path = rest;
            } else {
                break;
            }
            relative = true;
        }
        if !relative {
            return path.to_owned();
        }
        at.insert(0, "crate".to_owned());
        at.push(path.to_owned());
        at.join("::")
    }
}

/// The files below a folder of `src`, without those that hold tests alone.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                found.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no sources below src/{folder}");
    found
}

fn before_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ")
        .map_or(text, |end| &text[..end])
}

fn is_at_or_below(mention: &str, path: &str) -> bool {
    mention
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Where the next `use` item begins.
fn next_use(code: &str) -> Option<usize> {
    let is_start = |at: &usize| {
        let before = code[..*at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
    };
    code.match_indices("use ").map(|(at, _)| at).find(is_start)
}

/// Unfolds `a::{b, c::{d, e as f}}` into its paths.
fn expand(prefix: &str, tree: &str, into: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        if !path.is_empty() {
            into.push(format!("{prefix}{path}"));
        }
        return;
    };
    let prefix = format!("{prefix}{}", tree[..open].trim());
    let inside = tree[open + 1..].strip_suffix('}').unwrap_or_default();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inside[start..at], into);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&prefix, &inside[start..], into);
}

/// The names and paths in a piece of code, macros' and methods' names among them.
fn paths(code: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let found = code.split(|letter: char| !is_part(letter));
    found
        .map(|path| path.trim_matches(':').to_owned())
        .filter(|path| !path.is_empty())
        .collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// Blanks out comments, strings and characters.
fn bare(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment_length(rest),
            'r' => raw_string_length(rest),
            '"' => string_length(rest),
            '\'' => character_length(rest),
            _ => 0,
        };
        let (kept, skipped) = if skipped == 0 {
            (first, first.len_utf8())
        } else {
            (' ', skipped)
        };
        code.push(kept);
        rest = &rest[skipped..];
    }
    code
}

/// The length of a block comment; they nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let step = if text.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            2
        } else if text.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `r"…"`, `r#"…"#` and so on; 0 for anything else.
fn raw_string_length(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let start = 1 + hashes;
    if !text[start..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[start + 1..]
        .find(&end)
        .map_or(text.len(), |at| start + 1 + at + end.len())
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let is_end = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length of a character literal; 0 for a lifetime.
fn character_length(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |at| at + 4),
        _ => letters
            .next()
            .filter(|(_, letter)| *letter == '\'')
            .map_or(0, |(at, _)| at + 1),
    }
}
