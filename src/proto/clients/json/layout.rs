//! Where members of a JSON object begin and end, with the commas, comments and white space between
//! them, and how new ones are written so that they look like the others.
//!
//! In: places and text. Out: what the members mean.

use jsonc_parser::ast::{Object, ObjectProp};
use jsonc_parser::common::Ranged;

use crate::proto::clients::splice::{Splice, indent, line_start, newline, part};

/// Indentation where the file shows none.
const UNIT: &str = "  ";

/// A value that is written.
pub(super) enum Text {
    /// A string.
    String(String),
    /// An array of strings.
    List(Vec<String>),
    /// An object, in this order.
    Object(Vec<Member>),
}

/// Name and value of a member that is written.
pub(super) type Member = (String, Text);

/// How a file is laid out.
pub(super) struct Layout<'t> {
    body: &'t str,
    newline: &'static str,
    /// One step of indentation at the top.
    unit: &'t str,
    /// Whether the document stands on one line.
    one_line: bool,
    /// What stands between a name and its value.
    colon: &'static str,
}

/// Where a value is written.
#[derive(Clone, Copy)]
enum Place<'p> {
    /// On the line where it is.
    Line,
    /// On lines of its own, in a member with this indentation and step.
    Lines { indent: &'p str, unit: &'p str },
}

/// What stands between two members, or behind the last one.
struct Gap {
    /// The comma, if there is one.
    comma: Option<usize>,
    /// Behind the comma, or behind the member where there is none, and behind the comments that
    /// follow on the same line.
    end_of_line: usize,
    /// Whether the last of these comments goes on to the end of its line.
    line_comment: bool,
}

impl<'t> Layout<'t> {
    /// The layout of a file that holds this object.
    pub(super) fn new(body: &'t str, root: Option<&Object<'_>>) -> Self {
        let first = root.and_then(|root| root.properties.first());
        let compact = first.is_some_and(|first| {
            part(body, first.name.end(), first.value.start()).trim_start() == ":"
        });
        Self {
            body,
            newline: newline(body),
            unit: root
                .and_then(|root| step(body, root))
                .filter(|unit| !unit.is_empty())
                .unwrap_or(UNIT),
            one_line: first.is_some() && !body.trim().contains('\n'),
            colon: if compact { ":" } else { ": " },
        }
    }

    /// A document that holds one member, behind the white space and comments that are there.
    pub(super) fn document(&self, member: Member) -> String {
        let gap = if self.body.is_empty() || self.body.ends_with('\n') {
            ""
        } else {
            self.newline
        };
        let place = Place::Lines {
            indent: "",
            unit: self.unit,
        };
        let object = self.written(&Text::Object(vec![member]), place);
        [self.body, gap, &object, self.newline].concat()
    }

    /// Puts a value in the place of a member's.
    pub(super) fn set(&self, property: &ObjectProp<'_>, text: &Text) -> Splice {
        let (start, end) = (property.value.start(), property.value.end());
        let old = part(self.body, start, end);
        let outer = indent(self.body, end.saturating_sub(1));
        let first = old
            .get(1..)
            .map_or(start, |rest| end - rest.trim_start().len());
        let unit = indent(self.body, first)
            .strip_prefix(outer)
            .filter(|unit| !unit.is_empty())
            .unwrap_or(self.unit);
        let place = if old.contains('\n') {
            Place::Lines {
                indent: outer,
                unit,
            }
        } else {
            Place::Line
        };
        let with = match text {
            Text::List(items) if !items.is_empty() => self.list(items, place),
            Text::List(_) | Text::String(_) | Text::Object(_) => self.written(text, place),
        };
        Splice::new(start, end, with)
    }

    /// Adds members behind the others.
    pub(super) fn append(&self, object: &Object<'_>, members: &[Member]) -> Vec<Splice> {
        match object.properties.last() {
            None => vec![self.fill(object, members)],
            Some(last) => self.append_behind(object, last, members),
        }
    }

    fn append_behind(
        &self,
        object: &Object<'_>,
        last: &ObjectProp<'_>,
        members: &[Member],
    ) -> Vec<Splice> {
        let gap = self.gap(last.end());
        let own_line = self.own_line(last);
        let inner;
        let (separator, place) = if own_line.is_some() || gap.line_comment {
            let outer = indent(self.body, object.start());
            let unit = step(self.body, object).unwrap_or(self.unit);
            inner = own_line.map_or_else(|| [outer, unit].concat(), str::to_owned);
            let unit = last
                .value
                .as_object()
                .and_then(|sibling| step(self.body, sibling))
                .unwrap_or(unit);
            let place = Place::Lines {
                indent: &inner,
                unit,
            };
            (format!("{}{inner}", self.newline), place)
        } else {
            let space = match object.properties.iter().rev().nth(1) {
                Some(before) => part(self.body, self.gap(before.end()).end_of_line, last.start()),
                None if self.colon == ":" => "",
                None => " ",
            };
            let space = if space.trim().is_empty() { space } else { " " };
            (space.to_owned(), Place::Line)
        };
        let mut with = String::new();
        for member in members {
            if !with.is_empty() {
                with.push(',');
            }
            with.push_str(&separator);
            with.push_str(&self.member(member, place));
        }
        match gap.comma {
            Some(_) => {
                with.push(',');
                vec![Splice::new(gap.end_of_line, gap.end_of_line, with)]
            }
            None if gap.end_of_line == last.end() => {
                vec![Splice::new(last.end(), last.end(), format!(",{with}"))]
            }
            None => vec![
                Splice::new(last.end(), last.end(), ","),
                Splice::new(gap.end_of_line, gap.end_of_line, with),
            ],
        }
    }

    /// Writes members into an object that has none.
    fn fill(&self, object: &Object<'_>, members: &[Member]) -> Splice {
        let (start, end) = (object.start() + 1, object.end() - 1);
        let comments = self.comments(start, end);
        let at = comments.last().map_or(start, |comment| comment.end);
        let rest = part(self.body, at, end);
        let outer = indent(self.body, object.start());
        let inner = [outer, self.unit].concat();
        let lines = if comments.is_empty() {
            !self.one_line
        } else {
            rest.contains('\n')
        };
        let place = Place::Lines {
            indent: &inner,
            unit: self.unit,
        };
        let text: Vec<String> = members
            .iter()
            .map(|member| self.member(member, if lines { place } else { Place::Line }))
            .collect();
        if !lines {
            let space = if comments.is_empty() { "" } else { " " };
            let with = format!("{space}{}", text.join(", "));
            let replaced = if comments.is_empty() { end } else { at };
            return Splice::new(at, replaced, with);
        }
        let separator = format!("{}{inner}", self.newline);
        let text = text.join(&format!(",{separator}"));
        if comments.is_empty() {
            Splice::new(at, end, format!("{separator}{text}{}{outer}", self.newline))
        } else {
            Splice::new(at, at, format!("{separator}{text}"))
        }
    }

    /// Takes every member of that name out.
    pub(super) fn remove(&self, object: &Object<'_>, name: &str) -> Vec<Splice> {
        let goes = |property: &&ObjectProp<'_>| property.name.as_str() == name;
        let kept = object.properties.iter().rfind(|property| !goes(property));
        let inside = (object.start() + 1, object.end() - 1);
        let mut splices = Vec::new();
        let mut comments = false;
        let mut before = inside.0;
        let mut behind_kept = Vec::new();
        for property in &object.properties {
            let after = self.gap(property.end());
            let lead = self.comments(before, property.start());
            comments |= !lead.is_empty();
            if goes(&property) {
                let ends_line = lead.last().is_some_and(|comment| comment.line);
                splices.extend(self.cut(property, &after, ends_line));
            } else if kept.is_some_and(|kept| kept.start() == property.start()) {
                behind_kept.extend(after.comma);
            }
            before = after.comma.map_or(property.end(), |comma| comma + 1);
        }
        comments |= !self.comments(before, inside.1).is_empty();
        let last_goes = object.properties.last().filter(goes);
        if let Some(last) = last_goes
            && self.gap(last.end()).comma.is_none()
        {
            let comma = |at: usize| Splice::new(at, at + 1, "");
            splices.extend(behind_kept.into_iter().map(comma));
        }
        if kept.is_none() && !comments {
            return vec![Splice::new(inside.0, inside.1, "")];
        }
        splices
    }

    /// Takes one member out, with its comma. What follows on the same line keeps the white space
    /// before the member; otherwise that goes too.
    fn cut(&self, property: &ObjectProp<'_>, gap: &Gap, ends_line: bool) -> Vec<Splice> {
        let (start, end) = (property.start(), property.end());
        let direct = gap
            .comma
            .filter(|comma| part(self.body, end, *comma).trim().is_empty());
        let behind = direct.map_or(end, |comma| comma + 1);
        let rest = part(self.body, behind, self.body.len());
        let next = behind + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
        let follower = part(self.body, next, self.body.len()).chars().next();
        let closes = follower == Some('}');
        let mut splices = Vec::new();
        if follower.is_some_and(|c| !c.is_whitespace() && !closes) {
            splices.push(Splice::new(start, next, ""));
        } else if closes && ends_line {
            splices.push(Splice::new(start, behind, ""));
        } else {
            let lead = part(self.body, 0, start).trim_end().len();
            splices.push(Splice::new(lead, behind, ""));
        }
        if direct.is_none()
            && let Some(comma) = gap.comma
        {
            splices.push(Splice::new(comma, comma + 1, ""));
        }
        splices
    }

    /// The indentation of a member that begins its line.
    fn own_line(&self, property: &ObjectProp<'_>) -> Option<&'t str> {
        own_line(self.body, property)
    }

    /// What stands behind a member that ends at `at`.
    fn gap(&self, at: usize) -> Gap {
        let mut trivia = Trivia::new(self.body, at);
        while trivia.next().is_some() {}
        let comma = self
            .body
            .get(trivia.at..)
            .filter(|rest| rest.starts_with(','));
        let comma = comma.map(|_| trivia.at);
        let start = comma.map_or(at, |comma| comma + 1);
        let mut gap = Gap {
            comma,
            end_of_line: start,
            line_comment: false,
        };
        for comment in Trivia::new(self.body, start) {
            if part(self.body, gap.end_of_line, comment.start).contains(['\n', '\r']) {
                break;
            }
            gap.end_of_line = comment.end;
            gap.line_comment = comment.line;
        }
        gap
    }

    /// The comments that stand in a part of the text that holds nothing else.
    fn comments(&self, start: usize, end: usize) -> Vec<Comment> {
        Trivia::new(part(self.body, 0, end), start).collect()
    }

    fn member(&self, (name, text): &Member, place: Place<'_>) -> String {
        [&quoted(name), self.colon, &self.written(text, place)].concat()
    }

    fn written(&self, text: &Text, place: Place<'_>) -> String {
        match text {
            Text::String(text) => quoted(text),
            Text::List(items) => self.list(items, Place::Line),
            Text::Object(members) => match place {
                _ if members.is_empty() => "{}".to_owned(),
                Place::Line => {
                    let members = members.iter().map(|member| self.member(member, place));
                    let separator = if self.colon == ":" { "," } else { ", " };
                    format!("{{{}}}", members.collect::<Vec<_>>().join(separator))
                }
                Place::Lines { indent, unit } => {
                    let inner = [indent, unit].concat();
                    let place = Place::Lines {
                        indent: &inner,
                        unit,
                    };
                    let lines = members.iter().map(|member| self.member(member, place));
                    self.lines('{', lines, '}', &inner, indent)
                }
            },
        }
    }

    fn list(&self, items: &[String], place: Place<'_>) -> String {
        let items = items.iter().map(|item| quoted(item));
        match place {
            Place::Line => {
                let separator = if self.colon == ":" { "," } else { ", " };
                format!("[{}]", items.collect::<Vec<_>>().join(separator))
            }
            Place::Lines { indent, unit } => {
                self.lines('[', items, ']', &[indent, unit].concat(), indent)
            }
        }
    }

    fn lines(
        &self,
        open: char,
        lines: impl Iterator<Item = String>,
        close: char,
        inner: &str,
        outer: &str,
    ) -> String {
        let lines: Vec<String> = lines.collect();
        let separator = format!(",{}{inner}", self.newline);
        let newline = self.newline;
        format!(
            "{open}{newline}{inner}{}{newline}{outer}{close}",
            lines.join(&separator)
        )
    }
}

/// A comment.
struct Comment {
    start: usize,
    /// Behind it; behind a comment that goes on to the end of its line, before the line's end.
    end: usize,
    /// Whether it goes on to the end of its line.
    line: bool,
}

/// The comments from a position on, up to what is neither comment nor white space.
struct Trivia<'t> {
    body: &'t str,
    at: usize,
}

impl<'t> Trivia<'t> {
    fn new(body: &'t str, at: usize) -> Self {
        Self { body, at }
    }
}

impl Iterator for Trivia<'_> {
    type Item = Comment;

    fn next(&mut self) -> Option<Comment> {
        let rest = part(self.body, self.at, self.body.len());
        let comment = rest.trim_start();
        self.at += rest.len() - comment.len();
        let line = comment.starts_with("//");
        let length = if line {
            comment.find(['\n', '\r']).unwrap_or(comment.len())
        } else if comment.starts_with("/*") {
            comment.find("*/").map_or(comment.len(), |end| end + 2)
        } else {
            return None;
        };
        let start = self.at;
        self.at += length;
        Some(Comment {
            start,
            end: self.at,
            line,
        })
    }
}

/// The indentation of a member that begins its line.
fn own_line<'t>(body: &'t str, property: &ObjectProp<'_>) -> Option<&'t str> {
    let lead = part(body, line_start(body, property.start()), property.start());
    let blank = lead.trim_matches([' ', '\t']).is_empty();
    (blank && line_start(body, property.start()) > 0).then_some(lead)
}

/// How much deeper an object's members are indented than the object.
fn step<'t>(body: &'t str, object: &Object<'_>) -> Option<&'t str> {
    let inner = own_line(body, object.properties.first()?)?;
    inner
        .strip_prefix(indent(body, object.start()))
        .filter(|unit| !unit.is_empty())
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
