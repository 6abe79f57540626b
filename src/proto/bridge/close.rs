//! The end: the client closed its side, a signal came, or nobody reads our output.
//!
//! In: who is still given time, and how the session is left. Out: ending the process (`driver`).

use super::{Bridge, Phase, Purpose, Timer};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::{Level, Output, StopReason, limits};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// The client sends nothing more; open requests may still finish.
    Grace,
    /// Only the end of the session is waited for.
    Ending {
        /// Somebody asked for it.
        stopped: bool,
        /// Somebody asked for it with a signal.
        signalled: bool,
    },
}

impl Bridge {
    pub(super) fn on_local_closed(&mut self) {
        if self.closing == Closing::No {
            self.debug(|| "the client closed its end".into());
            self.closing = Closing::Grace;
            self.after(self.settings.eof_grace, Timer::Grace);
        }
    }

    pub(super) fn on_stop(&mut self, reason: StopReason) {
        let signalled = reason == StopReason::Signal;
        if let Closing::Ending {
            stopped,
            signalled: before,
        } = &mut self.closing
        {
            *stopped = true;
            // A parent that dies and the pipes it takes with it are no second request.
            if std::mem::replace(before, *before || signalled) && signalled {
                self.exit();
            }
            return;
        }
        let text = match reason {
            StopReason::Signal => "asked to end",
            StopReason::OutputClosed => "nobody reads our output any more",
            StopReason::ParentGone => "the program that started the bridge is gone",
        };
        self.say(Level::Info, format!("Shutting down: {text}"));
        self.closing = Closing::Ending {
            stopped: true,
            signalled,
        };
        self.finish(reason != StopReason::OutputClosed);
    }

    pub(super) fn on_grace_over(&mut self) {
        if self.closing == Closing::Grace {
            self.finish_by_itself();
        }
    }

    /// After the client closed its end: ends as soon as nothing is open.
    pub(super) fn check_closing(&mut self) {
        let idle = self.closing == Closing::Grace
            && self.is_listening_only()
            && self.parked.is_empty()
            && self.outbox.is_empty()
            && !matches!(self.link.phase, Phase::Barrier(_));
        if idle {
            self.finish_by_itself();
        }
    }

    fn finish_by_itself(&mut self) {
        self.closing = Closing::Ending {
            stopped: false,
            signalled: false,
        };
        self.finish(true);
    }

    /// Whether nothing but the end of the session is waited for.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.closing, Closing::Ending { .. })
    }

    fn finish(&mut self, answer: bool) {
        if answer {
            let text = "the bridge was ended before the server answered; look at the server before you \
                        repeat the request";
            let failure = Failure::new(Kind::Shutdown, Executed::Unknown, text);
            self.fail_parked(&failure);
            for id in self.ledger.select(|_| true) {
                if !self.close_listener(&id) {
                    self.fail(&id, &failure);
                }
            }
        }
        let tickets: Vec<_> = self.exchanges.keys().copied().collect();
        for ticket in tickets {
            self.cancel_exchange(ticket);
        }
        if let Phase::Handshaking(handshake) = &mut self.link.phase {
            self.link.session = handshake.session.take();
        }
        self.end_all_retired();
        let delete = self.delete_request();
        self.link.phase = Phase::Idle;
        self.timers.clear();
        match delete {
            Some(request) => {
                self.start(Purpose::Delete, request);
                self.after(limits::SHUTDOWN, Timer::Shutdown);
            }
            None => self.exit(),
        }
    }

    pub(super) fn exit(&mut self) {
        let hurried = matches!(self.closing, Closing::Ending { stopped: true, .. });
        self.timers.clear();
        self.out.push(Output::Exit { hurried });
    }
}
