//! Becoming a client of the authorization server.
//!
//! In: performing what `proto::auth::client` chooses, registration included. Out: choosing.

use super::{SignIn, now};
use crate::edge::log;
use crate::proto::auth::client::{
    self, Choice, Client, ClientAuth, Provenance, Registered, RegistrationRefusal,
};
use crate::proto::auth::metadata::ServerMetadata;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::{Level, text};

/// A client, and whether it was registered just now.
pub(super) struct Identity {
    pub(super) client: Client,
    pub(super) is_new: bool,
}

impl SignIn {
    /// The identity to sign in with. `anew`: a stored registration is not used.
    pub(super) async fn identity(
        &self,
        server: &ServerMetadata,
        redirect_uri: Option<&str>,
        scope: Option<&str>,
        anew: bool,
    ) -> Result<Identity, Failure> {
        let why = match self.choice(server, redirect_uri, anew)? {
            Choice::Use(client) => {
                return Ok(Identity {
                    client,
                    is_new: false,
                });
            }
            Choice::Register(why) => why,
        };
        if let Some(why) = why {
            log::say(Level::Info, &why);
        }
        let client = self.register(server, redirect_uri, scope).await?;
        if let Err(failure) = self.entry.save_client(&client) {
            log::say(Level::Debug, &failure.text);
        }
        self.say_notes();
        Ok(Identity {
            client,
            is_new: true,
        })
    }

    /// The identity to sign in with, or that one is to be registered. `anew` as in
    /// [`Self::identity`].
    pub(super) fn choice(
        &self,
        server: &ServerMetadata,
        redirect_uri: Option<&str>,
        anew: bool,
    ) -> Result<Choice, Failure> {
        let stored = self.stored_client().filter(|_| !anew);
        client::choose(
            &self.settings,
            server,
            stored.as_ref(),
            redirect_uri,
            now() / 1000,
        )
    }

    /// The registration in the store; of a client that the user gave, what is known is the issuer
    /// it was used with.
    fn stored_client(&self) -> Option<Client> {
        let Some(given) = &self.settings.given_client else {
            return self.entry.client();
        };
        let state = self.entry.state();
        let issuer = state
            .issuer
            .filter(|_| state.client_id.as_ref() == Some(&given.id))?;
        Some(Client {
            id: given.id.clone(),
            auth: ClientAuth::None,
            provenance: Provenance::Given,
            redirect_uris: Vec::new(),
            issuer: Some(issuer),
            scope: None,
            secret_expires_at: None,
            registered: Registered::default(),
        })
    }

    async fn register(
        &self,
        server: &ServerMetadata,
        redirect_uri: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Client, Failure> {
        let mut refusal: Option<Box<RegistrationRefusal>> = None;
        loop {
            let body = client::registration(
                &self.settings,
                server,
                redirect_uri,
                scope,
                refusal.as_deref(),
            );
            let Some(endpoint) = &server.registration_endpoint else {
                let text = format!(
                    "{} offers no registration; name a client with --static-oauth-client-info",
                    text::sanitize(&server.issuer, 200)
                );
                return Err(Failure::new(Kind::NoRegistrationMethod, Executed::No, text));
            };
            let policy = self.policy().await;
            let answer = self.http.post_json(endpoint, &body, None, policy).await;
            let answer = answer.map_err(|lost| lost.failure)?;
            match client::registered(&self.settings, server, &body, answer.status, &answer.body) {
                Ok(client) => {
                    log::say(Level::Debug, "registered as a new client");
                    return Ok(client);
                }
                Err(again) if again.worth_a_retry && refusal.is_none() => {
                    log::say(
                        Level::Debug,
                        &format!("{}; trying once more", again.failure.text),
                    );
                    refusal = Some(again);
                }
                Err(last) => return Err(last.failure),
            }
        }
    }

    /// The identity that got the stored tokens, for renewing them.
    pub(super) fn known_client(&self, server: &ServerMetadata) -> Result<Client, Failure> {
        let stored = self.stored_client();
        match client::choose(&self.settings, server, stored.as_ref(), None, now() / 1000)? {
            Choice::Use(client) => Ok(client),
            Choice::Register(_) => {
                let text = format!(
                    "the client that signed in at {} is not known any more; sign in again",
                    text::sanitize(&server.issuer, 200)
                );
                Err(Failure::new(Kind::RefreshRejected, Executed::No, text))
            }
        }
    }
}
