//! The tokens in use.
//!
//! In: which they are, whether they ever worked, what goes with them. Out: getting them
//! (`exchange`), files (`edge/store`).

use std::collections::HashMap;
use std::sync::Arc;

use url::Url;

use super::now;
use crate::edge::keys::Signer;
use crate::edge::log;
use crate::edge::store::{Entry, Stamp};
use crate::proto::auth::token::{TokenType, Tokens};
use crate::proto::secret::Secret;
use crate::proto::text;

/// A token that is refused this soon after it was got, and was never accepted, is no good at all.
const FRESH_MS: u64 = 60_000;

/// Servers whose last nonce is kept.
const NONCES: usize = 8;

/// Where the present tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// They were stored, by whichever process.
    Stored,
    /// They were renewed here.
    Renewed,
    /// A sign-in brought them here.
    SignedIn,
}

pub(super) struct Wallet {
    serial: u64,
    tokens: Option<Tokens>,
    stamp: Option<Stamp>,
    origin: Origin,
    since: u64,
    accepted: bool,
    /// No renewal before expiry until then, in Unix milliseconds.
    rest_until: u64,
    proof_key: Option<Arc<Signer>>,
    nonces: HashMap<String, String>,
}

impl Wallet {
    /// What is stored.
    pub(super) fn load(entry: &Entry) -> Self {
        let mut wallet = Self {
            serial: 0,
            tokens: None,
            stamp: None,
            origin: Origin::Stored,
            since: 0,
            accepted: false,
            rest_until: 0,
            proof_key: None,
            nonces: HashMap::new(),
        };
        wallet.reload(entry);
        wallet
    }

    /// Reads the store again if it changed since.
    pub(super) fn look_at(&mut self, entry: &Entry) {
        if self.tokens.is_some() && entry.tokens_stamp() != self.stamp {
            self.reload(entry);
        }
    }

    /// Reads the store. `true`: there is another access token than before.
    pub(super) fn reload(&mut self, entry: &Entry) -> bool {
        let before = std::mem::replace(&mut self.stamp, entry.tokens_stamp());
        let Some(tokens) = entry.tokens().filter(Tokens::is_sane) else {
            if before.is_some() && self.stamp.is_none() {
                // Another process signed out, or learned that they are dead.
                self.tokens = None;
            }
            return false;
        };
        if tokens.token_type == TokenType::Dpop && self.proof_key.is_none() {
            self.proof_key = entry
                .state()
                .dpop_key
                .and_then(|key| Signer::from_pem(&key, Some("ES256")).ok())
                .map(Arc::new);
            if self.proof_key.is_none() {
                return false;
            }
        }
        let is_new = self
            .tokens
            .as_ref()
            .is_none_or(|old| old.access != tokens.access);
        if is_new {
            self.adopt(tokens, Origin::Stored);
        } else {
            self.tokens = Some(tokens);
        }
        is_new
    }

    /// Uses these from now on.
    pub(super) fn adopt(&mut self, tokens: Tokens, origin: Origin) {
        self.serial += 1;
        self.tokens = Some(tokens);
        self.secrets().iter().for_each(log::keep_out);
        self.origin = origin;
        self.since = now();
        self.accepted = false;
        self.rest_until = 0;
    }

    /// Uses these, which were just written to the store.
    pub(super) fn adopt_stored(&mut self, tokens: Tokens, origin: Origin, entry: &Entry) {
        self.adopt(tokens, origin);
        self.stamp = entry.tokens_stamp();
    }

    pub(super) fn drop_tokens(&mut self, entry: &Entry) {
        self.tokens = None;
        self.stamp = entry.tokens_stamp();
    }

    /// Which tokens are in use; 0: there were never any.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether there are tokens that came after these.
    pub(super) fn has_newer_than(&self, serial: u64) -> bool {
        self.tokens.is_some() && self.serial > serial
    }

    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// What is sent to the server.
    pub(super) fn presentable(&self, id_token: bool) -> Option<(Secret, TokenType)> {
        let tokens = self.tokens.as_ref()?;
        let id = tokens.id_token.as_ref().filter(|_| id_token);
        Some((id.unwrap_or(&tokens.access).clone(), tokens.token_type))
    }

    /// The server accepted these. `true`: for the first time.
    pub(super) fn accept(&mut self, serial: u64) -> bool {
        serial == self.serial && !std::mem::replace(&mut self.accepted, true)
    }

    /// Whether the present tokens are new, were never accepted and did not just expire: other new
    /// ones will fare no better.
    pub(super) fn is_fresh_in_vain(&self) -> bool {
        let now = now();
        let tokens = self.tokens.as_ref();
        !self.accepted
            && self.origin != Origin::Stored
            && now.saturating_sub(self.since) < FRESH_MS
            && tokens.is_none_or(|tokens| !tokens.is_expired(now))
    }

    /// No renewal before expiry until then.
    pub(super) fn rest_until(&mut self, until: u64) {
        self.rest_until = self.rest_until.max(until);
    }

    pub(super) fn is_resting(&self, now: u64) -> bool {
        now < self.rest_until
    }

    pub(super) fn proof_key(&self) -> Option<Arc<Signer>> {
        self.proof_key.clone()
    }

    pub(super) fn set_proof_key(&mut self, key: Arc<Signer>) {
        self.proof_key = Some(key);
    }

    /// The last nonce of the server behind this address (RFC 9449 §8).
    pub(super) fn nonce(&self, url: &Url) -> Option<String> {
        self.nonces.get(&text::origin(url)).cloned()
    }

    pub(super) fn keep_nonce(&mut self, url: &Url, nonce: &str) {
        let origin = text::origin(url);
        if self.nonces.len() < NONCES || self.nonces.contains_key(&origin) {
            self.nonces.insert(origin, nonce.to_owned());
        }
    }

    /// Everything that must not be quoted.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let tokens = self.tokens.iter();
        tokens
            .flat_map(|tokens| {
                [
                    Some(tokens.access.clone()),
                    tokens.refresh.clone(),
                    tokens.id_token.clone(),
                ]
            })
            .flatten()
            .collect()
    }
}
