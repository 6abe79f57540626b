//! Pieces of a text in the place of others, and where lines and characters begin.
//!
//! In: positions in bytes. Out: what the text means (`json`, `toml`).

/// A piece of a text that another piece takes the place of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Splice {
    /// First byte.
    pub(super) start: usize,
    /// Behind the last byte.
    pub(super) end: usize,
    /// What comes there.
    pub(super) with: String,
}

impl Splice {
    /// Puts `with` in the place of what stands from `start` to `end`.
    pub(super) fn new(start: usize, end: usize, with: impl Into<String>) -> Self {
        Self {
            start,
            end,
            with: with.into(),
        }
    }
}

/// The text with every piece in its place. Pieces overlap only where they take away.
pub(super) fn spliced(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for splice in &splices {
        out.push_str(part(text, at, splice.start));
        out.push_str(&splice.with);
        at = at.max(splice.end);
    }
    out.push_str(part(text, at, text.len()));
    out
}

/// What stands from `start` to `end`; nothing where these are no positions of the text.
pub(super) fn part(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}

/// How the text ends its lines: as its first line does.
pub(super) fn newline(text: &str) -> &'static str {
    match text.split_once('\n') {
        Some((line, _)) if line.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The spaces and tabs at the beginning of the line in which `at` is.
pub(super) fn indent(text: &str, at: usize) -> &str {
    let line = part(text, line_start(text, at), at);
    let rest = line.trim_start_matches([' ', '\t']);
    part(line, 0, line.len() - rest.len())
}

/// Where the line begins in which `at` is.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    part(text, 0, at)
        .rfind(['\n', '\r'])
        .map_or(0, |found| found + 1)
}

/// The next beginning of a character at `at` or before it.
pub(super) fn floor(text: &str, at: usize) -> usize {
    let mut candidates = (0..=at.min(text.len())).rev();
    candidates
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The next beginning of a character at `at` or behind it.
pub(super) fn ceil(text: &str, at: usize) -> usize {
    let mut candidates = at..text.len();
    candidates
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}
