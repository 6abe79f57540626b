//! Tokens without a person: client credentials, enterprise-managed authorization, workload
//! identity.
//!
//! In: the order of requests, under the lock of all processes. Out: forms (`proto::auth::grant`,
//! `proto::auth::enterprise`).

use super::SignIn;
use super::exchange::{Provenance, Refused};
use super::wallet::Origin;
use crate::edge::log;
use crate::edge::source::read_source;
use crate::edge::store::Lock;
use crate::proto::Level;
use crate::proto::auth::challenge::Challenge;
use crate::proto::auth::client::{Choice, Client};
use crate::proto::auth::discovery::{Discovered, Discovery, Step};
use crate::proto::auth::grant::Form;
use crate::proto::auth::scope::{self, Wanted};
use crate::proto::auth::settings::{Enterprise, Grant};
use crate::proto::auth::{authorize, client, enterprise, grant, limits};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::text;

impl SignIn {
    /// Before expiry.
    pub(super) async fn renew_machine_tokens(&self) -> Result<(), Failure> {
        let challenge = Challenge::default();
        let found = self.discover(&challenge).await?;
        let mut wanted = scope::select(
            &self.settings,
            &challenge,
            found.resource.as_ref(),
            &found.server,
        );
        let requested = self.entry.state().requested_scope;
        if requested.is_some() {
            wanted.scope = requested;
        }
        let proof = self.wallet().proof_key().is_some();
        self.get_tokens_alone(&found, wanted, proof).await
    }

    pub(super) async fn get_tokens_alone(
        &self,
        found: &Discovered,
        wanted: Wanted,
        proof: bool,
    ) -> Result<(), Failure> {
        let refused = self.wallet().tokens().map(|tokens| tokens.access.clone());
        let _lock = self.entry.lock(Lock::Renewal, limits::LOCK_WAIT).await?;
        self.wallet().reload(&self.entry);
        let is_there = self.wallet().tokens().is_some_and(|tokens| {
            Some(&tokens.access) != refused.as_ref() && !tokens.is_due(super::now(), self.spread)
        });
        if is_there {
            return Ok(());
        }
        if proof {
            self.ensure_proof_key()?;
        }
        let resource = found.resource.as_ref();
        let resource = resource.map(|resource| resource.resource.as_str());
        let resource = match &self.settings.token_endpoint {
            Some(_) => self.settings.fixed_resource().map(str::to_owned),
            None => authorize::resource(&self.settings, resource),
        };
        let scope = wanted.scope.as_deref();
        let (client, form) = self.assemble(found, scope, resource.as_deref()).await?;
        let asked = self
            .token_request(&found.server, client.as_ref(), form, proof)
            .await;
        let mut tokens = asked.map_err(|refused| self.explained(&refused, &found.server.issuer))?;
        // Asking again costs no more, and keeps no other secret (RFC 6749 §4.4.3).
        tokens.refresh = None;
        if tokens.scope.is_none() {
            tokens.scope.clone_from(&wanted.scope);
        }
        let provenance = Provenance {
            server: &found.server,
            client: client.as_ref(),
            resource: resource.as_deref(),
            requested_scope: scope,
            origin: Origin::SignedIn,
        };
        self.keep_tokens(tokens, &provenance);
        log::say(Level::Info, &format!("Signed in to {}", self.server()));
        Ok(())
    }

    async fn assemble(
        &self,
        found: &Discovered,
        scope: Option<&str>,
        resource: Option<&str>,
    ) -> Result<(Option<Client>, Form), Failure> {
        match &self.settings.grant {
            Grant::Workload(source) => {
                let token = read_source(source).await?;
                Ok((None, grant::jwt_bearer(&token, scope, resource)))
            }
            Grant::Enterprise(idp) => {
                let client = self.machine_client(found)?;
                let assertion = self.enterprise_assertion(idp, found, scope).await?;
                let form = grant::jwt_bearer(&assertion, scope, resource);
                Ok((Some(client), form))
            }
            Grant::ClientCredentials | Grant::Browser | Grant::Device => {
                let client = self.machine_client(found)?;
                Ok((Some(client), grant::client_credentials(scope, resource)))
            }
        }
    }

    /// The client the user gave: machines are registered beforehand.
    pub(super) fn machine_client(&self, found: &Discovered) -> Result<Client, Failure> {
        match client::choose(
            &self.settings,
            &found.server,
            None,
            None,
            super::now() / 1000,
        )? {
            Choice::Use(client) => Ok(client),
            Choice::Register(_) => {
                let text = "this grant needs a client that is registered beforehand: name it with --static-oauth-client-info";
                Err(Failure::new(Kind::NoRegistrationMethod, Executed::No, text))
            }
        }
    }

    /// Step one: the identity provider's word for the person (RFC 8693).
    async fn enterprise_assertion(
        &self,
        idp: &Enterprise,
        found: &Discovered,
        scope: Option<&str>,
    ) -> Result<Secret, Failure> {
        let endpoint = match &idp.token_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => self.idp_token_endpoint(idp).await?,
        };
        let subject = read_source(&idp.subject).await.map_err(|failure| {
            let text = format!("--enterprise-idp: {}", failure.text);
            Failure::new(Kind::SignInRequired, Executed::No, text)
        })?;
        let resource = found.resource.as_ref();
        let resource = resource.map(|resource| resource.resource.as_str());
        // The exchange names the resource whatever the second step leaves out.
        let resource = authorize::resource(&self.settings, resource)
            .or_else(|| resource.map(str::to_owned))
            .unwrap_or_else(|| text::public_url(&self.settings.server));
        let form = enterprise::exchange(idp, &subject, &found.server.issuer, &resource, scope);
        let answer = self.post(&endpoint, &form, false).await;
        let answer = answer.map_err(|refused| refused.failure())?;
        enterprise::assertion(answer.status, &answer.body)
            .map_err(|error| enterprise::failure(idp, &error))
    }

    pub(super) async fn idp_token_endpoint(&self, idp: &Enterprise) -> Result<url::Url, Failure> {
        let missing = || {
            let text = "--enterprise-idp names neither a token_endpoint nor an issuer that says where it is; add the token_endpoint";
            Failure::new(Kind::DiscoveryFailed, Executed::No, text)
        };
        let issuer = idp.issuer.as_ref().ok_or_else(missing)?;
        let policy = self.policy().await;
        let mut discovery = Discovery::of_issuer(issuer, policy.clone());
        loop {
            match discovery.step() {
                Step::Get(url) => {
                    discovery.take(self.http.metadata(&url, policy).await);
                }
                Step::Done(found) => return found.server.token_endpoint.ok_or_else(missing),
                Step::Failed(failure) => {
                    let text = format!(
                        "--enterprise-idp: the metadata of the issuer {} cannot be used; name its \
                         token_endpoint there",
                        text::sanitize(issuer, 200)
                    );
                    log::say(Level::Debug, &failure.text);
                    return Err(Failure { text, ..failure });
                }
            }
        }
    }

    /// What a refusal means for this grant.
    fn explained(&self, refused: &Refused, issuer: &str) -> Failure {
        let assertion = match &self.settings.grant {
            Grant::Workload(_) => "the token of --workload-jwt",
            Grant::Enterprise(_) => "the grant of the organisation's identity provider",
            Grant::ClientCredentials | Grant::Browser | Grant::Device => return refused.failure(),
        };
        if refused.failure.is_some() {
            return refused.failure();
        }
        let issuer = text::sanitize(issuer, 200);
        let assertion = format!("{assertion} (its audience has to be {issuer})");
        refused.error.assertion_failure(&assertion)
    }
}
