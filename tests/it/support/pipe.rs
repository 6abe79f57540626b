//! A pipe whose reading end can be closed while a thread is blocked reading it.

use std::io::{self, Read};
use std::process::ChildStdout;

/// Keeps the pipe open; see [`close`](Self::close).
#[derive(Debug)]
pub(super) struct Tap {
    #[cfg(unix)]
    open: Option<io::PipeWriter>,
}

/// The reading end. It reports the end of the file once the tap is closed.
#[derive(Debug)]
pub(super) struct Tapped {
    stdout: Option<ChildStdout>,
    #[cfg(unix)]
    closed: io::PipeReader,
}

impl Tap {
    #[cfg(unix)]
    pub(super) fn new(stdout: ChildStdout) -> (Self, Tapped) {
        let (closed, open) = io::pipe().expect("a pipe");
        (
            Self { open: Some(open) },
            Tapped {
                stdout: Some(stdout),
                closed,
            },
        )
    }

    #[cfg(not(unix))]
    pub(super) fn new(stdout: ChildStdout) -> (Self, Tapped) {
        (
            Self {},
            Tapped {
                stdout: Some(stdout),
            },
        )
    }

    /// Makes the reading end close its pipe, even in the middle of a wait (on Windows: nothing).
    pub(super) fn close(&mut self) {
        #[cfg(unix)]
        drop(self.open.take());
    }
}

impl Read for Tapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        if self.is_closed()? {
            self.stdout = None;
        }
        self.stdout
            .as_mut()
            .map_or(Ok(0), |stdout| stdout.read(buffer))
    }
}

#[cfg(unix)]
impl Tapped {
    /// Waits for the tap to close (true) or for something to read (false).
    fn is_closed(&self) -> io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::io::Errno;

        let Some(stdout) = &self.stdout else {
            return Ok(true);
        };
        loop {
            let mut waits = [
                PollFd::new(&self.closed, PollFlags::IN),
                PollFd::new(stdout, PollFlags::IN),
            ];
            match poll(&mut waits, None) {
                Ok(_) => return Ok(!waits[0].revents().is_empty() && waits[1].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
