//! `logout`: tells the authorization server, then forgets.
//!
//! In: one server or all, and what was left. Out: revoking (`crate::sign_in`).

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use url::Url;

use super::print;
use super::run::{launcher, random, spread};
use crate::edge::http::client::HttpClient;
use crate::edge::log;
use crate::edge::oauth::OauthHttp;
use crate::edge::store::{Entry, Lock, Store};
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::auth::limits;
use crate::proto::auth::settings::Settings as SignInSettings;
use crate::proto::headers::UserHeaders;
use crate::proto::text;
use crate::settings::{LogoutSettings, Target};
use crate::sign_in::{Parts, Revocation, SignIn};

/// Signs out.
///
/// # Errors
/// A [`Failure`] when something is left in the store.
pub async fn run(settings: LogoutSettings) -> Result<(), Failure> {
    let store = Store::open(settings.store.base.clone()).in_keychain(settings.store.keychain);
    let http = HttpClient::new(settings.network.clone());
    match &settings.target {
        Target::One(sign_in) => {
            let server = text::public_url(&sign_in.server);
            sign_out(
                &settings,
                &http,
                SignInSettings::clone(sign_in),
                &store,
                &server,
            )
            .await
        }
        Target::All => {
            let entries = store
                .list()
                .map_err(|failure| Failure::runtime(failure.text))?;
            if entries.is_empty() {
                return print("There is nothing to sign out of.\n");
            }
            let mut left = Vec::new();
            for entry in entries {
                let server = entry.state().server;
                let name = server.clone().unwrap_or_else(|| entry.key().to_owned());
                let url = server.and_then(|server| Url::parse(&server).ok());
                let outcome = match url {
                    Some(url) => {
                        let mut sign_in = SignInSettings::stored(Arc::new(url), entry.key());
                        sign_in.allow_private_network = settings.allow_private_network;
                        sign_out(&settings, &http, sign_in, &store, &name).await
                    }
                    // Of a server nobody knows the address of, the files can go all the same.
                    None => forget(&entry, settings.forget_client, &name),
                };
                if let Err(failure) = outcome {
                    left.push(failure.to_string());
                }
            }
            if left.is_empty() {
                Ok(())
            } else {
                Err(Failure::runtime(left.join("; ")))
            }
        }
    }
}

async fn sign_out(
    settings: &LogoutSettings,
    http: &HttpClient,
    sign_in: SignInSettings,
    store: &Store,
    server: &str,
) -> Result<(), Failure> {
    let entry = &store.entry(&sign_in.key);
    let url = Arc::clone(&sign_in.server);
    for warning in http.check(&url).map_err(Failure::usage)? {
        log::say(Level::Warn, &warning);
    }
    let (_, headers) = watch::channel(Some(UserHeaders::default()));
    let (reporter, _) = mpsc::channel(1);
    let oauth = OauthHttp::new(http.clone(), headers);
    let launcher = launcher(&url, &[]);
    let sign_in = SignIn::new(Parts {
        settings: sign_in,
        http: oauth,
        store: store.clone(),
        launcher,
        news: reporter,
        spread: spread(random()),
        by_hand: true,
    });
    // A bridge that renews the tokens meanwhile would bring them back.
    let _alone = entry.lock(Lock::Renewal, limits::LOCK_WAIT).await;
    match sign_in.revoke().await {
        Revocation::Revoked => log::say(Level::Info, "the authorization server was told"),
        Revocation::NothingToRevoke => {
            forget(entry, settings.forget_client, server)?;
            return print(&not_signed_in(store, entry, server));
        }
        Revocation::NotOffered => log::say(
            Level::Info,
            "the authorization server offers no revocation: the tokens stay valid there until they expire",
        ),
        Revocation::Failed(problem) => log::say(
            Level::Warn,
            &format!("the tokens could not be revoked and may stay valid at the server: {problem}"),
        ),
    }
    forget(entry, settings.forget_client, server)?;
    print(&format!("Signed out of {server}.\n"))
}

/// A sign-in belongs to a server and the options it was made with.
fn not_signed_in(store: &Store, entry: &Entry, server: &str) -> String {
    let is_other = |other: &&Entry| {
        other.key() != entry.key()
            && other.state().server.as_deref() == Some(server)
            && other.tokens().is_some()
    };
    let others = store.list().unwrap_or_default();
    match others.iter().filter(is_other).count() {
        0 => format!("You were not signed in to {server}.\n"),
        others => format!(
            "You were not signed in to {server} with these options. Signed in with others: \
             {others}. Repeat the options of the sign-in (--header, --resource, --profile, …), or \
             use --all.\n"
        ),
    }
}

fn forget(entry: &Entry, client: bool, server: &str) -> Result<(), Failure> {
    entry.forget(client).map_err(|left| {
        Failure::runtime(format!(
            "{server}: could not be removed: {}",
            left.join(", ")
        ))
    })
}
