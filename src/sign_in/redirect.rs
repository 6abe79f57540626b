//! Where the browser comes back to.
//!
//! In: which address is listened on, and which one is registered. Out: listening
//! (`edge/callback`).

use url::Url;

use super::SignIn;
use crate::edge::callback::Listener;
use crate::proto::auth::address::is_loopback;
use crate::proto::auth::key;
use crate::proto::failure::Failure;

/// How many ports after the derived one are tried, as npm `mcp-remote` does.
const PORTS: u16 = 8;

impl SignIn {
    /// Listens where the browser is to return to. `None`: that is not on this machine.
    pub(super) async fn listen(&self) -> Result<Option<Listener>, Failure> {
        if self.foreign_redirect().is_some() {
            return Ok(None);
        }
        Listener::bind(&self.settings.host, &self.ports())
            .await
            .map(Some)
    }

    /// The ports that will do, in the order to try them; 0: any that is free.
    pub(super) fn ports(&self) -> Vec<u16> {
        let derived = key::derived_port(&self.settings.key);
        match self.settings.callback_port {
            Some(port) => vec![port],
            None if self.settings.given_client.is_some() => {
                vec![self.registered_port().unwrap_or(derived)]
            }
            None if self.settings.client_metadata_url.is_some() => vec![derived],
            None => self
                .registered_port()
                .into_iter()
                .chain(self.walk())
                .collect(),
        }
    }

    /// The derived port, those after it, and any other.
    pub(super) fn walk(&self) -> impl Iterator<Item = u16> {
        let derived = key::derived_port(&self.settings.key);
        let walk = (0..PORTS).filter_map(move |step| derived.checked_add(step));
        walk.chain([0])
    }

    pub(super) fn redirect_uri(&self, port: u16) -> String {
        let (host, path) = (&self.settings.host, &self.settings.callback_path);
        let bare_v6 = host.contains(':') && !host.starts_with('[');
        if bare_v6 {
            format!("http://[{host}]:{port}{path}")
        } else {
            format!("http://{host}:{port}{path}")
        }
    }

    /// The port of an address that the client is registered with, or that the user gave.
    fn registered_port(&self) -> Option<u16> {
        let given = self.settings.given_client.as_ref();
        let uris = match given {
            Some(client) => client.redirect_uris.clone(),
            None => self.entry.client()?.redirect_uris,
        };
        uris.iter().find_map(|uri| {
            let port = Url::parse(uri).ok()?.port()?;
            (self.redirect_uri(port) == *uri).then_some(port)
        })
    }

    /// A redirect address of the user's that does not lead to this machine.
    pub(super) fn foreign_redirect(&self) -> Option<&str> {
        let given = self.settings.given_client.as_ref();
        let given = given.and_then(|client| client.redirect_uris.first());
        let given = given.map(String::as_str).or_else(|| {
            let uris = self.settings.client_metadata.get("redirect_uris")?;
            uris.get(0)?.as_str()
        })?;
        let url = Url::parse(given).ok()?;
        (!is_loopback(&url)).then_some(given)
    }

    /// A parameter that the user's own `--authorize-param` puts in the place of ours: all requests
    /// have to say the same.
    pub(super) fn user_param(&self, name: &str) -> Option<String> {
        let mut params = self.settings.authorize_params.iter().rev();
        let (_, value) = params.find(|(key, _)| key == name)?;
        Some(value.clone())
    }
}
