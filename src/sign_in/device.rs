//! Signing in on another device (RFC 8628).
//!
//! In: the order of requests and pauses. Out: what answers mean (`proto::auth::device`).

use url::Url;

use super::SignIn;
use super::attempt::{Desk, Task, pending};
use super::exchange::{Provenance, identified};
use super::renewal::say_warning;
use super::wallet::Origin;
use crate::edge::log;
use crate::proto::auth::authorize;
use crate::proto::auth::client::Provenance as ClientProvenance;
use crate::proto::auth::device::{self, DeviceCode, Poll};
use crate::proto::auth::grant;
use crate::proto::auth::metadata::ServerMetadata;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::{Prompt, text};

impl SignIn {
    pub(super) async fn sign_in_with_device(
        &self,
        task: &Task,
        desk: &Desk,
    ) -> Result<(), Failure> {
        let server = &task.found.server;
        let endpoint = device_endpoint(server)?;
        let scope = task.scope.as_deref();
        let resource = task.found.resource.as_ref();
        let resource = resource.map(|resource| resource.resource.as_str());
        let resource = authorize::resource(&self.settings, resource);
        let resource = resource.as_deref();
        self.may_open_window()?;
        let mut anew = false;
        let (client, mut code) = loop {
            let identity = self.identity(server, None, scope, anew).await?;
            let client = identity.client;
            let form = device::request(scope, resource);
            let form = identified(server, Some(&client), form, endpoint)
                .map_err(|refused| refused.failure())?;
            let started = self.post(endpoint, &form, false).await;
            let started = started.map_err(|refused| refused.failure())?;
            match DeviceCode::read(started.status, &started.body) {
                Ok(code) => break (client, code),
                // A registration of earlier days may be forgotten by now.
                Err(failure)
                    if failure.kind == Kind::ClientRejected
                        && client.provenance == ClientProvenance::Registered
                        && !identity.is_new =>
                {
                    say_warning(&failure);
                    anew = true;
                }
                Err(failure) => return Err(failure),
            }
        };
        self.show_code(&code, desk);
        let deadline = tokio::time::Instant::now() + code.expires_in;
        let mut pause = code.interval;
        loop {
            if tokio::time::Instant::now() + pause > deadline {
                return Err(code.expired());
            }
            tokio::time::sleep(pause).await;
            let form = grant::device_code(&code.device_code, resource);
            // The answer may be the tokens: they are kept before the process ends.
            let _critical = self.critical.read().await;
            let asked = self
                .token_request(server, Some(&client), form, task.proof)
                .await;
            match asked {
                Ok(tokens) => {
                    let provenance = Provenance {
                        server,
                        client: Some(&client),
                        resource,
                        requested_scope: scope,
                        origin: Origin::SignedIn,
                    };
                    return self.keep_signed_in(tokens, &provenance).await;
                }
                Err(refused) => match code.after(&refused.error) {
                    Poll::Again(next) => pause = next,
                    Poll::Failed(_) if refused.error.code.as_deref() == Some("invalid_client") => {
                        return Err(self.sign_in_refused(&client, server, &refused));
                    }
                    Poll::Failed(failure) => return Err(failure),
                },
            }
        }
    }

    /// Address and code, both: comparing the code protects against somebody else's (RFC 8628
    /// §3.3.1, §5.4).
    fn show_code(&self, code: &DeviceCode, desk: &Desk) {
        let address = &code.verification_uri;
        let link = code.verification_uri_complete.as_ref().unwrap_or(address);
        let (server, instructions) = (self.server(), code.instructions());
        log::tell(
            &format!("{server} wants you to sign in: {instructions}:"),
            link,
        );
        let user_code = &code.user_code;
        self.keep(|state| state.pending = Some(pending(link)));
        desk.show(Prompt {
            url: link.clone(),
            instruction: Some(format!("The code is {user_code}.")),
            opened: false,
        });
    }
}

/// Where a code for another device is asked for.
pub(super) fn device_endpoint(server: &ServerMetadata) -> Result<&Url, Failure> {
    server
        .device_authorization_endpoint
        .as_ref()
        .ok_or_else(|| {
            let text = format!(
                "--device-code: the authorization server {} offers no device authorization; leave \
             the option out to sign in with a browser, or use --client-credentials",
                text::sanitize(&server.issuer, 200)
            );
            Failure::new(Kind::MetadataInvalid, Executed::No, text)
        })
}
