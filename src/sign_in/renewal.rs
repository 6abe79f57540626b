//! Renewing tokens: one at a time in this process and across all of them, and never at the cost of
//! credentials that still work (RFC 6749 §6, RFC 9700 §4.14).
//!
//! In: when, under which locks, and what a refusal changes. Out: the request (`exchange`), signing
//! in again (`authorize`).

use std::sync::Arc;
use std::time::Duration;

use super::exchange::{Provenance, Refused};
use super::wallet::Origin;
use super::{SignIn, now};
use crate::edge::log;
use crate::edge::store::{Lock, Suspicion, fingerprint};
use crate::proto::auth::address::AddressPolicy;
use crate::proto::auth::challenge::Challenge;
use crate::proto::auth::client::{self, Client, Provenance as ClientProvenance};
use crate::proto::auth::discovery::Discovered;
use crate::proto::auth::metadata::{ServerMetadata, same_issuer};
use crate::proto::auth::token::{Refusal, TokenError, TokenType, Tokens};
use crate::proto::auth::{authorize, grant, limits, quirks};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::{Level, Refused as Refusal401, text};

/// How long a request waits for a renewal while its token still works.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after a renewal before expiry failed, in milliseconds: the token still works.
const REST_MS: u64 = 10_000;

impl SignIn {
    /// Renews a token that is about to expire. Whatever goes wrong shows when the server refuses
    /// the old one.
    pub(super) async fn renew_if_due(&self) {
        if !self.is_due() {
            return;
        }
        let Some(this) = self.this.upgrade() else {
            return;
        };
        let renewal = tokio::spawn(async move { this.renew_due().await });
        let is_expired = self
            .wallet()
            .tokens()
            .is_some_and(|tokens| tokens.is_expired(now()));
        // A task that crashed has renewed nothing, which shows by itself.
        if is_expired {
            let _ = renewal.await;
        } else if tokio::time::timeout(PATIENCE, renewal).await.is_err() {
            self.wallet().rest_until(now() + REST_MS);
        }
    }

    async fn renew_due(&self) {
        let _one_at_a_time = self.renewing.lock().await;
        self.wallet().look_at(&self.entry);
        if !self.is_due() {
            return;
        }
        let outcome = if self.settings.grant.is_renewed_by_itself() {
            self.renew_machine_tokens().await
        } else {
            self.renew_stored().await
        };
        if let Err(failure) = outcome {
            say_warning(&failure);
            self.wallet().rest_until(now() + REST_MS);
        }
    }

    fn is_due(&self) -> bool {
        let wallet = self.wallet();
        let renewable = self.settings.grant.is_renewed_by_itself();
        wallet.tokens().is_some_and(|tokens| {
            (tokens.refresh.is_some() || renewable) && tokens.is_due(now(), self.spread)
        }) && !wallet.is_resting(now())
    }

    /// Before expiry: at the token endpoint that gave the tokens, without asking the server.
    async fn renew_stored(&self) -> Result<(), Failure> {
        let policy = self.policy().await.clone();
        if let Some(server) = self.stored_server(&policy) {
            let resource = self.stored_resource();
            return self.renew_locked(server, resource, None).await.map(drop);
        }
        let found = self.discover(&Challenge::default()).await?;
        let is_owner = {
            let wallet = self.wallet();
            let tokens = wallet.tokens();
            tokens.is_some_and(|tokens| belongs_to(tokens, &found.server.issuer))
        };
        if !is_owner {
            return Ok(());
        }
        let resource = self.resource_of(&found);
        let renewal = self.renew_locked(found.server.clone(), resource, None);
        renewal.await.map(drop)
    }

    fn resource_of(&self, found: &Discovered) -> Option<String> {
        let resource = found.resource.as_ref();
        let resource = resource.map(|resource| resource.resource.as_str());
        authorize::resource(&self.settings, resource)
    }

    /// After a refusal, while nobody can say where to sign in: at the endpoint of before.
    /// `Ok(false)` if nothing is known of it, or the refusal is for want of scope.
    pub(super) async fn renew_in_outage(&self, refused: &Refusal401) -> Result<bool, Failure> {
        if refused.challenge.is_insufficient_scope() || self.wallet().is_fresh_in_vain() {
            return Ok(false);
        }
        let policy = self.policy().await.clone();
        let Some(server) = self.stored_server(&policy) else {
            return Ok(false);
        };
        let _one_at_a_time = self.renewing.lock().await;
        if self.wallet().has_newer_than(refused.credentials) {
            return Ok(true);
        }
        let access = self.wallet().tokens().map(|tokens| tokens.access.clone());
        self.renew_locked(server, self.stored_resource(), access)
            .await
    }

    /// After a refusal: `Ok(false)` if there is nothing to renew with.
    pub(super) async fn renew_refused(
        &self,
        found: &Arc<Discovered>,
        refused: u64,
    ) -> Result<bool, Failure> {
        let _one_at_a_time = self.renewing.lock().await;
        if self.wallet().has_newer_than(refused) {
            return Ok(true);
        }
        let refused = {
            let wallet = self.wallet();
            let Some(tokens) = wallet.tokens() else {
                return Ok(false);
            };
            if tokens.refresh.is_none() || !belongs_to(tokens, &found.server.issuer) {
                return Ok(false);
            }
            tokens.access.clone()
        };
        let resource = self.resource_of(found);
        self.renew_locked(found.server.clone(), resource, Some(refused))
            .await
    }

    /// Under the locks of all processes, and to its end whoever waits for it: a refresh token that
    /// was presented may be used up. `refused`: the access token that must not come out of it
    /// again. `Ok(false)`: there is nothing to renew with.
    async fn renew_locked(
        &self,
        server: ServerMetadata,
        resource: Option<String>,
        refused: Option<Secret>,
    ) -> Result<bool, Failure> {
        let Some(this) = self.this.upgrade() else {
            return Ok(false);
        };
        let renewal = async move { this.renew_alone(&server, resource, refused.as_ref()).await };
        tokio::spawn(renewal).await.unwrap_or_else(|_| {
            let text = "the renewal crashed; please report this with the output of --debug";
            Err(Failure::new(Kind::RefreshUnavailable, Executed::No, text))
        })
    }

    async fn renew_alone(
        &self,
        server: &ServerMetadata,
        resource: Option<String>,
        refused: Option<&Secret>,
    ) -> Result<bool, Failure> {
        let _lock = self.entry.lock(Lock::Renewal, limits::LOCK_WAIT).await?;
        let _lease = self.entry.lease(limits::LOCK_WAIT).await?;
        self.wallet().reload(&self.entry);
        let tokens = self.wallet().tokens().cloned();
        let Some(tokens) = tokens else {
            return Ok(false);
        };
        let usable = match refused {
            Some(refused) => tokens.access != *refused && !tokens.is_expired(now()),
            None => !tokens.is_due(now(), self.spread),
        };
        if usable {
            return Ok(true);
        }
        if tokens.refresh.is_none() {
            return Ok(false);
        }
        let is_early = refused.is_none() && !tokens.is_expired(now());
        let renewal = self.renew(server, resource, &tokens, is_early);
        renewal.await.map(|()| true)
    }

    /// `is_early`: the old token still works, so that nobody is to wait for a server in trouble.
    async fn renew(
        &self,
        server: &ServerMetadata,
        resource: Option<String>,
        tokens: &Tokens,
        is_early: bool,
    ) -> Result<(), Failure> {
        let Some(refresh) = &tokens.refresh else {
            return Ok(());
        };
        let client = self.known_client(server)?;
        let proof = tokens.token_type == TokenType::Dpop;
        let state = self.entry.state();
        let requested = state.requested_scope.clone();
        let mark = fingerprint(refresh);
        let was_in_doubt = state.refresh_in_doubt.as_ref() == Some(&mark);
        let _critical = self.critical.read().await;
        self.keep(|state| state.refresh_in_doubt = Some(mark.clone()));
        let mut scope = None;
        if quirks::of(&server.issuer).refresh_needs_scope {
            scope = tokens.scope.clone().or_else(|| requested.clone());
        }
        // It was asked for with a scope.
        let mut with_scope = scope.is_some();
        let (mut tries, mut lost_once) = (0, false);
        loop {
            let form = grant::refresh(refresh, scope.as_deref(), resource.as_deref());
            let asked = self.token_request(server, Some(&client), form, proof).await;
            let refused = match asked {
                Ok(answer) => {
                    let provenance = Provenance {
                        server,
                        client: Some(&client),
                        resource: resource.as_deref(),
                        requested_scope: requested.as_deref(),
                        origin: Origin::Renewed,
                    };
                    self.keep_tokens(tokens.renewed(answer), &provenance);
                    log::say(Level::Debug, "the access token was renewed");
                    return Ok(());
                }
                Err(refused) => refused,
            };
            if refused.error.status != 0 && self.entry.state().refresh_in_doubt.is_some() {
                self.keep(|state| state.refresh_in_doubt = None);
            }
            if let Some(failure) = refused.failure.clone().filter(|_| !may_pass(&refused)) {
                return Err(failure);
            }
            match refused.error.refusal() {
                Refusal::WithoutScope if scope.take().is_some() => with_scope = true,
                Refusal::Suspicious | Refusal::WithoutScope
                    if wants_scope(&refused.error)
                        && scope.is_none()
                        && !std::mem::replace(&mut with_scope, true)
                        && (tokens.scope.is_some() || requested.is_some()) =>
                {
                    scope = tokens.scope.clone().or_else(|| requested.clone());
                }
                Refusal::Temporary if refused.sent && !std::mem::replace(&mut lost_once, true) => {}
                Refusal::Temporary => {
                    tries += 1;
                    match refused.error.pause(tries) {
                        Some(pause) if is_early => {
                            let pause = u64::try_from(pause.as_millis()).unwrap_or(REST_MS);
                            self.wallet().rest_until(now().saturating_add(pause));
                            return Err(unavailable(server, &refused.error));
                        }
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(unavailable(server, &refused.error)),
                    }
                }
                Refusal::Suspicious | Refusal::WithoutScope => {
                    return self.renewal_suspicious(server, &mark, &refused.error);
                }
                Refusal::Dead => {
                    let lost = lost_once || was_in_doubt;
                    return self.renewal_dead(server, lost, &refused.error);
                }
                Refusal::ClientUnknown => return self.client_unknown(server, &client, &refused),
            }
        }
    }

    /// The refresh token is dead. What another process wrote meanwhile is kept.
    fn renewal_dead(
        &self,
        server: &ServerMetadata,
        was_lost: bool,
        error: &TokenError,
    ) -> Result<(), Failure> {
        if self.wallet().reload(&self.entry) {
            return Ok(());
        }
        if let Err(failure) = self.entry.drop_tokens() {
            log::say(Level::Debug, &failure.text);
        }
        self.keep(|state| {
            state.refresh_in_doubt = None;
            state.suspicious = None;
        });
        self.wallet().drop_tokens(&self.entry);
        let lost = if was_lost {
            "; its answer to the request before was probably lost on the way"
        } else {
            ""
        };
        let text = format!(
            "{} ended the sign-in ({}){lost}; sign in again",
            text::sanitize(&server.issuer, 200),
            error.text
        );
        Err(Failure::new(Kind::RefreshRejected, Executed::No, text))
    }

    /// A refusal that may mean anything: it counts the second time.
    fn renewal_suspicious(
        &self,
        server: &ServerMetadata,
        mark: &str,
        error: &TokenError,
    ) -> Result<(), Failure> {
        let code = error.code.clone().unwrap_or_default();
        let suspicion = Suspicion {
            refresh: mark.to_owned(),
            code,
        };
        if self.entry.state().suspicious.as_ref() == Some(&suspicion) {
            return self.renewal_dead(server, false, error);
        }
        self.keep(|state| state.suspicious = Some(suspicion));
        Err(unavailable(server, error))
    }

    /// The authorization server forgot the client, or never knew it.
    fn client_unknown(
        &self,
        server: &ServerMetadata,
        client: &Client,
        refused: &Refused,
    ) -> Result<(), Failure> {
        if client.provenance != ClientProvenance::Registered {
            return Err(client::rejected(client, server, &refused.error));
        }
        for dropped in [self.entry.drop_client(), self.entry.drop_tokens()] {
            if let Err(failure) = dropped {
                log::say(Level::Debug, &failure.text);
            }
        }
        self.wallet().drop_tokens(&self.entry);
        let text = format!(
            "{} does not know this client any more ({}); registering again and signing in again",
            text::sanitize(&server.issuer, 200),
            refused.error.text
        );
        Err(Failure::new(Kind::RefreshRejected, Executed::No, text))
    }

    /// The token endpoint that gave the stored tokens, as far as that is known and still allowed.
    pub(super) fn stored_server(&self, policy: &AddressPolicy) -> Option<ServerMetadata> {
        let state = self.entry.state();
        let tokens_issuer = self.wallet().tokens()?.issuer.clone();
        let issuer = state.issuer?;
        if tokens_issuer.is_some_and(|other| !same_issuer(&other, &issuer)) {
            return None;
        }
        let endpoint = policy
            .parse("token_endpoint", &state.token_endpoint?)
            .ok()?;
        let revocation = state
            .revocation_endpoint
            .and_then(|url| policy.parse("revocation_endpoint", &url).ok());
        Some(ServerMetadata {
            issuer,
            token_endpoint_auth_methods_supported: state.auth_method.map(|method| vec![method]),
            token_endpoint: Some(endpoint),
            revocation_endpoint: revocation,
            ..ServerMetadata::default()
        })
    }

    fn stored_resource(&self) -> Option<String> {
        let state = self.entry.state();
        match state.requested_resource {
            Some(resource) => Some(resource),
            // It was left out when the tokens were asked for.
            None if state.token_endpoint.is_some() => None,
            None => authorize::resource(&self.settings, None),
        }
    }
}

/// Whether tokens may be shown to this authorization server; those of nobody known may.
fn belongs_to(tokens: &Tokens, issuer: &str) -> bool {
    let owner = tokens.issuer.as_deref();
    owner.is_none_or(|owner| same_issuer(owner, issuer))
}

/// Whether a request that was not answered may be repeated.
fn may_pass(refused: &Refused) -> bool {
    refused.failure.as_ref().is_none_or(|failure| {
        matches!(
            failure.kind,
            Kind::RefreshUnavailable | Kind::Connect | Kind::Timeout | Kind::StreamEnded
        )
    })
}

/// Whether a refusal is about a scope that was not repeated, as some servers want it.
fn wants_scope(error: &TokenError) -> bool {
    let said = error.description.as_deref().unwrap_or_default();
    error.code.as_deref() == Some("invalid_scope") || said.to_lowercase().contains("scope")
}

/// The failure of a renewal that may work later.
fn unavailable(server: &ServerMetadata, error: &TokenError) -> Failure {
    let text = format!(
        "the sign-in at {} could not be renewed just now: {}; nothing is lost, the next \
         request tries again",
        text::sanitize(&server.issuer, 200),
        error.text
    );
    let failure = Failure::new(Kind::RefreshUnavailable, Executed::No, text);
    match error.status {
        0 => failure,
        status => failure.with_status(status),
    }
}

/// Says a failure that something else follows from.
pub(super) fn say_warning(failure: &Failure) {
    let kind = failure.kind.as_str();
    log::say(Level::Warn, &format!("{} [{kind}]", failure.text));
}
