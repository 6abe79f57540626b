//! JSON messages one to a line, in place of an event stream.
//!
//! The specification knows no such answers, and yet servers give them as `application/json`: some
//! notifications, and then the response. In: telling such a body from an ordinary one, taking it
//! apart. Out: reading it (`edge`).

use bytes::Bytes;
use memchr::memchr;

use super::message::{Kind, Message};
use super::sse::Event;

/// Longest first line that is looked at, in bytes: notifications are short.
pub const FIRST_LINE: usize = 64 << 10;

/// Whether a body that begins like this holds messages one to a line: its first line is a
/// notification, which answers nothing, so more has to come. `None` while that cannot be told.
#[must_use]
pub fn begins(body: &Bytes) -> Option<bool> {
    let head = body.get(..FIRST_LINE).unwrap_or(body);
    let Some(end) = memchr(b'\n', head) else {
        return (body.len() >= FIRST_LINE).then_some(false);
    };
    let first = Message::parse(body.slice(..end));
    Some(first.is_ok_and(|first| first.kind() == Kind::Notification))
}

/// A line passed the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Takes such a body apart.
#[derive(Debug)]
pub struct Lines {
    line: Vec<u8>,
    limit: usize,
}

impl Lines {
    /// `limit`: longest line, in bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            limit,
        }
    }

    /// Takes the next piece and adds an event for every message that is complete.
    ///
    /// # Errors
    /// [`TooLong`] for a line above the limit; the events before it are there.
    pub fn feed(&mut self, mut piece: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            self.take(line)?;
            events.extend(self.finish());
            piece = rest.get(1..).unwrap_or_default();
        }
        self.take(piece)
    }

    /// What the last line holds, if it does not end.
    pub fn finish(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        (!line.trim_ascii().is_empty()).then(|| Event {
            name: None,
            data: line.into(),
            id: None,
            retry: None,
        })
    }

    fn take(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + part.len() > self.limit {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
    const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

    fn begins_with(text: &str) -> Option<bool> {
        begins(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn only_a_notification_in_the_first_line_means_more() {
        assert_eq!(begins_with(NOTE), None);
        assert_eq!(begins_with(&format!("{NOTE}\n")), Some(true));
        assert_eq!(begins_with(&format!("{NOTE}\r\n{RESULT}")), Some(true));
        for ordinary in [
            format!("{RESULT}\n"),
            format!("{RESULT}\n{NOTE}\n"),
            "{\n  \"jsonrpc\": \"2.0\"".to_owned(),
            "<html>\n".to_owned(),
            "\n".to_owned(),
            "x".repeat(FIRST_LINE),
        ] {
            assert_eq!(begins_with(&ordinary), Some(false), "{ordinary:.60}");
        }
    }

    #[test]
    fn g01_lines_come_apart_wherever_the_pieces_end() {
        let body = format!("{NOTE}\r\n\n{RESULT}\n{NOTE}");
        for size in [1, 2, 7, 64, body.len()] {
            let (mut lines, mut events) = (Lines::new(1000), Vec::new());
            for piece in body.as_bytes().chunks(size) {
                lines.feed(piece, &mut events).unwrap();
            }
            events.extend(lines.finish());
            let texts: Vec<_> = events.iter().map(|event| event.data.trim_ascii()).collect();
            assert_eq!(texts, [NOTE.as_bytes(), RESULT.as_bytes(), NOTE.as_bytes()]);
            assert_eq!(lines.finish(), None);
        }
        let (mut lines, mut events) = (Lines::new(8), Vec::new());
        assert_eq!(
            lines.feed(b"12345678\n123456789", &mut events),
            Err(TooLong)
        );
        assert_eq!(events.len(), 1);
    }
}
