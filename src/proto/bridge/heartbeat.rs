//! Progress in the server's place, so that a client that waits as long as there is progress waits on
//! (`--heartbeat`; MCP 2025-11-25, Progress: a client may let progress reset its time limit).
//!
//! In: how far it says that a request is, and its words. Out: when it is due, and which progress of
//! the server may follow it (`patience`).

use super::Bridge;
use crate::proto::era::Era;
use crate::proto::message::Id;

/// What a heartbeat adds to the progress before it, which has to grow each time (MCP 2025-11-25,
/// Progress, Behavior Requirements). Little enough that what the server says next is more, enough to
/// count for a client that keeps seven digits.
const STEP: f64 = 1e-6;

/// The same as a share of that progress, where that is more.
const SHARE: f64 = 0.25e-6;

impl Bridge {
    /// Tells the client that a request is still open.
    pub(super) fn beat(&mut self, id: &Id) {
        let Some(entry) = self.ledger.get(id) else {
            return;
        };
        // Not before what the client is still to be told.
        let may_be_told = self.client.initialized && self.client.held.is_empty();
        if entry.era() == Era::Legacy && !may_be_told {
            return;
        }
        let words = if self.is_client_asked(id, entry) {
            "the server waits for an answer to its question"
        } else if self.is_served(id) {
            "the server is still working"
        } else if self.authorizing.is_under_way() {
            "waiting for the sign-in"
        } else {
            "waiting until the server can take the request"
        };
        let Some(vigil) = self.patience.get_mut(id) else {
            return;
        };
        let (Some(token), Some(progress)) = (&vigil.token, above(vigil.told)) else {
            return;
        };
        (vigil.told, vigil.beaten) = (Some(progress), true);
        let line = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress},"message":"{words}"}}}}"#
        );
        self.line(line.into());
    }
}

/// A little more than the progress told last; before there was any, a little more than nothing.
/// `None`: there is no greater number.
fn above(told: Option<f64>) -> Option<f64> {
    let told = told.unwrap_or_default();
    let above = told + STEP.max(told.abs() * SHARE);
    above.is_finite().then_some(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_above_the_last_and_below_what_a_server_would_say_next() {
        for first in [
            None,
            Some(0.0),
            Some(-3.0),
            Some(0.42),
            Some(99.0),
            Some(5e9),
        ] {
            let mut last = first;
            for beat in 0..1000 {
                let next = above(last);
                assert!(next > last, "{first:?} {beat}: {next:?} after {last:?}");
                #[expect(clippy::cast_possible_truncation, reason = "as some clients read it")]
                let narrow = |value: Option<f64>| value.map(|value| value as f32);
                assert!(narrow(next) > narrow(last), "{first:?} {beat}");
                last = next;
            }
            let start = first.unwrap_or_default();
            let grown = last.unwrap() - start;
            assert!(grown < 0.01_f64.max(start * 0.001), "{first:?}: {grown}");
        }
        assert_eq!(above(Some(f64::MAX)), None);
    }
}
