//! Signing in, step by step: what `proto::auth` decides is done here with the edges.
//!
//! ```text
//!   refused ──▶ a newer token in the store? ──▶ renew ──▶ sign in (browser, device, machine)
//!                    (another process)        (renewal)     (attempt, device, machine)
//! ```
//!
//! One file for each thing that can happen: `authorize` (the order above), `discovery`, `renewal`,
//! `attempt` (a person is needed: `waiting`, `browser`, `redirect`, `device`), `machine` (no
//! person), `revoke` (signing out), `identity` (who we are
//! towards the authorization server), `exchange` (asking for tokens and keeping them), `wallet`
//! (the tokens in use). In: the order of steps, and what is told to the person. Out: decisions
//! (`proto`), single requests, files and sockets (`edge`).

mod attempt;
mod authorize;
mod browser;
mod device;
mod discovery;
mod examine;
mod exchange;
mod identity;
mod machine;
mod redirect;
mod renewal;
mod revoke;
mod waiting;
mod wallet;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::mpsc;
use url::Url;

use self::attempt::Attempt;
pub use self::revoke::Revocation;
use self::wallet::Wallet;
use crate::edge::browser::Launcher;
use crate::edge::oauth::OauthHttp;
use crate::edge::remote::Credentials;
use crate::edge::store::{Entry, State, Store};
use crate::edge::{keys, log};
use crate::proto::auth::address::AddressPolicy;
use crate::proto::auth::discovery::Discovered;
use crate::proto::auth::dpop;
use crate::proto::auth::scope::StepUps;
use crate::proto::auth::settings::Settings;
use crate::proto::auth::token::TokenType;
use crate::proto::secret::{Secret, mask};
use crate::proto::{Input, Level, Verb, text};

/// News that may wait to be looked at.
pub const NEWS_QUEUED: usize = 8;

/// What a sign-in is made of.
pub struct Parts {
    /// What the user decided.
    pub settings: Settings,
    /// For its requests.
    pub http: OauthHttp,
    /// Where it is kept.
    pub store: Store,
    /// Opens a browser.
    pub launcher: Launcher,
    /// Where [`Input::SignInNeeded`] goes, and [`Input::Authorized`] when a person was so late that
    /// nobody waited any more.
    pub news: mpsc::Sender<Input>,
    /// How far apart processes renew, 0 to 1.
    pub spread: f64,
    /// The person asked for this sign-in: it is begun however many there were of late.
    pub by_hand: bool,
    /// Other credentials may be got than those that are stored or follow from them.
    pub may_sign_in: bool,
}

/// Signs in to one server, and keeps its tokens fresh. Shared by all exchanges of a process.
pub struct SignIn {
    /// For work that goes on when nobody waits for it any more.
    this: Weak<Self>,
    settings: Settings,
    http: OauthHttp,
    store: Store,
    entry: Entry,
    launcher: Launcher,
    news: mpsc::Sender<Input>,
    spread: f64,
    by_hand: bool,
    may_begin: bool,
    wallet: Mutex<Wallet>,
    /// One renewal at a time in this process.
    renewing: tokio::sync::Mutex<()>,
    /// Held for reading from asking for tokens until they are kept: the process does not end in
    /// between.
    critical: tokio::sync::RwLock<()>,
    policy: tokio::sync::OnceCell<AddressPolicy>,
    /// What the last discovery found.
    found: Mutex<Option<Arc<Discovered>>>,
    step_ups: Mutex<StepUps>,
    attempt: Mutex<Option<Attempt>>,
    /// How many wait for it.
    joined: AtomicUsize,
}

impl SignIn {
    /// Reads what is stored; asks nobody yet.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let entry = parts.store.entry(&parts.settings.key);
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            wallet: Mutex::new(Wallet::load(&entry)),
            settings: parts.settings,
            http: parts.http,
            store: parts.store,
            entry,
            launcher: parts.launcher,
            news: parts.news,
            spread: parts.spread,
            by_hand: parts.by_hand,
            may_begin: parts.may_sign_in,
            renewing: tokio::sync::Mutex::default(),
            critical: tokio::sync::RwLock::default(),
            policy: tokio::sync::OnceCell::new(),
            found: Mutex::default(),
            step_ups: Mutex::default(),
            attempt: Mutex::default(),
            joined: AtomicUsize::new(0),
        })
    }

    /// Waits for a sign-in that a person is in the middle of, so that it is not lost when the
    /// client has gone; at most this long.
    pub async fn finish(&self, grace: Duration) {
        let attempt = lock(&self.attempt).clone();
        if let Some(attempt) = attempt.filter(Attempt::is_with_person) {
            let text =
                "a sign-in is under way: waiting for it, so that the next start finds it done";
            log::say(Level::Info, text);
            // Whatever its outcome, it was told.
            let _ = tokio::time::timeout(grace, attempt.outcome()).await;
        }
    }

    /// Waits for tokens that were asked for and are not kept yet: one that was used up and whose
    /// successor is lost would cost the sign-in. At most this long.
    pub async fn settle(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.critical.write()).await;
    }

    /// Takes a redirect address that the person pasted. A sentence tells what is wrong with it.
    ///
    /// # Errors
    /// Nothing waits for it, or it is not the address of this sign-in.
    pub async fn paste(&self, text: &str) -> Result<(), String> {
        let attempt = lock(&self.attempt).clone();
        match attempt {
            Some(attempt) => attempt.paste(text).await,
            None => Err("nothing waits for an address just now".to_owned()),
        }
    }

    fn wallet(&self) -> MutexGuard<'_, Wallet> {
        lock(&self.wallet)
    }

    /// A proof of possession to go beside the token (RFC 9449 §7.1).
    fn prove(&self, verb: &str, url: &Url, token: Option<&Secret>) -> Option<HeaderValue> {
        let key = self.wallet().proof_key()?;
        let nonce = self.wallet().nonce(url);
        let jti = keys::random_token(16).ok()?;
        let (header, claims) = dpop::proof(
            &key.public_jwk(),
            key.algorithm(),
            verb,
            url,
            token,
            nonce.as_deref(),
            jti.reveal(),
            now() / 1000,
        );
        let proof = key.sign(header, &claims).ok()?;
        HeaderValue::from_str(proof.reveal()).ok()
    }
}

impl Credentials for SignIn {
    fn apply<'a>(
        &'a self,
        verb: Verb,
        url: &'a Url,
        headers: &'a mut HeaderMap,
    ) -> Pin<Box<dyn Future<Output = u64> + Send + 'a>> {
        Box::pin(async move {
            self.renew_if_due().await;
            let (serial, token, kind) = {
                let mut wallet = self.wallet();
                wallet.look_at(&self.entry);
                match wallet.presentable(self.settings.use_id_token) {
                    Some((token, kind)) => (wallet.serial(), token, kind),
                    None => return 0,
                }
            };
            let scheme = match kind {
                TokenType::Bearer => "Bearer",
                TokenType::Dpop => "DPoP",
            };
            let value = HeaderValue::from_str(&format!("{scheme} {}", token.reveal()));
            let Ok(mut value) = value else { return 0 };
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
            if kind == TokenType::Dpop
                && let Some(mut proof) = self.prove(verb.as_str(), url, Some(&token))
            {
                proof.set_sensitive(true);
                headers.insert("dpop", proof);
            }
            serial
        })
    }

    fn answered(&self, credentials: u64, status: u16, headers: &HeaderMap) -> bool {
        if credentials == 0 {
            return false;
        }
        let server = Arc::clone(&self.settings.server);
        let nonce = headers
            .get("dpop-nonce")
            .and_then(|value| value.to_str().ok());
        if let Some(nonce) = nonce {
            self.wallet().keep_nonce(&server, nonce);
        }
        if status == 401 {
            return nonce.is_some() && wants_nonce(headers);
        }
        if status != 403 && status < 500 && self.wallet().accept(credentials) {
            self.note_accepted();
        }
        false
    }

    fn hide(&self, text: &[u8]) -> Option<Bytes> {
        let secrets = self.wallet().secrets();
        mask(
            text,
            secrets.iter().map(|secret| secret.reveal().as_bytes()),
        )
    }
}

impl SignIn {
    /// A token was accepted for the first time: earlier windows were not in vain.
    fn note_accepted(&self) {
        let brake = self.entry.state().brake;
        if brake
            .opened
            .last()
            .is_some_and(|last| brake.accepted.is_none_or(|accepted| accepted < *last))
        {
            self.keep(|state| state.brake.accepted = Some(now()));
        }
    }

    /// Changes what is kept beside the tokens; a store that cannot be written has said so.
    fn keep(&self, change: impl FnOnce(&mut State)) {
        if let Err(failure) = self.entry.update_state(change) {
            log::say(Level::Debug, &failure.text);
        }
        self.say_notes();
    }

    /// Hands on what the store has to say.
    fn say_notes(&self) {
        for (level, text) in self.store.take_notes() {
            log::say(level, &text);
        }
    }

    fn server(&self) -> String {
        text::origin(&self.settings.server)
    }
}

/// Whether a challenge asks for a nonce in the proof (RFC 9449 §9).
fn wants_nonce(headers: &HeaderMap) -> bool {
    use crate::proto::auth::challenge::Challenge;
    Challenge::parse(headers).error.as_deref() == Some("use_dpop_nonce")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "tokens expire by the wall clock, read where they are used"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
