//! Signing in, looked at: what is stored, what a sign-in would need, and with `--login` the sign-in
//! itself.
//!
//! In: when which of them, and what follows from it. Out: the looking (`sign_in`), one sign-in
//! (`commands/login`).

use std::sync::Arc;

use tokio::sync::watch;
use url::Url;

use crate::commands::login::{Barred, Door};
use crate::edge::http::client::HttpClient;
use crate::proto::Refused;
use crate::proto::doctor::sign_in as judge;
use crate::proto::doctor::{Check, Mark};
use crate::proto::headers::UserHeaders;
use crate::proto::text;
use crate::settings::ExchangeSettings;
use crate::sign_in::SignIn;

/// The section about credentials. `sign_in` is `None` where the user gives an `Authorization`
/// header. `refused` is what a server said that does not let us in; `None`: it did. `will_sign_in`:
/// [`login`] comes next, and has the last word.
pub(super) async fn authorization(
    sign_in: Option<&Arc<SignIn>>,
    refused: Option<&Refused>,
    will_sign_in: bool,
) -> Vec<Check> {
    let Some(sign_in) = sign_in else {
        return vec![judge::own_header(refused.is_some())];
    };
    let mut checks = sign_in.examine_stored();
    let Some(refused) = refused else {
        checks.push(judge::let_in(sign_in.has_tokens()));
        return checks;
    };
    let needed = sign_in.examine(&refused.challenge).await;
    let is_possible = needed.iter().all(|check| check.mark != Mark::Bad);
    checks.extend(needed);
    if is_possible && !will_sign_in {
        checks.push(judge::kept_out(
            refused.credentials != 0,
            sign_in.needs_person(),
        ));
    }
    checks
}

/// Signs in, unless the server lets us in as it is (`sign-in`). A person may be asked, on stderr and
/// in a browser. `sign_in` has to be one that was begun by hand ([`crate::sign_in::Parts`]).
pub(super) async fn login(
    sign_in: &Arc<SignIn>,
    http: &HttpClient,
    url: &Arc<Url>,
    exchange: &ExchangeSettings,
    headers: &watch::Receiver<Option<UserHeaders>>,
) -> Check {
    let id = "sign-in";
    let (http, headers) = (http.clone(), headers.clone());
    let mut door = Door::new(
        http,
        Arc::clone(url),
        exchange,
        headers,
        Arc::clone(sign_in),
    );
    match door.enter().await {
        Ok(0) if !sign_in.has_tokens() => judge::let_in(false),
        Ok(_) => {
            let whom = sign_in.account().map(|whom| format!(" as {whom}"));
            let server = text::origin(url);
            let whom = whom.unwrap_or_default();
            Check::good(id, format!("signed in to {server}{whom}"))
        }
        Err(Barred { failure, hint }) => {
            let bad = judge::failed(id, &failure);
            match hint {
                Some(hint) => Check {
                    advice: Some(hint.to_owned()),
                    ..bad
                },
                None => bad,
            }
        }
    }
}
