//! Looking at everything that a sign-in needs, without signing in.
//!
//! In: the steps of a sign-in up to the person. Out: taking them (the other files here), what a
//! finding means (`proto::doctor::sign_in`), showing it (`commands/doctor`).

use std::time::{Duration, UNIX_EPOCH};

use super::device::device_endpoint;
use super::exchange::signer;
use super::{SignIn, now};
use crate::edge::callback::Listener;
use crate::edge::log;
use crate::edge::source::read_source;
use crate::edge::store::{State, fingerprint};
use crate::proto::auth::challenge::Challenge;
use crate::proto::auth::client::{Choice, ClientAuth};
use crate::proto::auth::discovery::Discovered;
use crate::proto::auth::limits;
use crate::proto::auth::metadata::{ServerMetadata, same_issuer};
use crate::proto::auth::scope;
use crate::proto::auth::settings::{DEVICE_GRANT, Enterprise, Grant, JWT_GRANT, Source};
use crate::proto::auth::token::{TokenType, Tokens};
use crate::proto::doctor::sign_in::{self as judge, Callback, Renewal, Stored};
use crate::proto::doctor::{Check, Mark};
use crate::proto::failure::{Failure, Kind};
use crate::proto::text;

impl SignIn {
    /// Whose sign-in is stored, as the authorization server's ID token names them.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        self.entry.state().account
    }

    /// Whether anybody is signed in.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.entry.tokens().is_some()
    }

    /// Whether it takes a person to sign in.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        !self.settings.grant.is_renewed_by_itself()
    }

    /// What is stored: whether there is a token, until when, whether it is renewed by itself
    /// (`stored-sign-in`), and what is wrong with where it is kept (`store`); what went wrong the
    /// last time (`last-error`), a sign-in that is not finished (`pending-sign-in`), and whether
    /// there were too many (`sign-in-pause`). Asks nobody.
    #[must_use]
    pub fn examine_stored(&self) -> Vec<Check> {
        let (tokens, state, now) = (self.entry.tokens(), self.entry.state(), now());
        let faults = self.store.faults().into_iter();
        let mut checks: Vec<Check> = faults
            .map(|fault| judge::store(fault.kind, &fault.text, fault.is_mended, tokens.is_some()))
            .collect();
        checks.push(match &tokens {
            None => Check::good("stored-sign-in", "nobody is signed in here"),
            Some(tokens) => self.examine_tokens(tokens, &state, now),
        });
        if let Some(error) = &state.last_error {
            checks.push(judge::last_error(&error.kind, &error.text, error.at, now));
        }
        if let Some(pending) = &state.pending
            && Duration::from_millis(now.saturating_sub(pending.since)) < limits::STATE
        {
            checks.push(judge::pending(pending.pid, pending.since, now));
        }
        if !state.brake.allows(now) {
            checks.push(judge::brake(state.brake.opened.len()));
        }
        self.quotable_checks(checks)
    }

    /// Every metadata document one by one (`resource-metadata`, `server-metadata`), what was said
    /// about them (`discovery`), the issuer (`issuer`), the scopes to ask for (`scope`), who we
    /// would be (`client`), and what else the way to sign in needs: PKCE (`pkce`), where the browser
    /// comes back to (`callback`), whether one opens (`browser`); `token-endpoint`,
    /// `device-authorization`, `identity-provider`, `subject-token`; a key to bind tokens to
    /// (`dpop`). Registers nothing, stores nothing, opens nothing, and sends no secret.
    pub async fn examine(&self, challenge: &Challenge) -> Vec<Check> {
        let challenge = self.quotable(challenge);
        let (mut checks, found) = self.examine_documents(&challenge).await;
        if let Some(found) = found {
            let (more, is_usable) = self.examine_issuer(&found).await;
            checks.extend(more);
            if is_usable {
                checks.extend(self.examine_grant(&found, &challenge).await);
            }
        }
        self.quotable_checks(checks)
    }

    fn examine_tokens(&self, tokens: &Tokens, state: &State, now: u64) -> Check {
        if tokens.token_type == TokenType::Dpop && state.dpop_key.is_none() {
            let text = "the stored token is bound to a key that is not there any more";
            return Check::bad("stored-sign-in", text, judge::SIGN_IN)
                .with_flag("--login")
                .of_kind(Kind::StoreCorrupt);
        }
        let is_ours = state.is_about(tokens);
        let until = tokens
            .expires_at
            .map(|at| log::iso8601(UNIX_EPOCH + Duration::from_millis(at)));
        judge::stored(&Stored {
            tokens,
            account: state.account.as_deref().filter(|_| is_ours),
            writer: if is_ours { "mcp-bridge" } else { "mcp-remote" },
            until: until.as_deref(),
            renewal: self.renewal(tokens, state),
            now,
        })
    }

    fn renewal(&self, tokens: &Tokens, state: &State) -> Renewal {
        if self.settings.grant.is_renewed_by_itself() {
            return Renewal::ByItself;
        }
        let Some(mark) = tokens.refresh.as_ref().map(fingerprint) else {
            return Renewal::Never;
        };
        let suspicion = state.suspicious.as_ref();
        if suspicion.is_some_and(|suspicion| suspicion.refresh == mark) {
            Renewal::InDoubt("the authorization server refused to renew it once")
        } else if state.refresh_in_doubt.as_ref() == Some(&mark) {
            Renewal::InDoubt("the last renewal was not answered, so it may be used up")
        } else {
            Renewal::ByItself
        }
    }

    async fn examine_documents(&self, challenge: &Challenge) -> (Vec<Check>, Option<Discovered>) {
        if let Some(found) = self.fixed_endpoint() {
            return (Vec::new(), Some(found));
        }
        let mut findings = Vec::new();
        let looked = self
            .look_up(challenge, |finding, took| {
                let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                findings.push((finding, millis));
            })
            .await;
        let checks = judge::documents(&findings, looked.as_ref().err());
        (checks, looked.ok())
    }

    /// Who gives the tokens, and whether it makes sense to go on.
    async fn examine_issuer(&self, found: &Discovered) -> (Vec<Check>, bool) {
        let notes = found.notes.iter();
        let mut checks: Vec<Check> = notes
            .map(|note| Check::good("discovery", note.clone()))
            .collect();
        let mut is_usable = true;
        if found.server.assumed {
            let check = self.examine_assumed(&found.server).await;
            is_usable = check.mark != Mark::Bad;
            checks.push(check);
        }
        if is_usable {
            let issuer = &found.server.issuer;
            let before = self.entry.state().issuer;
            let before = before.filter(|before| !same_issuer(before, issuer));
            checks.push(judge::issuer(issuer, before.as_deref()));
        }
        (checks, is_usable)
    }

    /// Whether there is anything at the addresses that are taken where nobody names others.
    async fn examine_assumed(&self, server: &ServerMetadata) -> Check {
        let by_person = matches!(self.settings.grant, Grant::Browser | Grant::Device);
        let endpoint = if by_person {
            &server.authorization_endpoint
        } else {
            &server.token_endpoint
        };
        let policy = self.policy().await;
        let status = match endpoint {
            Some(endpoint) => self.http.look(endpoint, policy).await,
            None => None,
        };
        let status = status.map(|answer| answer.status);
        // People are sent to the first of them with GET (RFC 6749 §3.1); programs ask the other
        // with POST alone, and with credentials.
        let is_there = match status {
            None | Some(404 | 410 | 501) => false,
            Some(401 | 403 | 405) => !by_person,
            Some(_) => true,
        };
        let endpoint = endpoint.as_ref().map(text::public_url);
        judge::assumed(&endpoint.unwrap_or_default(), status, is_there)
    }

    async fn examine_grant(&self, found: &Discovered, challenge: &Challenge) -> Vec<Check> {
        let server = &found.server;
        let mut checks = match &self.settings.grant {
            Grant::Browser => {
                let by_user = self.settings.allow_missing_pkce;
                vec![judge::code_flow(
                    server,
                    self.may_lack_pkce(server),
                    by_user,
                )]
            }
            Grant::Device => vec![
                examine_device(server),
                judge::token_endpoint(server, DEVICE_GRANT),
            ],
            Grant::ClientCredentials => vec![judge::token_endpoint(server, "client_credentials")],
            Grant::Enterprise(idp) => vec![
                self.examine_idp(idp).await,
                examine_source(&idp.subject).await,
                judge::token_endpoint(server, JWT_GRANT),
            ],
            Grant::Workload(source) => vec![
                examine_source(source).await,
                judge::token_endpoint(server, JWT_GRANT),
            ],
        };
        match self.wants_proof(found, challenge) {
            Ok(false) => {}
            Ok(true) => checks.push(Check::good("dpop", "tokens are bound to a key (ES256)")),
            Err(failure) => checks.push(judge::failed("dpop", &failure)),
        }
        checks.extend(self.examine_scope(found, challenge));
        match &self.settings.grant {
            Grant::Browser => {
                let (callback, address) = self.examine_callback().await;
                let choice = self.choice(server, address.as_deref(), false);
                checks.push(examine_client(server, choice));
                checks.push(callback);
                checks.push(self.examine_browser(server));
            }
            Grant::Device => checks.push(examine_client(server, self.choice(server, None, false))),
            Grant::ClientCredentials | Grant::Enterprise(_) => {
                let client = self.machine_client(found).map(Choice::Use);
                checks.push(examine_client(server, client));
            }
            Grant::Workload(_) => {}
        }
        checks
    }

    fn examine_scope(&self, found: &Discovered, challenge: &Challenge) -> Vec<Check> {
        let resource = found.resource.as_ref();
        let mut wanted = scope::select(&self.settings, challenge, resource, &found.server);
        if let Some(scope) = self.user_param("scope") {
            wanted.scope = Some(scope);
            wanted.origin = scope::Origin::User;
        }
        judge::scopes(&wanted)
    }

    /// Listens where the browser would come back to, for a moment.
    async fn examine_callback(&self) -> (Check, Option<String>) {
        if let Some(given) = self.foreign_redirect() {
            let text = "the redirect address that you gave is not on this machine";
            let advice = "sign in with \"mcp-bridge login URL\" in a terminal, and paste there the \
                          address that the browser ends at";
            let check = Check::warning("callback", text, advice);
            return (check, Some(given.to_owned()));
        }
        let (host, ports) = (&self.settings.host, self.ports());
        let first = ports.first().copied().unwrap_or_default();
        match Listener::bind(host, &ports).await {
            Ok(listener) => {
                let port = listener.port();
                let address = self.redirect_uri(port);
                let check = judge::callback(&if first == 0 || port == first {
                    Callback::Free(&address)
                } else {
                    Callback::Moved(first, &address)
                });
                (check, Some(address))
            }
            Err(failure) => {
                let others: Vec<u16> = self.walk().collect();
                let other = Listener::bind(host, &others).await;
                let free = other.map_or(0, |listener| listener.port());
                let check = judge::callback(&Callback::Taken(free, &failure));
                (check, Some(self.redirect_uri(first)))
            }
        }
    }

    fn examine_browser(&self, server: &ServerMetadata) -> Check {
        let id = "browser";
        if self.settings.no_browser {
            return Check::good(
                id,
                "none is opened (--no-browser): the link is shown instead",
            );
        }
        let Some(why) = self.launcher.unavailable() else {
            return Check::good(id, "the sign-in page is opened in your browser");
        };
        let text = format!("no browser can be opened here ({why}): the link is shown instead");
        let (advice, flag) = if server.device_authorization_endpoint.is_some() {
            let advice = "open the link on another machine and paste the address that the browser \
                          ends at into \"mcp-bridge login URL\", or sign in with a code on another \
                          device with --device-code";
            (advice, "--device-code")
        } else {
            let advice = "open the link on another machine and paste the address that the browser \
                          ends at into \"mcp-bridge login URL\"; --no-browser makes that the rule";
            (advice, "--no-browser")
        };
        Check::warning(id, text, advice).with_flag(flag)
    }

    async fn examine_idp(&self, idp: &Enterprise) -> Check {
        let id = "identity-provider";
        let endpoint = match &idp.token_endpoint {
            Some(endpoint) => Ok(endpoint.clone()),
            None => self.idp_token_endpoint(idp).await,
        };
        match endpoint {
            Ok(endpoint) => Check::good(id, text::public_url(&endpoint)),
            Err(failure) => {
                let bad = judge::failed(id, &failure);
                Check {
                    advice: Some("name its token_endpoint in --enterprise-idp".to_owned()),
                    flag: None,
                    ..bad
                }
            }
        }
    }

    /// Servers may repeat what they were sent.
    fn quotable_checks(&self, mut checks: Vec<Check>) -> Vec<Check> {
        for check in &mut checks {
            check.text = self.without_secrets(&check.text);
            for text in [&mut check.advice, &mut check.flag].into_iter().flatten() {
                *text = self.without_secrets(text);
            }
        }
        checks
    }
}

fn examine_device(server: &ServerMetadata) -> Check {
    let id = "device-authorization";
    match device_endpoint(server) {
        Ok(endpoint) => Check::good(id, text::public_url(endpoint)),
        Err(failure) => judge::failed(id, &failure),
    }
}

/// A client of the user's, with a key that has to be good for the server.
fn examine_client(server: &ServerMetadata, choice: Result<Choice, Failure>) -> Check {
    let choice = choice.and_then(|choice| {
        if let Choice::Use(client) = &choice
            && let ClientAuth::PrivateKeyJwt { algorithm, key, .. } = &client.auth
        {
            signer(key, algorithm.as_deref(), server)?;
        }
        Ok(choice)
    });
    match choice {
        Ok(choice) => judge::client(&choice, server),
        Err(failure) => judge::no_client(&failure, server),
    }
}

/// Whether a token that comes from elsewhere can be had. No program is run.
async fn examine_source(source: &Source) -> Check {
    let id = "subject-token";
    match source {
        Source::Text(_) => Check::good(id, "it was given"),
        Source::Command(_) => Check::good(id, "a program prints it, which is not run here"),
        Source::File(_) => match read_source(source).await {
            Ok(_) => Check::good(id, "its file can be read"),
            Err(failure) => {
                let advice = "name a file that you can read and that holds the token alone";
                Check::bad_sentence(id, &failure.text, advice).of_kind(failure.kind)
            }
        },
    }
}
