//! One sign-in for all processes: who has the turn, and what the others do meanwhile.
//!
//! In: waiting for another process, handing it what was pasted here, and using what it brings. Out: the lock itself (`edge/store`).

use std::time::Duration;

use super::attempt::{Desk, Task};
use super::{SignIn, now};
use crate::edge::callback::forward::forward;
use crate::edge::log;
use crate::edge::store::{Held, Lock};
use crate::proto::auth::callback;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::{Level, Prompt};

/// Pause between looks at what another process does.
const LOOK: Duration = Duration::from_millis(200);

impl SignIn {
    /// Waits until no other process signs in. `None`: one has, and its tokens are in use now.
    pub(super) async fn wait_for_turn(
        &self,
        task: &Task,
        desk: &mut Desk,
    ) -> Result<Option<Held>, Failure> {
        let deadline = tokio::time::Instant::now() + self.settings.timeout;
        let (mut stamp, mut link) = (self.entry.tokens_stamp(), None);
        loop {
            let held = self.entry.try_lock(Lock::SignIn)?;
            if held.is_some() || self.entry.tokens_stamp() != stamp {
                stamp = self.entry.tokens_stamp();
                if self.take_over(task) {
                    return Ok(None);
                }
            }
            if held.is_some() {
                return Ok(held);
            }
            if let Some(pending) = self.entry.state().pending
                && link.as_ref() != Some(&pending.link)
            {
                log::say(
                    Level::Info,
                    &format!(
                        "another process (PID {}) is signing in to {}; waiting for it",
                        pending.pid,
                        self.server()
                    ),
                );
                link = Some(pending.link.clone());
                desk.show(Prompt {
                    url: pending.link.reveal().to_owned(),
                    instruction: None,
                    opened: true,
                });
            }
            if tokio::time::Instant::now() > deadline {
                let text = format!(
                    "another process has been signing in to {} for {} s without an end; end it, or sign in by hand: mcp-bridge login URL",
                    self.server(),
                    self.settings.timeout.as_secs()
                );
                return Err(Failure::new(Kind::AuthorizationTimeout, Executed::No, text));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                Some(pasted) = desk.pasted.recv() => {
                    let taken = hand_over(link.as_ref(), &pasted.text).await;
                    // The person may have given up waiting for the verdict.
                    let _ = pasted.answer.send(taken);
                }
            }
        }
    }

    /// Uses what the store holds now, if that is other than what was refused.
    fn take_over(&self, task: &Task) -> bool {
        let mut wallet = self.wallet();
        wallet.reload(&self.entry);
        let Some(tokens) = wallet.tokens() else {
            return false;
        };
        let is_other = task.refused.as_ref() != Some(&tokens.access);
        is_other && !tokens.is_expired(now())
    }
}

/// A pasted address belongs to the process that gave the person the link.
async fn hand_over(link: Option<&Secret>, text: &Secret) -> Result<(), String> {
    let link = link.ok_or("the process that signs in gave no link yet")?;
    let url = callback::forwarded(link, text.reveal())?;
    match forward(&url).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("the process that signs in did not succeed with it".to_owned()),
        Err(_) => Err("the process that signs in does not answer".to_owned()),
    }
}
