//! Asking the token endpoint, and keeping what it gives.
//!
//! In: client authentication, proofs, order of writing and using. Out: forms (`proto::auth::grant`),
//! single requests (`edge/oauth`).

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::wallet::Origin;
use super::{SignIn, now};
use crate::edge::keys::{self, Signer};
use crate::edge::log;
use crate::edge::oauth::Answer;
use crate::edge::store::Lock;
use crate::proto::Level;
use crate::proto::auth::client::{self, Client, ClientAuth, Provenance as ClientProvenance};
use crate::proto::auth::grant::{self, Form};
use crate::proto::auth::metadata::ServerMetadata;
use crate::proto::auth::token::{self, TokenError, TokenType, Tokens};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::text;

/// How long new tokens wait for a process that renews old ones.
const SAVING: Duration = Duration::from_secs(2);

/// What goes into the store with tokens.
pub(super) struct Provenance<'a> {
    pub(super) server: &'a ServerMetadata,
    pub(super) client: Option<&'a Client>,
    pub(super) resource: Option<&'a str>,
    pub(super) requested_scope: Option<&'a str>,
    pub(super) origin: Origin,
}

impl SignIn {
    /// Posts a form for tokens.
    pub(super) async fn token_request(
        &self,
        server: &ServerMetadata,
        client: Option<&Client>,
        form: Form,
        proof: bool,
    ) -> Result<Tokens, Box<Refused>> {
        let Some(endpoint) = &server.token_endpoint else {
            let text = format!(
                "the authorization server {} names no token endpoint",
                text::sanitize(&server.issuer, 200)
            );
            return Err(TokenError::unreachable(text).into());
        };
        let form = identified(server, client, form, endpoint)?;
        let before = now();
        let answer = self.post(endpoint, &form, proof).await?;
        let read = token::read(
            answer.status,
            answer.content_type.as_deref(),
            answer.retry_after,
            &answer.body,
            before,
        );
        let tokens = read?;
        if proof != (tokens.token_type == TokenType::Dpop) {
            let text = if proof {
                "the token endpoint answered a proof of possession (DPoP) with a token that is not bound to the key; tell those who run it"
            } else {
                "the token endpoint gave a token bound to a key (DPoP) that nobody has; tell those who run it"
            };
            let kind = if proof {
                Kind::DpopRejected
            } else {
                Kind::DpopUnsupported
            };
            let failure = Failure::new(kind, Executed::No, text).with_status(answer.status);
            return Err(Box::new(Refused {
                sent: true,
                error: TokenError::unreachable(failure.text.clone()),
                failure: Some(failure),
            }));
        }
        Ok(tokens)
    }

    /// Posts a form; with a proof, once more if the server wants its nonce in it (RFC 9449 §8).
    pub(super) async fn post(
        &self,
        endpoint: &Url,
        form: &Form,
        proof: bool,
    ) -> Result<Answer, Box<Refused>> {
        form.secrets().iter().for_each(log::keep_out);
        let policy = self.policy().await;
        let mut tries = 0;
        loop {
            tries += 1;
            let made = proof.then(|| self.prove("POST", endpoint, None)).flatten();
            let made = made.as_ref().and_then(|value| value.to_str().ok());
            let answer = self.http.post_form(endpoint, form, policy, made).await;
            let answer = answer.map_err(|lost| {
                Box::new(Refused {
                    sent: lost.sent,
                    failure: Some(lost.failure.clone()),
                    error: lost.into(),
                })
            })?;
            let Some(nonce) = &answer.dpop_nonce else {
                return Ok(answer);
            };
            self.wallet().keep_nonce(endpoint, nonce);
            let asked = serde_json::from_slice::<serde_json::Value>(&answer.body)
                .is_ok_and(|body| body.get("error") == Some(&"use_dpop_nonce".into()));
            if !proof || !asked || tries > 1 {
                return Ok(answer);
            }
        }
    }

    /// Makes a key to bind tokens to, unless there is one.
    pub(super) fn ensure_proof_key(&self) -> Result<(), Failure> {
        if self.wallet().proof_key().is_some() {
            return Ok(());
        }
        let stored = self.entry.state().dpop_key;
        let pem = match stored {
            Some(pem) => pem,
            None => keys::proof_key()?,
        };
        let signer = Signer::from_pem(&pem, Some("ES256"))
            .map_err(|problem| Failure::new(Kind::StoreCorrupt, Executed::No, problem))?;
        self.wallet().set_proof_key(Arc::new(signer));
        self.keep(|state| state.dpop_key = Some(pem));
        Ok(())
    }

    /// Keeps what a person's sign-in brought.
    ///
    /// # Errors
    /// It is not what the user wants.
    pub(super) async fn keep_signed_in(
        &self,
        mut tokens: Tokens,
        from: &Provenance<'_>,
    ) -> Result<(), Failure> {
        if self.settings.use_id_token && tokens.id_token.is_none() {
            let text = "--use-id-token: the authorization server sent no ID token; the scope needs \"openid\" (--static-oauth-client-metadata '{\"scope\": \"openid …\"}')";
            return Err(Failure::new(Kind::TokenResponseInvalid, Executed::No, text));
        }
        if tokens.scope.is_none() {
            tokens.scope = from.requested_scope.map(str::to_owned);
        }
        // Nobody must throw away as dead what is being written; but not at the price of losing it.
        let lock = self.entry.lock(Lock::Renewal, SAVING).await;
        self.keep_tokens(tokens, from);
        drop(lock);
        log::say(Level::Info, &format!("Signed in to {}", self.server()));
        Ok(())
    }

    /// Why a person's sign-in brought no tokens. A registration that the server does not know any
    /// more is forgotten: the next attempt registers anew.
    pub(super) fn sign_in_refused(
        &self,
        client: &Client,
        server: &ServerMetadata,
        refused: &Refused,
    ) -> Failure {
        if refused.error.code.as_deref() != Some("invalid_client") {
            return refused.failure();
        }
        if client.provenance == ClientProvenance::Registered
            && let Err(failure) = self.entry.drop_client()
        {
            log::say(Level::Debug, &failure.text);
        }
        if client.provenance == ClientProvenance::Given {
            refused.failure()
        } else {
            client::rejected(client, server, &refused.error)
        }
    }

    /// Writes tokens down, then uses them. Tokens that cannot be written are used all the same.
    pub(super) fn keep_tokens(&self, mut tokens: Tokens, from: &Provenance<'_>) {
        let subject = tokens.id_token.as_ref().and_then(subject);
        tokens.issuer = Some(from.server.issuer.clone());
        tokens.requested_scope = from.requested_scope.map(str::to_owned);
        if !self.settings.use_id_token {
            tokens.id_token = None;
        }
        if let Err(failure) = self.entry.save_tokens(&tokens) {
            log::say(Level::Debug, &failure.text);
        }
        let address = |url: &Option<Url>| url.as_ref().map(Url::to_string);
        self.keep(|state| {
            state.profile.clone_from(&self.settings.profile);
            state.server = Some(text::public_url(&self.settings.server));
            state.requested_resource = from.resource.map(str::to_owned);
            state.client_id = from.client.map(|client| client.id.clone());
            state.auth_method = from.client.map(|client| client.auth.method().to_owned());
            state.token_endpoint = address(&from.server.token_endpoint);
            if from.server.revocation_endpoint.is_some() || from.origin == Origin::SignedIn {
                state.revocation_endpoint = address(&from.server.revocation_endpoint);
            }
            if subject.is_some() || from.origin == Origin::SignedIn {
                state.account = subject;
            }
            state.last_error = None;
            state.refresh_in_doubt = None;
            state.suspicious = None;
            state.pending = None;
        });
        self.wallet().adopt_stored(tokens, from.origin, &self.entry);
    }
}

/// Adds what identifies the client.
pub(super) fn identified(
    server: &ServerMetadata,
    client: Option<&Client>,
    form: Form,
    endpoint: &Url,
) -> Result<Form, Box<Refused>> {
    let Some(client) = client else {
        return Ok(form);
    };
    let claims = grant::assertion(client, &server.issuer, endpoint);
    let assertion = match (&client.auth, claims) {
        (
            ClientAuth::PrivateKeyJwt {
                algorithm,
                key,
                key_id,
            },
            Some(claims),
        ) => {
            let signer = signer(key, algorithm.as_deref(), server).map_err(Refused::untried)?;
            let jwt = keys::client_assertion(&signer, &claims, key_id.as_deref(), now() / 1000);
            Some(jwt.map_err(|failure| Refused::untried(wrong_key(&failure.text)))?)
        }
        _ => None,
    };
    Ok(form.by(client, assertion.as_ref()))
}

/// The user's key, if the server takes what it signs.
pub(super) fn signer(
    key: &Secret,
    algorithm: Option<&str>,
    server: &ServerMetadata,
) -> Result<Signer, Failure> {
    let signer = Signer::from_pem(key, algorithm).map_err(|problem| wrong_key(&problem))?;
    client::check_signing(signer.algorithm(), server)?;
    Ok(signer)
}

fn wrong_key(problem: &str) -> Failure {
    let text = format!(
        "private_key_pem of --static-oauth-client-info: {problem}; give the key as PKCS #8 PEM"
    );
    Failure::new(Kind::ClientRejected, Executed::No, text)
}

/// Why there are no tokens.
pub(super) struct Refused {
    /// The request may have reached the server although no answer came.
    pub(super) sent: bool,
    /// Why it was not even tried, or not answered.
    pub(super) failure: Option<Failure>,
    /// What the server said, or that it said nothing.
    pub(super) error: TokenError,
}

impl Refused {
    /// It was not even tried.
    fn untried(failure: Failure) -> Box<Self> {
        Box::new(Self {
            sent: false,
            error: TokenError::unreachable(failure.text.clone()),
            failure: Some(failure),
        })
    }

    /// The failure to show.
    pub(super) fn failure(&self) -> Failure {
        self.failure.clone().unwrap_or_else(|| self.error.failure())
    }
}

impl From<TokenError> for Box<Refused> {
    fn from(error: TokenError) -> Self {
        Self::new(Refused {
            sent: false,
            failure: None,
            error,
        })
    }
}

/// Whose ID token it is, as it says of itself; for show, never for a decision.
fn subject(token: &Secret) -> Option<String> {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let claims = token.reveal().split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let name = ["email", "preferred_username", "name", "sub"]
        .iter()
        .find_map(|name| claims.get(*name)?.as_str())?;
    Some(text::sanitize(name, 100))
}
