//! Server-sent events, from bytes to [`Event`]s (WHATWG HTML "Server-sent events").
//!
//! In: line ends, fields, the byte-order mark, limits; any chunking gives the same events. Out:
//! what an event means, reconnecting, which id was last (the caller keeps it).

use std::fmt;

use bytes::Bytes;
use memchr::memchr2;

/// Longest value of `id:`, `event:` and `retry:`, in bytes; a longer one is ignored.
pub const VALUE_LIMIT: usize = 1 << 10;

/// One event, or the `id:` and `retry:` of a block without data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `event:`; `None` if absent, empty or `message`, which mean the same.
    pub name: Option<Box<str>>,
    /// The `data:` lines joined by `\n`, as sent: not necessarily UTF-8.
    pub data: Bytes,
    /// `id:`, fit for a `Last-Event-ID` header. An empty one clears the last event id.
    pub id: Option<Box<str>>,
    /// `retry:` in milliseconds.
    pub retry: Option<u64>,
}

/// Prints how long the data is, not the data.
impl fmt::Debug for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Event")
            .field("name", &self.name)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("id", &self.id)
            .field("retry", &self.retry)
            .finish()
    }
}

/// The stream passed the decoder's limit. The stream is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event or a line of the event stream is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Turns the chunks of one stream into events, in time linear to the bytes fed.
///
/// The bytes of a `data:` line are copied once, into the buffer that the event hands on.
pub struct Decoder {
    limit: usize,
    start: Start,
    /// The last chunk ended in `\r`; a `\n` that comes next belongs to it.
    skip_newline: bool,
    line: Line,
    /// Bytes of the unfinished line, for [`Line::Ignored`].
    ignored: usize,
    /// The unfinished line's field name, or its value if it is short-lived.
    scratch: Vec<u8>,
    /// Whether the event has a `data:` line; the buffer alone cannot tell an empty one.
    has_data: bool,
    data: Vec<u8>,
    name: Option<Box<str>>,
    id: Option<Box<str>>,
    retry: Option<u64>,
}

impl Decoder {
    /// A decoder at the start of a stream; `limit` in bytes, for one event's data and for any line.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            start: Start::Matched(0),
            skip_newline: false,
            line: Line::Name,
            ignored: 0,
            scratch: Vec::new(),
            has_data: false,
            data: Vec::new(),
            name: None,
            id: None,
            retry: None,
        }
    }

    /// Decodes the next bytes of the stream and adds the finished events to `out`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when an event or a line passes the limit. Events finished before that are in
    /// `out`; the unfinished one is freed.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<Event>) -> Result<(), TooLong> {
        let fed = self.decode(chunk, out);
        if fed.is_err() {
            self.has_data = false;
            self.data = Vec::new();
        }
        fed
    }

    /// The event that the stream's end left unfinished, if there is one.
    ///
    /// The standard discards it. Servers exist that forget the last blank line, so a caller may
    /// use it where its data is one whole JSON text; otherwise its id must not be used either.
    pub fn finish(&mut self) -> Option<Event> {
        self.line = Line::Name;
        self.scratch.clear();
        self.take()
    }

    fn decode(&mut self, chunk: &[u8], out: &mut Vec<Event>) -> Result<(), TooLong> {
        let mut rest = self.skip_mark(chunk)?;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.skip_newline) && first == b'\n' {
                rest = rest.split_at(1).1;
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                return self.extend_line(rest);
            };
            let (line, tail) = rest.split_at(end);
            self.finish_line(line, out)?;
            rest = match tail {
                [b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..] => tail,
                [_, tail @ ..] => {
                    self.skip_newline = tail.is_empty();
                    tail
                }
                [] => tail,
            };
        }
        Ok(())
    }

    /// Drops a byte-order mark at the start of the stream, also one that comes in pieces.
    fn skip_mark<'a>(&mut self, mut chunk: &'a [u8]) -> Result<&'a [u8], TooLong> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        while let Start::Matched(count) = self.start {
            let (seen, wanted) = MARK.split_at(count.min(MARK.len()));
            match (wanted, chunk) {
                ([], _) => self.start = Start::Over,
                (_, []) => break,
                ([want, ..], [byte, tail @ ..]) if want == byte => {
                    self.start = Start::Matched(count + 1);
                    chunk = tail;
                }
                _ => {
                    self.start = Start::Over;
                    self.extend_line(seen)?;
                }
            }
        }
        Ok(chunk)
    }

    /// Takes the last bytes of a line; its end was seen.
    fn finish_line(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLong> {
        if self.line == Line::Name && self.scratch.is_empty() {
            if bytes.is_empty() {
                out.extend(self.take());
                return Ok(());
            }
            if let Some(value) = bytes.strip_prefix(b"data:") {
                self.begin_data()?;
                return self.extend_data(value.strip_prefix(b" ").unwrap_or(value));
            }
        }
        self.extend_line(bytes)?;
        if self.line == Line::Name {
            self.name_field()?;
        }
        match self.line {
            Line::Value(field) | Line::BeforeValue(field) => self.finish_value(field),
            Line::Name | Line::Ignored => {}
        }
        self.line = Line::Name;
        self.scratch.clear();
        Ok(())
    }

    /// Takes bytes of a line whose end was not seen yet.
    fn extend_line(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while self.line == Line::Name {
            let [byte, tail @ ..] = bytes else {
                return Ok(());
            };
            bytes = tail;
            match byte {
                b':' => self.name_field()?,
                _ if self.scratch.len() == LONGEST_NAME => {
                    self.line = Line::Ignored;
                    self.ignored = LONGEST_NAME + 1;
                }
                _ => self.scratch.push(*byte),
            }
        }
        if let Line::BeforeValue(field) = self.line {
            let [byte, tail @ ..] = bytes else {
                return Ok(());
            };
            self.line = Line::Value(field);
            if *byte == b' ' {
                bytes = tail;
            }
        }
        match self.line {
            Line::Value(Field::Data) => self.extend_data(bytes),
            Line::Value(_) => {
                if self.scratch.len() + bytes.len() > VALUE_LIMIT {
                    self.line = Line::Ignored;
                    self.ignored = self.scratch.len() + bytes.len();
                    return self.check(self.ignored);
                }
                self.scratch.extend_from_slice(bytes);
                Ok(())
            }
            Line::Name | Line::BeforeValue(_) | Line::Ignored => {
                self.ignored = self.ignored.saturating_add(bytes.len());
                self.check(self.ignored)
            }
        }
    }

    /// The field's name is complete: decides what becomes of its value.
    fn name_field(&mut self) -> Result<(), TooLong> {
        self.line = match self.scratch.as_slice() {
            b"data" => Line::BeforeValue(Field::Data),
            b"event" => Line::BeforeValue(Field::Event),
            b"id" => Line::BeforeValue(Field::Id),
            b"retry" => Line::BeforeValue(Field::Retry),
            _ => Line::Ignored,
        };
        self.ignored = self.scratch.len() + 1;
        self.scratch.clear();
        if self.line == Line::BeforeValue(Field::Data) {
            self.begin_data()
        } else {
            Ok(())
        }
    }

    fn finish_value(&mut self, field: Field) {
        let value = self.scratch.as_slice();
        match field {
            Field::Data => {}
            Field::Event => {
                let named = !matches!(value, b"" | b"message");
                self.name = named.then(|| String::from_utf8_lossy(value).into());
            }
            Field::Id => {
                if let Some(id) = header_text(value) {
                    self.id = Some(id.into());
                }
            }
            Field::Retry => {
                if let Some(retry) = milliseconds(value) {
                    self.retry = Some(retry);
                }
            }
        }
    }

    fn begin_data(&mut self) -> Result<(), TooLong> {
        if std::mem::replace(&mut self.has_data, true) {
            return self.extend_data(b"\n");
        }
        Ok(())
    }

    fn extend_data(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.check(self.data.len().saturating_add(bytes.len()))?;
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn check(&self, length: usize) -> Result<(), TooLong> {
        if length > self.limit {
            Err(TooLong { limit: self.limit })
        } else {
            Ok(())
        }
    }

    /// The event so far, if there is anything to tell; the next one starts empty.
    fn take(&mut self) -> Option<Event> {
        let name = self.name.take();
        let has_data = std::mem::take(&mut self.has_data);
        if !has_data && self.id.is_none() && self.retry.is_none() {
            return None;
        }
        Some(Event {
            name,
            data: Bytes::from(std::mem::take(&mut self.data)),
            id: self.id.take(),
            retry: self.retry.take(),
        })
    }
}

/// Prints how much is pending, not what.
impl fmt::Debug for Decoder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Decoder")
            .field("limit", &self.limit)
            .field("line", &self.line)
            .field("pending", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// Whether a byte-order mark may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// This many bytes of it came.
    Matched(usize),
    Over,
}

/// Where in the unfinished line the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// In the field's name, or at the line's start.
    Name,
    /// After the colon: one space may follow that does not count.
    BeforeValue(Field),
    Value(Field),
    /// A comment, an unknown field or a value that is too long; only its length counts.
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Id,
    Retry,
}

/// Length of `event` and `retry`, the longest names that mean something.
const LONGEST_NAME: usize = 5;

/// The id as text if a header can carry it unchanged: visible ASCII, spaces inside only.
fn header_text(value: &[u8]) -> Option<&str> {
    let visible = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if !visible || value.starts_with(b" ") || value.ends_with(b" ") {
        return None;
    }
    std::str::from_utf8(value).ok()
}

/// ASCII digits only; more than fit are the largest number.
fn milliseconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        byte.is_ascii_digit().then(|| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        })
    })
}

#[cfg(test)]
mod tests;
