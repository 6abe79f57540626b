//! A sign-in that needs a person: begun once for everybody, and going on beside all else until the
//! person is done or its time is over.
//!
//! In: one attempt in this process, who waits for it, and how often a person is asked. Out: one
//! attempt across processes (`waiting`), the steps (`browser`, `device`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot, watch};

use super::authorize::Why;
use super::{SignIn, lock, now};
use crate::edge::store::PendingSignIn;
use crate::proto::auth::discovery::Discovered;
use crate::proto::auth::scope::Wanted;
use crate::proto::auth::settings::Grant;
use crate::proto::auth::{limits, quirks};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::{Input, Prompt};

/// One attempt. Clones watch the same one.
#[derive(Clone)]
pub(super) struct Attempt {
    progress: watch::Receiver<Progress>,
    pasted: mpsc::Sender<Pasted>,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// It is this process that the person comes back to.
    has_turn: bool,
    /// The person was told, and has the turn.
    prompt: Option<Prompt>,
    outcome: Option<Result<(), Failure>>,
}

/// A pasted address, and where to say what is wrong with it.
pub(super) struct Pasted {
    pub(super) text: Secret,
    pub(super) answer: oneshot::Sender<Result<(), String>>,
}

impl Attempt {
    /// Whether a person has the turn and comes back to this process.
    pub(super) fn is_with_person(&self) -> bool {
        let progress = self.progress.borrow();
        progress.has_turn && progress.prompt.is_some() && progress.outcome.is_none()
    }

    fn is_over(&self) -> bool {
        self.progress.borrow().outcome.is_some() || self.progress.has_changed().is_err()
    }

    /// Waits for its end.
    pub(super) async fn outcome(&self) -> Result<(), Failure> {
        let mut progress = self.progress.clone();
        let ended = progress
            .wait_for(|progress| progress.outcome.is_some())
            .await;
        let outcome = ended.ok().and_then(|progress| progress.outcome.clone());
        outcome.unwrap_or_else(|| {
            let text = "the sign-in crashed; please report this with the output of --debug";
            Err(Failure::new(Kind::AuthorizationError, Executed::No, text))
        })
    }

    /// Hands in a redirect address that the person pasted.
    pub(super) async fn paste(&self, text: &str) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let pasted = Pasted {
            text: Secret::from(text),
            answer,
        };
        let gone = || "the sign-in is over".to_owned();
        self.pasted.send(pasted).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// What an attempt reports to and hears from.
pub(super) struct Desk {
    progress: watch::Sender<Progress>,
    pub(super) pasted: mpsc::Receiver<Pasted>,
}

impl Desk {
    /// No other process signs in; what one that has ended asked for is over.
    fn take_turn(&self) {
        self.progress.send_modify(|progress| {
            progress.has_turn = true;
            progress.prompt = None;
        });
    }

    /// The person has the turn.
    pub(super) fn show(&self, prompt: Prompt) {
        self.progress
            .send_modify(|progress| progress.prompt = Some(prompt));
    }

    /// No browser shows the address that the person was given.
    pub(super) fn not_opened(&self) {
        self.progress.send_modify(|progress| {
            if let Some(prompt) = &mut progress.prompt {
                prompt.opened = false;
            }
        });
    }
}

/// What an attempt is to bring about.
pub(super) struct Task {
    pub(super) found: Arc<Discovered>,
    pub(super) scope: Option<String>,
    pub(super) proof: bool,
    pub(super) why: Why,
    /// The access token that is no good any more.
    pub(super) refused: Option<Secret>,
}

impl SignIn {
    /// The attempt that is under way, if there is one.
    pub(super) fn running_attempt(&self) -> Option<Attempt> {
        let attempt = lock(&self.attempt).clone();
        attempt.filter(|attempt| !attempt.is_over())
    }

    pub(super) fn start_attempt(
        self: &Arc<Self>,
        found: Arc<Discovered>,
        wanted: Wanted,
        proof: bool,
        why: Why,
    ) -> Attempt {
        let (progress, watched) = watch::channel(Progress::default());
        let (paste, pasted) = mpsc::channel(1);
        let attempt = Attempt {
            progress: watched,
            pasted: paste,
        };
        *lock(&self.attempt) = Some(attempt.clone());
        let refused = self.wallet().tokens().map(|tokens| tokens.access.clone());
        let task = Task {
            found,
            scope: wanted.scope,
            proof,
            why,
            refused,
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut desk = Desk { progress, pasted };
            let outcome = this.attempt_alone(task, &mut desk).await;
            let is_late = outcome.is_ok() && this.joined.load(Ordering::SeqCst) == 0;
            desk.progress
                .send_modify(|progress| progress.outcome = Some(outcome));
            if is_late {
                // Nobody may be listening any more: then the process is ending.
                let _ = this.news.try_send(Input::Authorized(Ok(())));
            }
        });
        attempt
    }

    /// Waits for an attempt, for as long as a person may take. It goes on beyond that, so that a
    /// late answer still counts.
    pub(super) async fn join(&self, attempt: &Attempt) -> Result<(), Failure> {
        let _joined = Joined::new(self);
        let mut progress = attempt.progress.clone();
        let mut shown = None;
        let mut limit = None;
        loop {
            let (prompt, is_over) = {
                let progress = progress.borrow_and_update();
                (progress.prompt.clone(), progress.outcome.is_some())
            };
            if is_over {
                return attempt.outcome().await;
            }
            if prompt.is_some() && prompt != shown {
                shown.clone_from(&prompt);
                limit.get_or_insert_with(|| tokio::time::Instant::now() + self.settings.timeout);
                if let Some(prompt) = prompt {
                    // Nobody may be listening any more: then the process is ending.
                    let _ = self.news.try_send(Input::SignInNeeded(prompt));
                }
            }
            let too_late = async {
                match limit {
                    Some(limit) => tokio::time::sleep_until(limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = progress.changed() => if changed.is_err() {
                    return attempt.outcome().await;
                },
                () = too_late => return Err(self.nobody_came()),
            }
        }
    }

    pub(super) fn nobody_came(&self) -> Failure {
        let text = format!(
            "nobody signed in to {} within {} s; the link keeps working for some minutes, \
             --auth-timeout SECONDS waits longer{}",
            self.server(),
            self.settings.timeout.as_secs(),
            self.dead_client_hint()
        );
        Failure::new(Kind::AuthorizationTimeout, Executed::No, text)
    }

    /// Authorization servers that do not know the client show that to the person alone.
    fn dead_client_hint(&self) -> &'static str {
        if self.settings.given_client.is_none() && self.entry.client().is_some() {
            ". If the browser shows an error about the client, forget the registration with \
             \"mcp-bridge logout --forget-client URL\""
        } else {
            ""
        }
    }

    /// Under the lock of all processes.
    async fn attempt_alone(&self, task: Task, desk: &mut Desk) -> Result<(), Failure> {
        let Some(_lock) = self.wait_for_turn(&task, desk).await? else {
            return Ok(());
        };
        desk.take_turn();
        if task.proof {
            self.ensure_proof_key()?;
        }
        let outcome = match self.settings.grant {
            Grant::Device => self.sign_in_with_device(&task, desk).await,
            _ => self.sign_in_with_browser(task, desk).await,
        };
        if self.entry.state().pending.is_some() {
            self.keep(|state| state.pending = None);
        }
        outcome
    }

    /// Counts one more window. `false`: there were too many of late, nobody finished with them, and
    /// only the link is shown.
    pub(super) fn may_open_window(&self) -> Result<bool, Failure> {
        let brake = self.entry.state().brake;
        if self.by_hand || brake.allows(now()) {
            self.keep(|state| state.brake.open(now()));
            return Ok(true);
        }
        if self.wallet().tokens().is_none() {
            return Ok(false);
        }
        let text = format!(
            "{} sign-ins for {} within {} min brought nothing that it accepts, so no other one is \
             begun now; try by hand: mcp-bridge login URL",
            brake.opened.len(),
            self.server(),
            limits::BRAKE_WINDOW.as_secs() / 60
        );
        Err(Failure::new(Kind::AuthLoop, Executed::No, text))
    }

    /// Adds what is known of this authorization server to a failure.
    pub(super) fn with_hint(&self, mut failure: Failure) -> Failure {
        let found = lock(&self.found).clone();
        let hint = found.and_then(|found| quirks::of(&found.server.issuer).hint);
        if let Some(hint) = hint
            && !failure.text.contains(hint)
        {
            failure.text = format!("{}; {hint}", failure.text);
        }
        failure
    }
}

/// Counts who waits for an attempt.
struct Joined<'a>(&'a SignIn);

impl<'a> Joined<'a> {
    fn new(sign_in: &'a SignIn) -> Self {
        sign_in.joined.fetch_add(1, Ordering::SeqCst);
        Self(sign_in)
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.0.joined.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A sign-in of this process, for others to show.
pub(super) fn pending(link: &str) -> PendingSignIn {
    PendingSignIn {
        link: Secret::from(link),
        pid: std::process::id(),
        since: now(),
    }
}
