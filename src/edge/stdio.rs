//! The pipes to the local client: one thread reads lines, one writes them.
//!
//! In: bytes, line ends, the limit on a line, back-pressure. Out: what a line means (`proto`).
//! Threads, because a blocking read of stdin cannot be cancelled: nobody waits for them at the end.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::proto::limits;

/// Lines that may wait between the reading thread and the driver.
pub const LINES_QUEUED: usize = 32;

/// Bytes that may wait for a client that does not read, before reading from the server stops.
pub const OUTPUT_QUEUED: usize = 4 << 20;

/// Short lines are written together, up to this many bytes at a time.
const BATCH: usize = 64 << 10;

/// Bytes read from stdin at a time.
const CHUNK: usize = 64 << 10;

/// How long the writing thread may take at the end when somebody asked for the end.
const HURRIED: Duration = Duration::from_millis(300);

/// How long a client that closed its own end may read nothing before what is left is dropped.
const UNHURRIED: Duration = Duration::from_secs(10);

/// What the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum FromClient {
    /// A line without its line end.
    Line(Bytes),
    /// The first bytes of a line that is too long; the rest was discarded.
    TooLong(Bytes),
}

/// Reads lines in a thread of its own. The channel closes at the end of the input.
///
/// `limit` is the longest line in bytes.
#[must_use]
pub fn read_lines(input: impl Read + Send + 'static, limit: usize) -> mpsc::Receiver<FromClient> {
    let (sender, receiver) = mpsc::channel(LINES_QUEUED);
    let read = move || {
        let mut lines = Lines::new(limit);
        let _ = lines.read_all(input, |line| sender.blocking_send(line).is_ok());
    };
    // Without the thread there is no input: the closed channel says so.
    let _ = thread::Builder::new().name("stdin".to_owned()).spawn(read);
    receiver
}

/// Takes bytes apart at line feeds (MCP 2025-11-25, Transports, stdio).
struct Lines {
    limit: usize,
    line: BytesMut,
    /// The line is over the limit: everything up to its end is dropped.
    discarding: bool,
    at_start: bool,
}

impl Lines {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            line: BytesMut::new(),
            discarding: false,
            at_start: true,
        }
    }

    /// Reads to the end of the input, or until nobody takes the lines any more.
    fn read_all(
        &mut self,
        mut input: impl Read,
        mut take: impl FnMut(FromClient) -> bool,
    ) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let size = match input.read(&mut chunk) {
                Ok(0) => break,
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut rest = chunk.get(..size).unwrap_or_default();
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at(end);
                rest = after.get(1..).unwrap_or_default();
                self.extend(line);
                if self.finish().is_some_and(|line| !take(line)) {
                    return Ok(());
                }
            }
            self.extend(rest);
        }
        if let Some(line) = self.finish() {
            take(line);
        }
        Ok(())
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.discarding {
            return;
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > self.limit {
            self.discarding = true;
            self.line.truncate(limits::LINE_HEAD);
            self.line = BytesMut::from(&self.line[..]);
        }
    }

    /// The line that is complete now, unless it is empty.
    fn finish(&mut self) -> Option<FromClient> {
        let mut line = self.line.split().freeze();
        if line.len() > BATCH {
            // A long line keeps its buffer; the next one starts with a small one.
            self.line = BytesMut::new();
        }
        if std::mem::take(&mut self.at_start) && line.starts_with(b"\xef\xbb\xbf") {
            line = line.slice(3..);
        }
        if std::mem::take(&mut self.discarding) {
            return Some(FromClient::TooLong(line));
        }
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        (!line.is_empty()).then_some(FromClient::Line(line))
    }
}

/// Writes lines in a thread of its own.
#[derive(Debug)]
pub struct Output {
    sender: Option<blocking::Sender<Vec<Bytes>>>,
    backlog: Arc<Backlog>,
    done: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    drained: Notify,
    closed: AtomicBool,
}

impl Output {
    /// Starts the thread. The receiver resolves when writing has failed: nobody reads any more.
    #[must_use]
    pub fn start(output: impl Write + Send + 'static) -> (Self, oneshot::Receiver<()>) {
        let (sender, lines) = blocking::channel::<Vec<Bytes>>();
        let (closed_sender, closed) = oneshot::channel();
        let (done_sender, done) = oneshot::channel();
        let backlog = Arc::new(Backlog::default());
        let shared = Arc::clone(&backlog);
        let write = move || {
            if write_all(output, &lines, &shared).is_err() {
                shared.closed.store(true, Ordering::Relaxed);
                shared.bytes.store(0, Ordering::Relaxed);
                shared.drained.notify_one();
                let _ = closed_sender.send(());
            } else {
                // Not sending keeps the driver from taking the regular end for a failure.
                std::mem::forget(closed_sender);
            }
            let _ = done_sender.send(());
        };
        let _ = thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(write);
        (
            Self {
                sender: Some(sender),
                backlog,
                done,
            },
            closed,
        )
    }

    /// Queues lines, without their line ends, for writing.
    pub fn write(&self, lines: Vec<Bytes>) {
        if self.backlog.closed.load(Ordering::Relaxed) {
            return;
        }
        let size = lines.iter().map(Bytes::len).sum();
        self.backlog.bytes.fetch_add(size, Ordering::Relaxed);
        if let Some(sender) = &self.sender {
            let _ = sender.send(lines);
        }
    }

    /// Whether [`OUTPUT_QUEUED`] bytes wait to be written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.backlog.bytes.load(Ordering::Relaxed) >= OUTPUT_QUEUED
    }

    /// Resolves when [`Output::is_full`] may have become false.
    pub async fn drained(&self) {
        self.backlog.drained.notified().await;
    }

    /// Whether more than that waits, so that not even answers to wrong lines have room.
    #[must_use]
    pub fn is_overfull(&self) -> bool {
        self.backlog.bytes.load(Ordering::Relaxed) >= 2 * OUTPUT_QUEUED
    }

    /// Waits until everything is written, or the client reads nothing for a while: a moment if
    /// `hurried`, else long enough for a script's slow reader.
    pub async fn finish(mut self, hurried: bool) {
        self.sender = None;
        let patience = if hurried { HURRIED } else { UNHURRIED };
        loop {
            let waiting = self.backlog.bytes.load(Ordering::Relaxed);
            let written = tokio::time::timeout(patience, &mut self.done).await.is_ok();
            let moves = self.backlog.bytes.load(Ordering::Relaxed) < waiting;
            if written || hurried || !moves {
                return;
            }
        }
    }
}

fn write_all(
    mut output: impl Write,
    lines: &blocking::Receiver<Vec<Bytes>>,
    backlog: &Backlog,
) -> std::io::Result<()> {
    let mut batch = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut batched = 0;
        for line in std::iter::once(first).chain(lines.try_iter()).flatten() {
            if batch.len() + line.len() >= BATCH {
                output.write_all(&batch)?;
                batch.clear();
                note_written(backlog, std::mem::take(&mut batched));
            }
            if line.len() < BATCH {
                batched += line.len();
                batch.extend_from_slice(&line);
            } else {
                // Piece by piece, so that it shows whether the client reads.
                for piece in line.chunks(BATCH) {
                    output.write_all(piece)?;
                    note_written(backlog, piece.len());
                }
            }
            batch.push(b'\n');
        }
        output.write_all(&batch)?;
        output.flush()?;
        batch.clear();
        note_written(backlog, batched);
    }
    Ok(())
}

fn note_written(backlog: &Backlog, bytes: usize) {
    let before = backlog.bytes.fetch_sub(bytes, Ordering::Relaxed);
    if before >= OUTPUT_QUEUED {
        backlog.drained.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let size = self.1.min(self.0.len()).min(into.len());
            let (piece, rest) = self.0.split_at(size);
            into[..size].copy_from_slice(piece);
            self.0 = rest;
            Ok(size)
        }
    }

    fn lines(bytes: &[u8], limit: usize, piece: usize) -> Vec<FromClient> {
        let mut lines = Vec::new();
        Lines::new(limit)
            .read_all(Pieces(bytes, piece), |line| {
                lines.push(line);
                true
            })
            .unwrap();
        lines
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    fn line(text: &'static str) -> FromClient {
        FromClient::Line(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn t01_t02_t03_lines_come_out_whatever_their_ends() {
        let input = "\u{feff}a\r\n\r\n\n  \nb\u{2028}c\n\u{feff}d\nlast".as_bytes();
        for piece in 1..=input.len() {
            assert_eq!(
                lines(input, 100, piece),
                [
                    line("a"),
                    line("  "),
                    line("b\u{2028}c"),
                    line("\u{feff}d"),
                    line("last")
                ],
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn t08_a_line_over_the_limit_is_dropped_and_the_next_is_read() {
        let mut input = b"{\"id\":9,".to_vec();
        input.resize(300_000, b'x');
        input.extend_from_slice(b"\nnext\n");
        for piece in [7, 4096, 1 << 20] {
            let lines = lines(&input, 200_000, piece);
            assert_eq!(lines.len(), 2);
            let FromClient::TooLong(head) = &lines[0] else {
                panic!("{:?}", lines[0])
            };
            assert!(head.starts_with(b"{\"id\":9,") && head.len() == limits::LINE_HEAD);
            assert_eq!(lines[1], line("next"));
        }
    }

    #[test]
    fn an_endless_line_takes_no_more_than_its_limit() {
        let mut lines = Lines::new(1 << 20);
        let piece = vec![b'x'; CHUNK];
        for _ in 0..200 {
            lines.extend(&piece);
            assert!(lines.line.capacity() <= 3 << 20);
        }
        assert!(matches!(lines.finish(), Some(FromClient::TooLong(_))));
    }

    #[test]
    fn lines_are_written_in_order_with_line_feeds() {
        #[derive(Clone, Default)]
        struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let written = Shared::default();
        let (output, _closed) = Output::start(written.clone());
        let long = Bytes::from(vec![b'y'; 3 * BATCH]);
        output.write(vec![
            Bytes::from_static(b"a"),
            long.clone(),
            Bytes::from_static(b"b"),
        ]);
        output.write(vec![Bytes::from_static(b"c")]);
        block_on(output.finish(true));
        let expected = [b"a\n", &long[..], b"\nb\nc\n"].concat();
        assert!(*written.0.lock().unwrap() == expected);
    }

    #[test]
    fn a_failed_write_is_reported_and_nothing_piles_up_after_it() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (output, closed) = Output::start(Closed);
        output.write(vec![Bytes::from_static(b"a")]);
        assert!(closed.blocking_recv().is_ok());
        output.write(vec![Bytes::from(vec![0; OUTPUT_QUEUED])]);
        assert!(!output.is_full());
    }

    #[test]
    fn g03_a_client_that_does_not_read_fills_the_queue() {
        struct Stuck(blocking::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.recv().map_err(|_| ErrorKind::BrokenPipe)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (go, stuck) = blocking::channel();
        let (output, _closed) = Output::start(Stuck(stuck));
        output.write(vec![Bytes::from(vec![b'z'; OUTPUT_QUEUED])]);
        assert!(output.is_full());
        for _ in 0..3 {
            let _ = go.send(());
        }
        block_on(async {
            let emptied = async {
                while output.is_full() {
                    output.drained().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), emptied)
                .await
                .unwrap();
        });
    }
}
