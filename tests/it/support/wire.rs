//! One accepted connection, shared by hyper and by replies that go around it.
//!
//! In: bytes on a socket. Out: HTTP (`remote`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket with several owners. It closes when the last one is gone.
#[derive(Clone)]
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    blocked: Arc<AtomicBool>,
    index: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, index: usize) -> Self {
        // Without it a test is slower, not wrong.
        let _ = stream.set_nodelay(true);
        Self {
            stream: Arc::new(stream),
            blocked: Arc::default(),
            index,
        }
    }

    /// Which connection of its server this is, from 1.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Whether the socket took less than it was offered last time.
    pub(super) fn blocked(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.blocked)
    }

    /// Closing the socket will reset the connection.
    pub(super) fn reset_on_close(&self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Writes past hyper.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(ready) = self.stream.poll_write_ready(cx) else {
                self.blocked.store(true, Ordering::Release);
                return Poll::Pending;
            };
            ready?;
            match self.stream.try_write(bytes) {
                Ok(written) => {
                    self.blocked.store(false, Ordering::Release);
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // dropping the last clone closes the socket
    }
}
