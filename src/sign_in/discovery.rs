//! Finding out where to sign in.
//!
//! In: performing the machine of `proto::auth::discovery`, and remembering what it found. Out: its
//! decisions.

use std::sync::Arc;
use std::time::Duration;

use super::{SignIn, lock};
use crate::edge::log;
use crate::proto::auth::address::AddressPolicy;
use crate::proto::auth::challenge::Challenge;
use crate::proto::auth::discovery::{Discovered, Discovery, Fetched, Finding, Question, Step};
use crate::proto::auth::limits;
use crate::proto::auth::metadata::{ServerMetadata, same_issuer};
use crate::proto::auth::scope::Wanted;
use crate::proto::auth::settings::Grant;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::{Level, text};

impl SignIn {
    /// Which addresses may be contacted for this server.
    pub(super) async fn policy(&self) -> &AddressPolicy {
        self.policy
            .get_or_init(|| async {
                AddressPolicy {
                    server: Arc::clone(&self.settings.server),
                    reach: self.http.reach(&self.settings.server).await,
                    allow_private: self.settings.allow_private_network,
                }
            })
            .await
    }

    /// Asks the server, and who it names, where to sign in.
    pub(super) async fn discover(&self, challenge: &Challenge) -> Result<Arc<Discovered>, Failure> {
        if let Some(found) = self.fixed_endpoint() {
            return Ok(Arc::new(found));
        }
        let found = self.look_up(challenge, |_, _| {}).await?;
        Ok(self.found(found))
    }

    /// What there is to find where the user names the token endpoint.
    pub(super) fn fixed_endpoint(&self) -> Option<Discovered> {
        let endpoint = self.settings.token_endpoint.as_ref()?;
        let server = ServerMetadata {
            token_endpoint: Some(endpoint.clone()),
            issuer: text::origin(endpoint),
            ..ServerMetadata::default()
        };
        Some(Discovered {
            resource: None,
            server,
            notes: Vec::new(),
        })
    }

    /// Asks for one document after the other. `seen` hears what each came to, and how long it took.
    pub(super) async fn look_up(
        &self,
        challenge: &Challenge,
        mut seen: impl FnMut(Finding, Duration),
    ) -> Result<Discovered, Failure> {
        let policy = self.policy().await;
        let mut discovery = Discovery::new(self.question(challenge, policy));
        let deadline = tokio::time::Instant::now() + limits::DISCOVERY;
        loop {
            match discovery.step() {
                Step::Get(url) => {
                    let began = tokio::time::Instant::now();
                    let asking = self.http.metadata(&url, policy);
                    let fetched = tokio::time::timeout_at(deadline, asking).await;
                    let fetched = fetched.unwrap_or_else(|_| {
                        let seconds = limits::DISCOVERY.as_secs();
                        Fetched::Unreachable(format!(
                            "no time was left: all requests together may take {seconds} s"
                        ))
                    });
                    log::say(
                        Level::Debug,
                        &format!("metadata: {}: {}", text::public_url(&url), brief(&fetched)),
                    );
                    if let Some(finding) = discovery.take(fetched) {
                        seen(finding, began.elapsed());
                    }
                }
                Step::Done(found) => return Ok(*found),
                Step::Failed(failure) => return Err(failure),
            }
        }
    }

    fn found(&self, found: Discovered) -> Arc<Discovered> {
        for note in &found.notes {
            log::say(Level::Info, note);
        }
        let issuer = &found.server.issuer;
        let before = self.entry.state().issuer;
        if let Some(before) = before.filter(|before| !same_issuer(before, issuer)) {
            let text = format!(
                "{} moved from the authorization server {} to {}: a new sign-in is needed",
                self.server(),
                text::sanitize(&before, 200),
                text::sanitize(issuer, 200)
            );
            log::say(Level::Warn, &text);
        }
        let found = Arc::new(found);
        *lock(&self.found) = Some(Arc::clone(&found));
        found
    }

    fn question(&self, challenge: &Challenge, policy: &AddressPolicy) -> Question {
        let given = self.settings.given_client.as_ref();
        let stored = [
            given.and_then(|client| client.issuer.clone()),
            self.entry.tokens().and_then(|tokens| tokens.issuer),
            self.entry.client().and_then(|client| client.issuer),
        ];
        Question {
            server: Arc::clone(&self.settings.server),
            challenge: challenge.clone(),
            policy: policy.clone(),
            expected_issuer: self.settings.expected_issuer.clone(),
            preferred_issuers: stored.into_iter().flatten().collect(),
            needs_registration: given.is_none()
                && matches!(self.settings.grant, Grant::Browser | Grant::Device),
            has_metadata_document: self.settings.client_metadata_url.is_some(),
        }
    }

    /// Whether tokens are to be bound to a key (RFC 9449 §5): the server asks for it.
    pub(super) fn wants_proof(
        &self,
        found: &Discovered,
        challenge: &Challenge,
    ) -> Result<bool, Failure> {
        let required = found
            .resource
            .as_ref()
            .is_some_and(|resource| resource.dpop_required);
        if !required && !challenge.dpop {
            return Ok(false);
        }
        let algorithms = found.server.dpop_signing_alg_values_supported.as_deref();
        if algorithms.is_some_and(|all| !all.iter().any(|name| name == "ES256")) {
            if !required && challenge.bearer {
                return Ok(false);
            }
            let text = format!(
                "{} wants tokens that are bound to a key (DPoP), and the authorization server \
                 {} does not take ES256 keys; ask those who run the server",
                self.server(),
                text::sanitize(&found.server.issuer, 200)
            );
            return Err(Failure::new(Kind::DpopUnsupported, Executed::No, text));
        }
        Ok(required || challenge.dpop)
    }

    pub(super) fn say_scopes(wanted: &Wanted) {
        for note in &wanted.notes {
            log::say(Level::Warn, note);
        }
        let scope = wanted.scope.as_deref().unwrap_or("none");
        log::say(
            Level::Debug,
            &format!(
                "scope: {} ({:?})",
                text::sanitize(scope, 300),
                wanted.origin
            ),
        );
    }
}

fn brief(fetched: &Fetched) -> String {
    match fetched {
        Fetched::Answer { status, .. } => format!("HTTP {status}"),
        Fetched::Unreachable(text) => text.clone(),
        Fetched::Refused(failure) => failure.text.clone(),
    }
}
