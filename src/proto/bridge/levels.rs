//! Log levels: a legacy session has one, each request of a modern client may have its own (MCP
//! 2025-11-25 and 2026-07-28, Logging).
//!
//! In: the level that the session is set to, before a request that needs it. Out: whose messages
//! come back (`upward_notices`).

use std::time::Instant;

use super::to_modern::{LEVELS, severity};
use super::upward_tasks::Ask;
use super::{Bridge, Own, Phase, Then, Timer};
use crate::proto::ledger::{Entry, Place, Via};
use crate::proto::limits;
use crate::proto::message::{Id, member};

/// The level of the session.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// What the session was last set to; `None` if it was not.
    told: Option<usize>,
    /// Credentials were refused for that: it was not set.
    refused: bool,
    asking: Option<Asking>,
    /// Requests that wait for that.
    waiting: Vec<Id>,
    /// When a request last needed it.
    needed: Option<Instant>,
    /// There is a timer to lower it.
    timed: bool,
}

/// A `logging/setLevel` on its way.
#[derive(Debug)]
struct Asking {
    level: usize,
    generation: u32,
    since: Instant,
}

/// The level that a request of a modern client gives, if it is one.
pub(super) fn wanted(entry: &Entry) -> Option<usize> {
    severity(entry.stated.as_ref()?.log_level.as_deref()?)
}

impl Bridge {
    /// Whether a request waits until the session has the level that it gives.
    pub(super) fn sets_level(&mut self, id: &Id) -> bool {
        let level = self.ledger.get(id).and_then(wanted);
        let Some(level) = level.filter(|_| self.upward.offered.logging) else {
            return false;
        };
        let now = self.now;
        let levels = &mut self.upward.levels;
        levels.needed = Some(now);
        if let Some(asking) = &levels.asking
            && now.saturating_duration_since(asking.since) >= limits::ACCEPTED
        {
            // The server takes its time over it: nobody waits any longer.
            levels.told = Some(asking.level);
            levels.asking = None;
        }
        if levels.told.is_some_and(|told| told <= level) {
            return false;
        }
        if levels.asking.is_none() {
            let level = self
                .needed_level()
                .map_or(level, |needed| needed.min(level));
            self.ask_for_level(level);
        }
        self.upward.levels.waiting.push(id.clone());
        self.wait(id, limits::ACCEPTED, Then::Send { mint: false });
        true
    }

    /// A request goes its way, whether or not the session has the level that it gives.
    pub(super) fn waits_for_no_level(&mut self, id: &Id) {
        self.upward.levels.waiting.retain(|waiting| waiting != id);
    }

    fn ask_for_level(&mut self, level: usize) {
        let Some(name) = LEVELS.get(level) else {
            return;
        };
        self.forget_asked_level();
        let params = format!(r#"{{"level":"{name}"}}"#);
        let own = self.send_own("logging/setLevel", Some(&params), Own::Upward);
        self.upward.asks.insert(own, Ask::Level);
        self.upward.levels.asking = Some(Asking {
            level,
            generation: self.link.generation,
            since: self.now,
        });
    }

    /// One that the server took and never answered.
    fn forget_asked_level(&mut self) {
        self.drop_asks(|ask| *ask == Ask::Level);
    }

    /// The server has set the level, or refused to: what waits for it is sent.
    pub(super) fn level_settled(&mut self) {
        let generation = self.link.generation;
        let levels = &mut self.upward.levels;
        if let Some(asking) = levels.asking.take()
            && asking.generation == generation
        {
            levels.told = Some(asking.level);
        }
        self.release_for_level();
    }

    /// Credentials were refused for it, which had been got `since` times. What waits goes on: if it
    /// needs others itself, it comes back here once they are there.
    pub(super) fn level_refused(&mut self, since: u32) {
        self.level_settled();
        self.upward.levels.refused = true;
        if since != self.authorizing.done() {
            self.level_authorized();
        }
    }

    /// There are other credentials: the level that was refused is set for the next that needs it.
    pub(super) fn level_authorized(&mut self) {
        let levels = &mut self.upward.levels;
        if std::mem::take(&mut levels.refused) {
            levels.told = None;
        }
    }

    /// The session is another one, whose level nobody has set.
    pub(super) fn forget_level(&mut self) {
        let levels = &mut self.upward.levels;
        (levels.told, levels.refused, levels.asking) = (None, false, None);
        self.release_for_level();
    }

    /// The client has set the session's level itself.
    pub(super) fn note_level(&mut self, params: &str) {
        let level: Option<String> =
            member(params, "level").and_then(|raw| serde_json::from_str(raw).ok());
        self.upward.levels.told = level.and_then(|level| severity(&level));
    }

    fn release_for_level(&mut self) {
        let waiting = std::mem::take(&mut self.upward.levels.waiting);
        let waiting = waiting.into_iter();
        let waiting = waiting.filter(|id| self.ledger.is_waiting(id)).collect();
        self.park_first(waiting);
    }

    /// A request is over: the level goes down again when nobody has needed it for a while.
    pub(super) fn level_not_needed(&mut self, id: &Id) {
        if self.ledger.get(id).and_then(wanted).is_none() {
            return;
        }
        self.upward.levels.needed = Some(self.now);
        if self.upward.levels.told.is_some()
            && !std::mem::replace(&mut self.upward.levels.timed, true)
        {
            self.after(limits::LEVEL_KEPT, Timer::Level);
        }
    }

    pub(super) fn on_level_timer(&mut self) {
        self.upward.levels.timed = false;
        let levels = &self.upward.levels;
        let Some(told) = levels.told else { return };
        let rest = levels.needed.map_or(limits::LEVEL_KEPT, |needed| {
            self.now.saturating_duration_since(needed)
        });
        let is_open = matches!(self.link.phase, Phase::Open);
        if rest < limits::LEVEL_KEPT || !is_open || levels.asking.is_some() {
            self.upward.levels.timed = true;
            let wait = limits::LEVEL_KEPT.saturating_sub(rest);
            let wait = if wait.is_zero() {
                limits::LEVEL_KEPT
            } else {
                wait
            };
            self.after(wait, Timer::Level);
            return;
        }
        let level = self.needed_level().unwrap_or(LEVELS.len() - 1);
        if level > told {
            self.ask_for_level(level);
        }
    }

    /// The most verbose level that anybody needs at this moment.
    fn needed_level(&self) -> Option<usize> {
        let of_client = self.client.log_level.as_deref();
        let of_client = of_client.and_then(|params| member(params, "level"));
        let of_client: Option<String> = of_client.and_then(|raw| serde_json::from_str(raw).ok());
        let of_client = of_client.and_then(|level| severity(&level));
        let requests = self.leveled().into_iter().map(|(_, level)| level);
        requests.chain(of_client).min()
    }

    /// The modern client's requests under way at a legacy server that give a level.
    pub(super) fn leveled(&self) -> Vec<(Id, usize)> {
        let under_way = |entry: &Entry| {
            entry.via == Via::ToLegacy && entry.place != Place::Parked && wanted(entry).is_some()
        };
        let ids = self.ledger.select(under_way);
        let leveled = ids.into_iter().filter_map(|id| {
            let level = wanted(self.ledger.get(&id)?)?;
            self.suspended
                .calls
                .contains_key(&id)
                .then_some((id, level))
        });
        leveled.collect()
    }
}
