//! Signing out at the authorization server.
//!
//! In: the order (RFC 7009 §2.1). Out: forgetting it here (`edge/store`).

use std::time::Duration;

use super::SignIn;
use super::exchange::identified;
use crate::proto::auth::challenge::Challenge;
use crate::proto::auth::grant;
use crate::proto::auth::metadata::same_issuer;
use crate::proto::text;

/// Longest pause that the authorization server may ask for.
const LONGEST_PAUSE: u64 = 60;

/// What became of the tokens at the authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It does not accept them any more.
    Revoked,
    /// It offers no revocation: they are good until they expire.
    NotOffered,
    /// There were none.
    NothingToRevoke,
    /// It could not be told; a sentence.
    Failed(String),
}

impl SignIn {
    /// Revokes the stored tokens where the authorization server offers that: the refresh token
    /// first, for it is the one that lasts.
    pub async fn revoke(&self) -> Revocation {
        self.wallet().reload(&self.entry);
        let tokens = self.wallet().tokens().cloned();
        let Some(tokens) = tokens else {
            return Revocation::NothingToRevoke;
        };
        let policy = self.policy().await.clone();
        let server = match self.stored_server(&policy) {
            Some(server) => server,
            None => match self.discover(&Challenge::default()).await {
                Ok(found)
                    if tokens
                        .issuer
                        .as_ref()
                        .is_none_or(|issuer| same_issuer(issuer, &found.server.issuer)) =>
                {
                    found.server.clone()
                }
                Ok(_) => return Revocation::NotOffered,
                Err(failure) => return Revocation::Failed(failure.text),
            },
        };
        let Some(endpoint) = &server.revocation_endpoint else {
            return Revocation::NotOffered;
        };
        let client = self.known_client(&server).ok();
        let refresh = tokens
            .refresh
            .as_ref()
            .map(|token| (token, "refresh_token"));
        for (token, hint) in refresh
            .into_iter()
            .chain([(&tokens.access, "access_token")])
        {
            let mut waited = false;
            loop {
                let form = grant::revocation(token, hint);
                let form = match identified(&server, client.as_ref(), form, endpoint) {
                    Ok(form) => form,
                    Err(refused) => return Revocation::Failed(refused.failure().text),
                };
                let answer = match self.post(endpoint, &form, false).await {
                    Ok(answer) => answer,
                    Err(refused) => return Revocation::Failed(refused.failure().text),
                };
                match answer.status {
                    200..=299 => break,
                    503 if !waited => {
                        waited = true;
                        let pause = answer.retry_after.unwrap_or(1).min(LONGEST_PAUSE);
                        tokio::time::sleep(Duration::from_secs(pause)).await;
                    }
                    status => {
                        return Revocation::Failed(format!(
                            "{} answered HTTP {status}",
                            text::origin(endpoint)
                        ));
                    }
                }
            }
        }
        Revocation::Revoked
    }
}
