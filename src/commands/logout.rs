//! `logout`: tells the authorization server, then forgets.
//!
//! In: one server or all, and what was left. Out: revoking (`crate::sign_in`).

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use url::Url;

use super::assembly::{launcher, random, spread};
use super::{print, style};
use crate::edge::http::client::HttpClient;
use crate::edge::log;
use crate::edge::oauth::OauthHttp;
use crate::edge::store::{Entry, Lock, Store};
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::auth::limits;
use crate::proto::auth::settings::Settings as SignInSettings;
use crate::proto::doctor::{Check, render};
use crate::proto::failure::Kind;
use crate::proto::headers::UserHeaders;
use crate::proto::text;
use crate::settings::{LogoutSettings, Target};
use crate::sign_in::{Parts, Revocation, SignIn};

/// The line about the tokens' end at the authorization server.
const REVOCATION: &str = "revocation";

/// What to do about tokens that are still good somewhere.
const ON_ITS_PAGES: &str = "end the sign-in on the server's own pages, where it has any";

/// Longest name of a server that is shown, in characters.
const SERVER_CHARS: usize = 300;

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
            let entries = store.list()?;
            if entries.is_empty() {
                return print("There is nothing to sign out of.\n");
            }
            let mut left: Option<Failure> = None;
            for entry in entries {
                let server = entry.state().server;
                let name = server.clone().unwrap_or_else(|| entry.key().to_owned());
                let url = server.and_then(|server| Url::parse(&server).ok());
                let outcome = if let Some(url) = url {
                    let mut sign_in = SignInSettings::stored(Arc::new(url), entry.key());
                    sign_in.allow_private_network = settings.allow_private_network;
                    sign_out(&settings, &http, sign_in, &store, &name).await
                } else {
                    // The files can go all the same.
                    let text = "nobody knows the server's address, so nobody was told";
                    let revocation = Check::warning(REVOCATION, text, ON_ITS_PAGES);
                    forget(&entry, settings.forget_client, &name)
                        .and_then(|()| farewell(&settings, revocation, &name))
                };
                if let Err(failure) = outcome {
                    left = Some(match left {
                        Some(first) => first.and(&failure),
                        None => failure,
                    });
                }
            }
            left.map_or(Ok(()), Err)
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
        may_sign_in: true,
    });
    // A bridge that renews the tokens meanwhile would bring them back.
    let _alone = entry.lock(Lock::Renewal, limits::LOCK_WAIT).await;
    let revocation = match sign_in.revoke().await {
        Revocation::NothingToRevoke => {
            forget(entry, settings.forget_client, server)?;
            return print(&not_signed_in(store, entry, server));
        }
        Revocation::Revoked => Check::good(REVOCATION, "the authorization server was told"),
        Revocation::NotOffered => Check::warning(
            REVOCATION,
            "the authorization server offers no revocation: the tokens stay valid there until they expire",
            ON_ITS_PAGES,
        ),
        Revocation::Failed(problem) => Check::warning(
            REVOCATION,
            format!("the tokens could not be revoked and may stay valid at the server: {problem}"),
            ON_ITS_PAGES,
        ),
    };
    forget(entry, settings.forget_client, server)?;
    farewell(settings, revocation, server)
}

/// Says what was done.
fn farewell(settings: &LogoutSettings, revocation: Check, server: &str) -> Result<(), Failure> {
    let forgotten = if settings.forget_client {
        "the sign-in and the registration are forgotten here"
    } else {
        "the sign-in is forgotten here"
    };
    let style = style(settings.style);
    let lines = [revocation, Check::good("store", forgotten)];
    let lines = lines.map(|check| render::check(&check, style)).concat();
    let verdict = format!("Signed out of {}.", text::sanitize(server, SERVER_CHARS));
    let verdict = style.bold(&verdict);
    print(&format!("{lines}{verdict}\n"))
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
        let text = format!("{server}: could not be removed: {}", left.join(", "));
        Failure::request(Kind::StoreUnwritable, text)
    })
}
