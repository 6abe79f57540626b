//! A person signs in with a browser (RFC 6749 §4.1, RFC 8252).
//!
//! In: the steps from the authorization request to the tokens, and what is said on the way. Out:
//! where the browser comes back to (`redirect`), judging what it brings (`proto::auth::callback`).

use std::time::SystemTime;

use tokio::task::JoinHandle;
use url::Url;

use super::attempt::{Desk, Task, pending};
use super::authorize::Why;
use super::exchange::Provenance;
use super::identity::Identity;
use super::wallet::Origin;
use super::{SignIn, lock};
use crate::edge::browser::Launch;
use crate::edge::callback::page::Page;
use crate::edge::callback::{Browser, Listener};
use crate::edge::{keys, log};
use crate::proto::auth::authorize::{self, Pending};
use crate::proto::auth::callback::{self, Outcome, Retry};
use crate::proto::auth::client::Provenance as ClientProvenance;
use crate::proto::auth::metadata::ServerMetadata;
use crate::proto::auth::{grant, limits, preflight, quirks};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;
use crate::proto::{Level, Prompt, text};

impl SignIn {
    pub(super) async fn sign_in_with_browser(
        &self,
        mut task: Task,
        desk: &mut Desk,
    ) -> Result<(), Failure> {
        let server = task.found.server.clone();
        server
            .check_code_flow(self.may_lack_pkce(&server))
            .map_err(|failure| self.with_hint(failure))?;
        let mut listener = self.listen().await?;
        if listener.is_none() && !self.by_hand {
            // Waiting would only keep others from it.
            let text = format!(
                "the redirect address for {} is not on this machine: run \"mcp-bridge login URL\" \
                 with the same options in a terminal, and paste the address that the browser ends at",
                self.server()
            );
            return Err(Failure::new(Kind::SignInRequired, Executed::No, text));
        }
        let redirect_uri = match (&listener, self.foreign_redirect()) {
            (Some(listener), _) => self.redirect_uri(listener.port()),
            (None, Some(given)) => given.to_owned(),
            (None, None) => String::new(),
        };
        let (mut anew, mut retried) = (false, false);
        loop {
            let scope = self.user_param("scope").or_else(|| task.scope.clone());
            let identity = self
                .identity(&server, Some(&redirect_uri), scope.as_deref(), anew)
                .await
                .map_err(|failure| self.with_hint(failure))?;
            let resource = task.found.resource.as_ref();
            let resource = resource.map(|resource| resource.resource.as_str());
            let resource = self
                .user_param("resource")
                .or_else(|| authorize::resource(&self.settings, resource));
            if !anew
                && self
                    .is_forgotten(&identity, &redirect_uri, &task, resource.as_deref())
                    .await
            {
                anew = true;
                continue;
            }
            let pkce = keys::Pkce::new()?;
            let pending = Pending {
                state: keys::random_token(32)?,
                verifier: pkce.verifier,
                server: server.clone(),
                client: identity.client,
                redirect_uri: redirect_uri.clone(),
                resource,
                scope,
                since: wall_clock(),
            };
            log::keep_out(&pending.state);
            let url = authorize::url(&self.settings, &pending, &pkce.challenge)?;
            let may_open = self.may_open_window()?;
            let port = listener.as_ref().map(Listener::port);
            let launching = self.invite(&url, port, may_open, desk);
            let life = limits::STATE.max(self.settings.timeout);
            let back = self.wait_for_browser(&mut listener, &pending, desk, launching);
            let Ok((outcome, browser)) = tokio::time::timeout(life, back).await else {
                return Err(self.nobody_came());
            };
            let failure = match outcome {
                Outcome::Code(code) => {
                    let exchanged = self.exchange(&pending, &code, task.proof).await;
                    return self.conclude(exchanged, browser).await;
                }
                Outcome::Failed(_, Some(Retry::WithoutOfflineAccess))
                    if !retried && has_offline_access(task.scope.as_deref()) =>
                {
                    retried = true;
                    task.scope = without_offline_access(task.scope.as_deref());
                    show(browser, Page::Elsewhere).await;
                    continue;
                }
                Outcome::Failed(_, Some(Retry::NewClient))
                    if !anew && pending.client.provenance == ClientProvenance::Registered =>
                {
                    anew = true;
                    show(browser, Page::Elsewhere).await;
                    continue;
                }
                Outcome::Failed(failure, _) => failure,
            };
            show(browser, Page::Failed).await;
            return Err(self.with_hint(failure));
        }
    }

    /// Whether it need not promise PKCE: the user, or what is known of it, says so.
    pub(super) fn may_lack_pkce(&self, server: &ServerMetadata) -> bool {
        self.settings.allow_missing_pkce || quirks::of(&server.issuer).pkce_unadvertised
    }

    /// Exchanges the code, once (RFC 6749 §4.1.3).
    async fn exchange(&self, pending: &Pending, code: &Secret, proof: bool) -> Result<(), Failure> {
        let _critical = self.critical.read().await;
        let resource = pending.resource.as_deref();
        let form = grant::code(code, &pending.verifier, &pending.redirect_uri, resource);
        let asked = self
            .token_request(&pending.server, Some(&pending.client), form, proof)
            .await;
        let tokens = asked
            .map_err(|refused| self.sign_in_refused(&pending.client, &pending.server, &refused))?;
        let kept_without_refresh = tokens.refresh.is_none() && tokens.expires_at.is_some();
        let provenance = Provenance {
            server: &pending.server,
            client: Some(&pending.client),
            resource,
            requested_scope: pending.scope.as_deref(),
            origin: Origin::SignedIn,
        };
        self.keep_signed_in(tokens, &provenance).await?;
        if kept_without_refresh {
            let hint = quirks::of(&pending.server.issuer).hint.unwrap_or(
                "some servers give one for --authorize-param prompt=consent or access_type=offline",
            );
            let text = format!(
                "the authorization server gave no refresh token: signing in will be needed again when the token expires; {hint}"
            );
            log::say(Level::Info, &text);
        }
        Ok(())
    }

    /// Tells the browser how it ended.
    async fn conclude(
        &self,
        outcome: Result<(), Failure>,
        browser: Option<Browser>,
    ) -> Result<(), Failure> {
        let page = match (&outcome, &self.settings.success_url) {
            (Ok(()), Some(url)) => Page::Redirect(url.clone()),
            (Ok(()), None) => Page::SignedIn,
            (Err(_), _) => Page::Failed,
        };
        show(browser, page).await;
        outcome.map_err(|failure| self.with_hint(failure))
    }

    /// Waits for the browser, or for an address that the person pastes.
    async fn wait_for_browser(
        &self,
        listener: &mut Option<Listener>,
        pending: &Pending,
        desk: &mut Desk,
        mut launching: Option<JoinHandle<Launch>>,
    ) -> (Outcome, Option<Browser>) {
        let port = listener.as_ref().map(Listener::port);
        loop {
            let came = async {
                match listener.as_mut() {
                    Some(listener) => listener.wait(pending, &self.settings.callback_path).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(launched) = async { Some(launching.as_mut()?.await) } => {
                    launching = None;
                    self.say_launched(launched.ok(), port, desk);
                }
                (outcome, browser) = came => return (outcome, Some(browser)),
                Some(pasted) = desk.pasted.recv() => {
                    let judged = callback::pasted(pending, pasted.text.reveal());
                    // The person may have given up waiting for the verdict.
                    let _ = pasted.answer.send(judged.as_ref().map(drop).map_err(Clone::clone));
                    if let Ok(outcome) = judged {
                        return (outcome, None);
                    }
                }
            }
        }
    }

    /// A registration of earlier days may be forgotten by now, and only the browser would show it.
    /// One request without following it anywhere tells (RFC 6749 §4.1.2.1).
    async fn is_forgotten(
        &self,
        identity: &Identity,
        redirect_uri: &str,
        task: &Task,
        resource: Option<&str>,
    ) -> bool {
        let stored = identity.client.provenance == ClientProvenance::Registered;
        if identity.is_new || !stored || task.why == Why::StepUp {
            return false;
        }
        let (Ok(pkce), Ok(state)) = (keys::Pkce::new(), keys::random_token(32)) else {
            return false;
        };
        let probe = Pending {
            state,
            verifier: pkce.verifier,
            server: task.found.server.clone(),
            client: identity.client.clone(),
            redirect_uri: redirect_uri.to_owned(),
            resource: resource.map(str::to_owned),
            scope: task.scope.clone(),
            since: wall_clock(),
        };
        let Ok(url) = authorize::url(&self.settings, &probe, &pkce.challenge) else {
            return false;
        };
        let policy = self.policy().await;
        let Some(answer) = self.http.look(&url, policy).await else {
            return false;
        };
        let location = answer.location.as_deref();
        let forgotten = preflight::client_is_unknown(answer.status, location, &answer.body);
        if forgotten {
            let text = format!(
                "{} does not know this client any more; registering again",
                text::sanitize(&task.found.server.issuer, 200)
            );
            log::say(Level::Info, &text);
        }
        forgotten
    }

    /// Opens the browser, and says in words what to do in any case.
    fn invite(
        &self,
        url: &Url,
        port: Option<u16>,
        may_open: bool,
        desk: &Desk,
    ) -> Option<JoinHandle<Launch>> {
        let (server, page) = (self.server(), text::origin(url));
        log::say(
            Level::Error,
            &format!("{server} wants you to sign in at {page}"),
        );
        log::tell("Please authorize this client by visiting:", url.as_str());
        self.keep(|state| state.pending = Some(pending(url.as_str())));
        desk.show(Prompt {
            url: url.to_string(),
            instruction: None,
            opened: may_open && !self.settings.no_browser,
        });
        if port.is_none() {
            log::say(
                Level::Error,
                "the redirect address is not on this machine: paste here the address that the \
                 browser ends at",
            );
        }
        if self.settings.no_browser {
            self.say_by_hand("--no-browser", port);
            return None;
        }
        if !may_open {
            self.say_by_hand("enough windows were opened of late", port);
            return None;
        }
        let (launcher, url) = (self.launcher.clone(), url.clone());
        Some(tokio::spawn(async move { launcher.open(&url).await }))
    }

    fn say_launched(&self, launched: Option<Launch>, port: Option<u16>, desk: &Desk) {
        let why = match launched {
            Some(Launch::Launched) => {
                log::say(Level::Info, "Browser opened automatically.");
                return;
            }
            Some(Launch::Unavailable(reason)) => reason.to_owned(),
            Some(Launch::Failed(problem)) => problem,
            None => "opening a browser crashed".to_owned(),
        };
        self.say_by_hand(&why, port);
        desk.not_opened();
    }

    fn say_by_hand(&self, why: &str, port: Option<u16>) {
        let text = format!("no browser was opened ({why}): open the address above by hand");
        log::say(Level::Error, &text);
        self.say_ways(port);
    }

    /// Ways to sign in on a machine that is somewhere else.
    fn say_ways(&self, port: Option<u16>) {
        if let Some(port) = port {
            let paste = if self.by_hand {
                "paste here the address that the browser ends at"
            } else {
                "run \"mcp-bridge login URL\" here and paste the address that the browser ends at"
            };
            let text = format!(
                "if your browser runs on another machine: forward the port first (ssh -L \
                 {port}:localhost:{port} HOST), or {paste}"
            );
            log::say(Level::Info, &text);
        }
        let found = lock(&self.found).clone();
        let device = found.and_then(|found| found.server.device_authorization_endpoint.clone());
        if device.is_some() {
            log::say(
                Level::Info,
                "this authorization server also lets you sign in on another device: --device-code",
            );
        }
    }
}

async fn show(browser: Option<Browser>, page: Page) {
    if let Some(browser) = browser {
        browser.show(page).await;
    }
}

fn has_offline_access(scope: Option<&str>) -> bool {
    scope.is_some_and(|scope| scope.split(' ').any(|one| one == "offline_access"))
}

fn without_offline_access(scope: Option<&str>) -> Option<String> {
    let rest: Vec<&str> = scope?
        .split(' ')
        .filter(|one| *one != "offline_access")
        .collect();
    (!rest.is_empty()).then(|| rest.join(" "))
}

#[expect(clippy::disallowed_methods, reason = "when the sign-in began")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
