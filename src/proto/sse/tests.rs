//! The decoder in every chunking, beside a second opinion, and against hostile streams.

use std::convert::Infallible;

use eventsource_stream::EventStream;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;

use super::*;
use crate::proto::limits;

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
    let mut decoder = Decoder::new(limits::MESSAGE);
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
    let mut decoder = Decoder::new(limits::MESSAGE);
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
    let retry = |value: &str| decode([format!("retry: {value}\ndata: a\n\n").as_bytes()])[0].retry;
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
    let mut decoder = Decoder::new(limits::MESSAGE);
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
