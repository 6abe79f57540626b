//! Server-sent events, from bytes to [`Event`]s (WHATWG HTML "Server-sent events").
//!
//! In: line ends, fields, the byte-order mark, limits; any chunking gives the same events. Out:
//! what an event means, reconnecting, which id was last (the caller keeps it).

use std::fmt;

use bytes::Bytes;
use memchr::memchr2;

/// Default limit of one event's data, and of any single line, in bytes.
pub const EVENT_LIMIT: usize = 64 << 20;

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
mod tests {
    use std::convert::Infallible;

    use eventsource_stream::EventStream;
    use futures_util::{FutureExt, StreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] = b"\xef\xbb\xbf: hello\r\n\
        event: endpoint\rdata: /rpc?sid=1\r\r\
        id: e1\r\nretry: 700\r\ndata\r\n\r\n\
        data: {\"a\":\"\xc3\xa4\xe2\x82\xac\",\ndata:\"b\":1}\nunknown: x\nid: e2\n\n\
        event: x\n\n\
        eventual: y\ndatax: z\nretry: 12a\nid: n\0l\n\n\
        :\n\nretry:9\n\nid:\n\n\
        data:  two spaces\ndata:\ndata:\xef\xbb\xbf\n\n\
        data: cut";

    fn text(data: &'static str) -> Event {
        Event {
            data: Bytes::from_static(data.as_bytes()),
            ..Event::default()
        }
    }

    fn sample_events() -> Vec<Event> {
        vec![
            Event {
                name: Some("endpoint".into()),
                ..text("/rpc?sid=1")
            },
            Event {
                id: Some("e1".into()),
                retry: Some(700),
                ..text("")
            },
            Event {
                id: Some("e2".into()),
                ..text("{\"a\":\"ä€\",\n\"b\":1}")
            },
            Event {
                retry: Some(9),
                ..text("")
            },
            Event {
                id: Some("".into()),
                ..text("")
            },
            text(" two spaces\n\n\u{feff}"),
            text("cut"),
        ]
    }

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut decoder = Decoder::new(EVENT_LIMIT);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.feed(chunk, &mut events).unwrap();
        }
        events.extend(decoder.finish());
        events
    }

    /// What `eventsource-stream` makes of the same bytes: name and data of each event.
    fn second_opinion(input: &[u8]) -> Vec<(String, String)> {
        let bytes = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(input))]);
        let events = EventStream::new(bytes)
            .collect::<Vec<_>>()
            .now_or_never()
            .unwrap();
        events
            .into_iter()
            .map(Result::unwrap)
            .map(|event| (event.event, event.data))
            .collect()
    }

    #[test]
    fn sample_in_one_piece() {
        assert_eq!(decode([SAMPLE]), sample_events());
    }

    #[test]
    fn sample_cut_at_every_pair_of_places() {
        for first in 0..=SAMPLE.len() {
            for second in first..=SAMPLE.len() {
                let (head, tail) = SAMPLE.split_at(second);
                let (head, middle) = head.split_at(first);
                assert_eq!(
                    decode([head, middle, tail]),
                    sample_events(),
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn sample_byte_by_byte() {
        assert_eq!(decode(SAMPLE.chunks(1)), sample_events());
    }

    #[test]
    fn line_ends_are_one_each() {
        for input in [
            "data:a\n\ndata:b\n\n",
            "data:a\r\rdata:b\r\r",
            "data:a\r\n\r\ndata:b\r\n\r\n",
        ] {
            assert_eq!(decode([input.as_bytes()]), [text("a"), text("b")]);
            assert_eq!(decode(input.as_bytes().chunks(1)), [text("a"), text("b")]);
        }
        // "\r\n" is one line end, so that no blank line is here.
        assert_eq!(
            decode(["data:a\r".as_bytes(), b"\ndata:b\r", b"\n\r", b"\n"]),
            [text("a\nb")]
        );
    }

    #[test]
    fn message_is_the_default_name() {
        for input in [
            "event: message\ndata: a\n\n",
            "event:\ndata: a\n\n",
            "event: x\nevent\ndata: a\n\n",
        ] {
            assert_eq!(decode([input.as_bytes()]), [text("a")]);
        }
    }

    #[test]
    fn a_mark_counts_only_at_the_start() {
        assert_eq!(
            decode(["\u{feff}data: a\n\n\u{feff}data: b\n\n".as_bytes()]),
            [text("a")]
        );
        assert_eq!(decode([b"\xef\xbbdata: a\n\n".as_slice()]), []);
        assert_eq!(
            decode([b"\xef".as_slice(), b"\n", b"data: a\n\n"]),
            [text("a")]
        );
    }

    #[test]
    fn the_unfinished_event_is_handed_over() {
        let mut decoder = Decoder::new(EVENT_LIMIT);
        let mut events = Vec::new();
        decoder
            .feed(b"event: x\ndata: {}\nid: 12", &mut events)
            .unwrap();
        assert_eq!(events, []);
        // "12" may be the start of a longer id.
        assert_eq!(
            decoder.finish(),
            Some(Event {
                name: Some("x".into()),
                ..text("{}")
            })
        );
        assert_eq!(decoder.finish(), None);
        assert_eq!(decode([b"data: {}\n".as_slice()]), [text("{}")]);
        assert_eq!(decode([b": keep-alive\n".as_slice()]), []);
    }

    #[test]
    fn g17_ids_that_no_header_can_carry_are_ignored() {
        let long = format!("id: {}\ndata: a\n\n", "x".repeat(VALUE_LIMIT + 1));
        let cases = [
            "id: a\0b\ndata: a\n\n",
            "id: ä\ndata: a\n\n",
            "id: a\u{1}\ndata: a\n\n",
            "id: a \ndata: a\n\n",
        ];
        for input in cases.into_iter().chain([long.as_str()]) {
            assert_eq!(decode([input.as_bytes()]), [text("a")], "{input}");
            assert_eq!(decode(input.as_bytes().chunks(7)), [text("a")], "{input}");
        }
        let fits = format!("id: {}\n\n", "x".repeat(VALUE_LIMIT));
        assert_eq!(
            decode([fits.as_bytes()])[0].id.as_deref().map(str::len),
            Some(VALUE_LIMIT)
        );
        // An ignored id leaves the valid one before it.
        assert_eq!(
            decode([b"id: ok\nid: \0\n\n".as_slice()])[0].id.as_deref(),
            Some("ok")
        );
    }

    #[test]
    fn g17_retry_is_digits_and_saturates() {
        let retry =
            |value: &str| decode([format!("retry: {value}\ndata: a\n\n").as_bytes()])[0].retry;
        assert_eq!(retry("0"), Some(0));
        assert_eq!(retry("1500"), Some(1500));
        assert_eq!(retry("99999999999999999999999999"), Some(u64::MAX));
        for bad in ["", "1e18", "-1", "+1", " 1", "1.5", "١"] {
            assert_eq!(retry(bad), None, "{bad}");
        }
    }

    #[test]
    fn g02_endless_lines_end_at_the_limit_with_bounded_memory() {
        const LIMIT: usize = 1 << 16;
        let chunk = [b'x'; 1000];
        for start in [
            "",
            ":",
            "data: ",
            "data",
            "event: ",
            "id:",
            "retry: ",
            "unknown: ",
        ] {
            let mut decoder = Decoder::new(LIMIT);
            let mut events = Vec::new();
            decoder.feed(start.as_bytes(), &mut events).unwrap();
            let mut fed = 0;
            let error = loop {
                match decoder.feed(&chunk, &mut events) {
                    Ok(()) => fed += chunk.len(),
                    Err(error) => break error,
                }
                assert!(fed <= LIMIT, "{start}");
                assert!(decoder.data.capacity() <= 2 * LIMIT, "{start}");
                assert!(decoder.scratch.capacity() <= 2 * VALUE_LIMIT, "{start}");
            };
            assert_eq!(error, TooLong { limit: LIMIT });
            assert!(fed + 2 * chunk.len() > LIMIT, "{start}");
            assert_eq!(decoder.data.capacity(), 0, "{start}");
            assert_eq!(events, []);
        }
    }

    #[test]
    fn g02_endless_data_lines_end_at_the_limit() {
        for line in ["data: 0123456789\n", "data\n", "data:\r\n"] {
            let mut decoder = Decoder::new(1000);
            let fed = (0..2000).find_map(|_| decoder.feed(line.as_bytes(), &mut Vec::new()).err());
            assert_eq!(fed, Some(TooLong { limit: 1000 }), "{line}");
        }
    }

    #[test]
    fn g02_the_limit_is_exact_and_whole_lines_count_too() {
        let decode = |input: String| Decoder::new(10).feed(input.as_bytes(), &mut Vec::new());
        assert_eq!(decode(format!("data: {}\n\n", "x".repeat(10))), Ok(()));
        assert_eq!(
            decode(format!("data: {}\n\n", "x".repeat(11))),
            Err(TooLong { limit: 10 })
        );
        assert_eq!(decode(format!(":{}\n\n", "x".repeat(9))), Ok(()));
        assert_eq!(
            decode(format!(":{}\n\n", "x".repeat(10))),
            Err(TooLong { limit: 10 })
        );
        assert_eq!(decode("data: 12345\ndata: 6789\n\n".into()), Ok(()));
        assert_eq!(
            decode("data: 12345\ndata: 67890\n\n".into()),
            Err(TooLong { limit: 10 })
        );
    }

    #[test]
    fn g03_comments_and_unknown_fields_leave_nothing_behind() {
        let mut decoder = Decoder::new(100);
        let mut events = Vec::new();
        for _ in 0..10_000 {
            decoder
                .feed(b": ping\nx: y\nevent: a\n\n\n", &mut events)
                .unwrap();
        }
        assert_eq!(events.capacity(), 0);
        assert!(decoder.scratch.capacity() <= 64 && decoder.data.capacity() == 0);
    }

    #[test]
    fn data_is_handed_over_not_copied() {
        let mut decoder = Decoder::new(EVENT_LIMIT);
        let mut events = Vec::new();
        decoder.feed(b"data: ", &mut events).unwrap();
        for _ in 0..100 {
            decoder.feed(&[b'x'; 1000], &mut events).unwrap();
        }
        let buffer = decoder.data.as_ptr();
        decoder.feed(b"\n\n", &mut events).unwrap();
        assert_eq!(events[0].data.as_ptr(), buffer);
        assert_eq!(decoder.data.capacity(), 0);
    }

    #[test]
    fn debug_output_does_not_hold_the_data() {
        let event = text("secret");
        assert_eq!(
            format!("{event:?}"),
            "Event { name: None, data: 6 bytes, id: None, retry: None }"
        );
    }

    #[test]
    fn agrees_with_eventsource_stream_on_the_sample() {
        let input = b"data: a\n\nevent: x\ndata: b\ndata: c\r\n\r\n: n\n\ndata: d\r\rdata\n\n";
        let ours: Vec<_> = decode([input.as_slice()])
            .iter()
            .map(name_and_data)
            .collect();
        assert_eq!(ours, second_opinion(input));
        assert_eq!(ours.len(), 4);
    }

    fn name_and_data(event: &Event) -> (String, String) {
        let name = event.name.as_deref().unwrap_or("message");
        (
            name.to_owned(),
            String::from_utf8(event.data.to_vec()).unwrap(),
        )
    }

    fn stream_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"data: ".to_vec()),
            Just(b"data".to_vec()),
            Just(b"event:".to_vec()),
            Just(b"id: ".to_vec()),
            Just(b"retry:".to_vec()),
            Just(b"message".to_vec()),
            Just(b":".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\n\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\xef\xbb\xbf".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..6),
            "[0-9]{1,3}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    /// Streams that `eventsource-stream` reads rightly: no mark, no id or retry without data, no
    /// bad UTF-8, no unfinished event.
    fn plain_stream() -> impl Strategy<Value = String> {
        let end = prop_oneof![Just("\n"), Just("\r\n")];
        let line = prop_oneof![
            "data: ?[a-z{}:ä€]{0,9}",
            "event: [a-z]{1,9}",
            ": ?[a-z]{0,9}",
            "[e-h]{1,3}: [a-z]{0,9}",
        ];
        let event = (proptest::collection::vec(line, 0..5), end).prop_map(|(lines, end)| {
            let lines = lines
                .into_iter()
                .chain(["data: x".to_owned(), String::new()]);
            lines
                .flat_map(|line| [line, end.to_owned()])
                .collect::<String>()
        });
        proptest::collection::vec(event, 0..6).prop_map(|events| events.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            input in stream_bytes(),
            sizes in proptest::collection::vec(1_usize..9, 1..30),
        ) {
            let mut rest = input.as_slice();
            let mut sizes = sizes.iter().cycle();
            let chunks = std::iter::from_fn(|| {
                let size = (*sizes.next()?).min(rest.len());
                let (chunk, tail) = rest.split_at(size);
                rest = tail;
                (size > 0).then_some(chunk)
            });
            prop_assert_eq!(decode(chunks), decode([input.as_slice()]));
        }

        #[test]
        fn agrees_with_eventsource_stream(input in plain_stream()) {
            let ours: Vec<_> = decode([input.as_bytes()]).iter().map(name_and_data).collect();
            prop_assert_eq!(ours, second_opinion(input.as_bytes()));
        }
    }
}
