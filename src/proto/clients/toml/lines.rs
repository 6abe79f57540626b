//! Lines of a TOML file: blocks that begin with a header, the blank lines between them, and lines
//! behind others.
//!
//! In: places and text. Out: what the lines mean.

use std::ops::Range;

use crate::proto::clients::splice::{Splice, line_start, newline, part, spliced};

/// A line that says something, or several, if its value goes over several.
#[derive(Clone)]
pub(super) struct Statement {
    /// From its key or bracket to the end of its value or bracket, in bytes.
    pub(super) span: Range<usize>,
    /// Whether it is the header of a table.
    pub(super) header: bool,
}

/// The lines of a file.
pub(super) struct Lines<'t> {
    body: &'t str,
    /// How they end.
    pub(super) newline: &'static str,
}

impl<'t> Lines<'t> {
    /// The lines of this text.
    pub(super) fn new(body: &'t str) -> Self {
        Self {
            body,
            newline: newline(body),
        }
    }

    /// The text with a block at its end, behind a blank line; its last line ends as the last line
    /// did.
    pub(super) fn with_block(&self, block: &str) -> String {
        let end = self.newline;
        let (gap, tail) = match self.body {
            "" => (String::new(), end),
            body if body.ends_with('\n') => (end.to_owned(), end),
            _ => (end.repeat(2), ""),
        };
        [self.body, &gap, block, tail].concat()
    }

    /// The text without these statements, and without one blank line for every block that goes
    /// with its header. Comments between the lines of a block go with it.
    pub(super) fn without(&self, mut statements: Vec<Statement>) -> String {
        statements.sort_by_key(|statement| statement.span.start);
        let mut blocks: Vec<(Range<usize>, bool)> = Vec::new();
        for statement in statements {
            let lines = self.whole(&statement.span);
            match blocks.last_mut() {
                Some((block, header))
                    if self.is_inside(block.end, lines.start, *header && !statement.header) =>
                {
                    block.end = lines.end;
                }
                _ => blocks.push((lines, statement.header)),
            }
        }
        let cut = |(block, header): (Range<usize>, bool)| {
            let block = if header { self.with_gap(block) } else { block };
            Splice::new(block.start, block.end, "")
        };
        spliced(self.body, blocks.into_iter().map(cut).collect())
    }

    /// Takes the lines of a statement away.
    pub(super) fn cut(&self, span: &Range<usize>) -> Splice {
        let lines = self.whole(span);
        Splice::new(lines.start, lines.end, "")
    }

    /// Puts lines behind a statement, each with `lead` before it.
    pub(super) fn behind(&self, span: &Range<usize>, lead: &str, texts: &[String]) -> Splice {
        let at = self.whole(span).end;
        let open = at > 0 && !part(self.body, 0, at).ends_with('\n');
        let lines: Vec<String> = texts.iter().map(|text| [lead, text].concat()).collect();
        let text = lines.join(self.newline);
        let with = if open {
            [self.newline, &text].concat()
        } else {
            [&text, self.newline].concat()
        };
        Splice::new(at, at, with)
    }

    /// What stands on the line before a key: indentation, and the keys that it belongs to.
    pub(super) fn lead(&self, at: usize) -> &'t str {
        part(self.body, line_start(self.body, at), at)
    }

    /// From the beginning of the first line of a span to behind the end of its last.
    fn whole(&self, span: &Range<usize>) -> Range<usize> {
        let rest = part(self.body, span.end, self.body.len());
        let end = rest
            .find('\n')
            .map_or(self.body.len(), |found| span.end + found + 1);
        line_start(self.body, span.start)..end
    }

    /// Whether what stands between two statements goes with them: blank lines, and between the
    /// members of one table comments.
    fn is_inside(&self, start: usize, end: usize, one_table: bool) -> bool {
        let mut lines = part(self.body, start, end).lines();
        lines.all(|line| {
            let line = line.trim();
            line.is_empty() || (one_table && line.starts_with('#'))
        })
    }

    /// A block with the blank line before it; at the beginning of the file, with the one behind it.
    /// At the end of a file whose last line has no end, with the end of the line before.
    fn with_gap(&self, block: Range<usize>) -> Range<usize> {
        let Range { start, end } = block;
        let before = part(self.body, 0, start);
        let Some(rest) = strip_newline(before) else {
            let after = part(self.body, end, self.body.len());
            let blank = ["\r\n", "\n"]
                .into_iter()
                .find(|blank| after.starts_with(blank));
            return start..end + blank.map_or(0, str::len);
        };
        let lead = if rest.is_empty() || rest.ends_with('\n') {
            rest
        } else {
            before
        };
        let open = !part(self.body, start, end).ends_with('\n');
        let lead = if open {
            strip_newline(lead).unwrap_or(lead)
        } else {
            lead
        };
        lead.len()..end
    }
}

fn strip_newline(text: &str) -> Option<&str> {
    let text = text.strip_suffix('\n')?;
    Some(text.strip_suffix('\r').unwrap_or(text))
}
