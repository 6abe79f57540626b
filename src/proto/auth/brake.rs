//! How often a browser window may be opened for one server, over all processes.
//!
//! In: counting. Out: keeping the counts (`edge/store`).

use serde::{Deserialize, Serialize};

use super::limits::{BRAKE_WINDOW, WINDOWS, WINDOWS_IN_VAIN};

/// Sign-ins of the recent past for one server. Times are Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Brake {
    /// When a window was opened, oldest first.
    pub opened: Vec<u64>,
    /// When a request was last accepted with a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
}

impl Brake {
    /// Whether one more window may be opened now: at most [`WINDOWS_IN_VAIN`] within
    /// [`BRAKE_WINDOW`] after which no request was accepted, and at most [`WINDOWS`] in any case.
    #[must_use]
    pub fn allows(&self, now: u64) -> bool {
        let recent = || self.opened.iter().filter(|at| is_recent(**at, now));
        // A time that is still to come was written by a clock that was wrong.
        let accepted = self.accepted.filter(|at| *at <= now);
        let in_vain = recent().filter(|at| accepted.is_none_or(|accepted| **at > accepted));
        in_vain.count() < WINDOWS_IN_VAIN && recent().count() < WINDOWS
    }

    /// Counts a window that is being opened, and forgets those of long ago.
    pub fn open(&mut self, now: u64) {
        self.opened.retain(|at| is_recent(*at, now));
        self.opened.push(now);
        let excess = self.opened.len().saturating_sub(WINDOWS);
        self.opened.drain(..excess);
    }
}

/// Within [`BRAKE_WINDOW`] of now, on either side: clocks are set back.
fn is_recent(at: u64, now: u64) -> bool {
    u128::from(at.abs_diff(now)) < BRAKE_WINDOW.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const START: u64 = 1_800_000_000_000;

    #[test]
    fn c44_two_windows_in_vain_are_enough() {
        let mut brake = Brake::default();
        for at in [START, START + 1] {
            assert!(brake.allows(at));
            brake.open(at);
        }
        assert!(!brake.allows(START + 2));
        assert!(!brake.allows(START + 5 * MINUTE - 1));
        assert!(brake.allows(START + 5 * MINUTE));
    }

    #[test]
    fn c44_an_accepted_request_starts_the_count_anew() {
        let mut brake = Brake::default();
        brake.open(START);
        brake.accepted = Some(START + 10);
        brake.open(START + 20);
        assert!(brake.allows(START + 30), "one in vain");
        brake.open(START + 30);
        assert!(!brake.allows(START + 40), "two in vain");
        brake.accepted = Some(START + 40);
        assert!(brake.allows(START + 50));
    }

    #[test]
    fn c44_six_windows_are_enough_in_any_case() {
        let mut brake = Brake::default();
        for number in 0..6 {
            let now = START + number * 1000;
            assert!(brake.allows(now), "{number}");
            brake.open(now);
            brake.accepted = Some(now + 1);
        }
        assert!(!brake.allows(START + 6000));
        assert!(brake.allows(START + 5 * MINUTE));
    }

    #[test]
    fn c44_the_count_stays_small_and_survives_clocks_that_jump() {
        let mut brake = Brake::default();
        for number in 0..1000 {
            brake.open(START + number);
        }
        assert_eq!(brake.opened.len(), WINDOWS);
        let back = START - 60 * MINUTE;
        assert!(brake.allows(back), "windows of an hour ahead say nothing");
        brake.open(back);
        assert_eq!(brake.opened, [back]);
        brake.accepted = Some(START);
        brake.open(back + 1);
        assert!(!brake.allows(back + 2), "nor does what was accepted then");
    }

    #[test]
    fn it_is_kept_as_json() {
        let mut brake = Brake::default();
        brake.open(START);
        let text = serde_json::to_string(&brake).unwrap();
        assert_eq!(text, r#"{"opened":[1800000000000]}"#);
        assert_eq!(serde_json::from_str::<Brake>(&text).unwrap(), brake);
        assert_eq!(
            serde_json::from_str::<Brake>("{}").unwrap(),
            Brake::default()
        );
    }
}
