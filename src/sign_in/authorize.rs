//! What happens after the server refused a request: the cheapest way to other credentials first.
//!
//! In: the order. Out: each way.

use std::sync::Arc;

use super::renewal::say_warning;
use super::wallet::Origin;
use super::{SignIn, lock, now};
use crate::edge::remote::Credentials as _;
use crate::edge::store::LastError;
use crate::proto::Refused;
use crate::proto::auth::challenge::Challenge;
use crate::proto::auth::discovery::Discovered;
use crate::proto::auth::scope::{self, Wanted};
use crate::proto::auth::settings::Grant;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::text;

/// Why a person, or a machine's secret, is needed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There is no usable token.
    NoToken,
    /// The token does not allow enough.
    StepUp,
}

impl SignIn {
    /// Gets credentials other than those that were refused: from another process, by renewing
    /// them, or by signing in.
    ///
    /// # Errors
    /// What went wrong and what to do about it. Nothing that still works was thrown away.
    pub async fn authorize(self: &Arc<Self>, refused: &Refused) -> Result<(), Failure> {
        let refused = Refused {
            challenge: self.quotable(&refused.challenge),
            ..refused.clone()
        };
        let outcome = self.try_to_authorize(&refused).await;
        let outcome = outcome.map_err(|failure| Failure {
            text: self.without_secrets(&failure.text),
            ..failure
        });
        if let Err(failure) = &outcome
            && self.may_begin
        {
            let last = LastError {
                kind: failure.kind.as_str().to_owned(),
                text: failure.text.clone(),
                at: now(),
            };
            self.keep(|state| state.last_error = Some(last));
        }
        self.say_notes();
        outcome
    }

    /// The challenge with words that may be shown: servers quote the request that they refuse.
    pub(super) fn quotable(&self, challenge: &Challenge) -> Challenge {
        let shown = |text: &Option<String>| Some(self.without_secrets(text.as_ref()?));
        Challenge {
            error: shown(&challenge.error),
            error_description: shown(&challenge.error_description),
            ..challenge.clone()
        }
    }

    pub(super) fn without_secrets(&self, text: &str) -> String {
        let hidden = self.hide(text.as_bytes());
        let hidden = hidden.map(|hidden| String::from_utf8_lossy(&hidden).into_owned());
        let text = hidden.unwrap_or_else(|| text.to_owned());
        self.http.without_user_values(&text).unwrap_or(text)
    }

    async fn try_to_authorize(self: &Arc<Self>, refused: &Refused) -> Result<(), Failure> {
        let challenge = &refused.challenge;
        {
            let mut wallet = self.wallet();
            if wallet.has_newer_than(refused.credentials) {
                return Ok(());
            }
            self.entry.check()?;
            if wallet.reload(&self.entry)
                && wallet
                    .tokens()
                    .is_some_and(|tokens| !tokens.is_expired(now()))
            {
                return Ok(());
            }
        }
        if let Some(attempt) = self.running_attempt() {
            return self.join(&attempt).await;
        }
        let found = match self.discover(challenge).await {
            Ok(found) => found,
            // Who is trusted does not change in an outage, so what was trusted before still is.
            Err(failure) if failure.kind == Kind::DiscoveryUnreachable => {
                return match self.renew_in_outage(refused).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(failure),
                    Err(other) => Err(other),
                };
            }
            Err(failure) => return Err(failure),
        };
        if challenge.is_insufficient_scope() {
            return self.step_up(refused, &found).await;
        }
        let fresh_in_vain = self.wallet().is_fresh_in_vain();
        let signed_in_here = self.wallet().origin() == Origin::SignedIn;
        if fresh_in_vain && signed_in_here {
            return Err(self.refused_at_once(challenge));
        }
        if !self.settings.grant.is_renewed_by_itself() && !fresh_in_vain {
            match self.renew_refused(&found, refused.credentials).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) if failure.kind == Kind::RefreshRejected => {
                    say_warning(&failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        let wanted = scope::select(
            &self.settings,
            challenge,
            found.resource.as_ref(),
            &found.server,
        );
        self.get_tokens(&found, wanted, challenge, Why::NoToken)
            .await
    }

    /// More scope: a new token, since a renewed one never allows more (RFC 6749 §6).
    async fn step_up(
        self: &Arc<Self>,
        refused: &Refused,
        found: &Arc<Discovered>,
    ) -> Result<(), Failure> {
        let challenge = &refused.challenge;
        for operation in &refused.succeeded {
            lock(&self.step_ups).succeeded(operation);
        }
        let state = self.entry.state();
        let granted = {
            let wallet = self.wallet();
            let tokens = wallet.tokens();
            tokens.and_then(|tokens| tokens.scope.clone().or(tokens.requested_scope.clone()))
        };
        let requested = state.requested_scope.clone().or_else(|| granted.clone());
        let union = scope::step_up(
            requested.as_deref(),
            granted.as_deref(),
            challenge,
            found.resource.as_ref(),
        );
        let words = |scope: Option<&str>| text::sanitize(scope.unwrap_or("none"), 200);
        let situation = format!(
            "asked for: {}; granted: {}; wanted: {}",
            words(requested.as_deref()),
            words(granted.as_deref()),
            words(challenge.scope.as_deref()),
        );
        let Some(union) = union else {
            let what = match &challenge.error_description {
                Some(said) => format!(" (\"{}\")", text::sanitize(said, 200)),
                None => String::new(),
            };
            let text = format!(
                "{} does not allow {} with this sign-in{what}, and says nothing that could be \
                 asked for beside it; ask those who run it for the right, or sign in as \
                 somebody else ({situation})",
                self.server(),
                refused.operation
            );
            return Err(Failure::new(Kind::InsufficientScope, Executed::No, text));
        };
        let stuck = lock(&self.step_ups).is_stuck(
            &refused.operation,
            challenge.scope.as_deref(),
            granted.as_deref(),
        );
        if stuck || !lock(&self.step_ups).allow(&refused.operation) {
            let text = format!(
                "{} keeps asking for more scope for {}, however often it is granted; tell those who \
                 run it ({situation})",
                self.server(),
                refused.operation
            );
            return Err(Failure::new(Kind::ScopeLoop, Executed::No, text));
        }
        let wanted = Wanted {
            scope: Some(union),
            origin: scope::Origin::Challenge,
            notes: Vec::new(),
        };
        self.get_tokens(found, wanted, challenge, Why::StepUp).await
    }

    /// New tokens, in the way that the user chose.
    async fn get_tokens(
        self: &Arc<Self>,
        found: &Arc<Discovered>,
        wanted: Wanted,
        challenge: &Challenge,
        why: Why,
    ) -> Result<(), Failure> {
        if !self.may_begin {
            let text = format!(
                "{} wants a sign-in; sign in with \"mcp-bridge login\" and the same options",
                self.server()
            );
            return Err(Failure::new(Kind::SignInRequired, Executed::No, text));
        }
        Self::say_scopes(&wanted);
        let proof = self.wants_proof(found, challenge)?;
        match &self.settings.grant {
            Grant::Browser | Grant::Device => {
                let attempt = self.start_attempt(Arc::clone(found), wanted, proof, why);
                self.join(&attempt).await
            }
            Grant::ClientCredentials | Grant::Enterprise(_) | Grant::Workload(_) => {
                self.get_tokens_alone(found, wanted, proof).await
            }
        }
    }

    /// A token that was only just got is refused.
    fn refused_at_once(&self, challenge: &Challenge) -> Failure {
        let said = match (&challenge.error, &challenge.error_description) {
            (_, Some(said)) => format!(" (\"{}\")", text::sanitize(said, 200)),
            (Some(code), None) => format!(" ({})", text::sanitize(code, 80)),
            (None, None) => String::new(),
        };
        let text = format!(
            "{} refuses a token that was only just issued for it{said}; likely causes: the token \
             is for another audience (--resource URI, --authorize-param audience=…), another \
             tenant, or the clocks of the two servers differ",
            self.server()
        );
        Failure::new(Kind::AuthLoop, Executed::No, text)
    }
}

impl Grant {
    /// Whether new tokens cost no more than renewing old ones.
    pub(super) fn is_renewed_by_itself(&self) -> bool {
        match self {
            Self::Browser | Self::Device => false,
            Self::ClientCredentials | Self::Enterprise(_) | Self::Workload(_) => true,
        }
    }
}
