//! What is remembered of a server from one start to the next.
//!
//! In: what is kept, and what an earlier start has left. Out: where it is kept (`driver`), what it
//! is worth once the server speaks (`detect`).

use std::sync::Arc;
use std::time::Duration;

use super::detect::Modern;
use super::{Bridge, Phase, Protocol};
use crate::proto::era::capabilities::Offered;
use crate::proto::era::discover::Discovered;
use crate::proto::era::{self, Era};
use crate::proto::transport::{Strategy, Transport};
use crate::proto::{Output, Remembered, limits, text};

impl Bridge {
    pub(super) fn remember_modern(&mut self, discovered: &Discovered) {
        let kept = discovered.text.len() <= limits::KEPT_INITIALIZE;
        self.out.push(Output::RememberEra(Some(Remembered {
            era: Era::Modern,
            transport: Transport::StreamableHttp,
            discover: kept.then(|| discovered.text.clone()),
            fresh: Duration::from_millis(discovered.ttl_ms),
        })));
        let host = text::sanitize(self.link.base.host_str().unwrap_or_default(), 100);
        let (result, _) = discovered.initialize_result(None, &host);
        if result.len() <= limits::KEPT_INITIALIZE {
            self.out.push(Output::Remember(result));
        }
    }

    /// A handshake has succeeded. A server without sessions may be modern as well: it counts as
    /// legacy only if it was asked.
    pub(super) fn remember_handshake(&mut self, transport: Transport) {
        let sessionless = transport == Transport::StreamableHttp && self.link.session.is_none();
        if !sessionless || self.detection.looked {
            self.remember_legacy(transport);
        }
    }

    pub(super) fn remember_legacy(&mut self, transport: Transport) {
        self.out.push(Output::RememberEra(Some(Remembered {
            era: Era::Legacy,
            transport,
            discover: None,
            fresh: Duration::ZERO,
        })));
    }

    /// Takes the server for what it was at an earlier start. Whether it is known to be modern, and
    /// how: without a word from it so far.
    pub(super) fn recall_modern(&mut self) -> bool {
        let usable = self.settings.protocol != Protocol::Legacy
            && self.settings.strategy != Strategy::SseOnly
            && self.link.transport.is_none();
        let Some(remembered) = self.settings.remembered.clone() else {
            return false;
        };
        if !usable || remembered.era != Era::Modern || self.detection.recalled {
            return false;
        }
        let discovered = remembered.discover.as_deref().and_then(Discovered::parse);
        let Some(discovered) = discovered else {
            return false;
        };
        let Some(version) = era::newest_spoken(&discovered.versions) else {
            return false;
        };
        self.detection.recalled = true;
        self.link.phase = Phase::Open;
        self.link.generation += 1;
        self.announce(self.settings.strategy.as_str());
        self.link.endpoint = Arc::clone(&self.link.base);
        self.link.transport = Some(Transport::StreamableHttp);
        self.link.modern = Some(Modern {
            version: version.to_owned(),
            offered: Offered::read(&discovered.capabilities),
            discovered,
            untyped: 0,
        });
        self.debug(|| format!("the server spoke {version} when it was last met"));
        self.announce_connected(Transport::StreamableHttp, true, true);
        if remembered.fresh.is_zero() {
            self.verify();
        }
        true
    }

    /// What the server was at an earlier start, as far as first contact can be made with it.
    pub(super) fn recalled_transport(&self) -> Option<Transport> {
        let remembered = self.settings.remembered.as_ref()?;
        let both = self.settings.strategy.second().is_some();
        (both && remembered.era == Era::Legacy && !self.detection.recalled)
            .then_some(remembered.transport)
    }

    /// Whether the server was legacy at an earlier start.
    pub(super) fn was_legacy(&self) -> bool {
        let remembered = self.settings.remembered.as_ref();
        !self.detection.recalled && remembered.is_some_and(|known| known.era == Era::Legacy)
    }

    pub(super) fn forget_memory(&mut self) {
        self.detection.recalled = true;
        self.out.push(Output::RememberEra(None));
    }
}
