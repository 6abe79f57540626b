//! The way to the server: its name, the proxy, the connection, the certificate, the clock.
//!
//! In: looking, and what to say about what was seen. Out: how connections are made (`edge/http`),
//! what certificates, addresses and times mean (`proto/doctor`).

use url::Url;

use crate::edge::http::client::HttpClient;
use crate::edge::http::observe::{self, Answered, Outcome, Resolved, Trusted};
use crate::edge::http::proxy::Route;
use crate::proto::doctor::certificate::Verdict;
use crate::proto::doctor::name::Reach;
use crate::proto::doctor::{Check, certificate, clock, name, what_and_next};
use crate::proto::text::sanitize;
use crate::proto::{Trouble, TroubleKind};

/// Longest entry of `NO_PROXY` that is shown, in characters.
const ENTRY_CHARS: usize = 100;

/// What to do about a server that is there, but strange.
const SEE_BELOW: &str = "see whether the requests below are answered; if not, check the address and \
                         its port, and whether it has to start with https://";

/// What the server's name resolves to (`name`). When it is bad, [`connection`] would only say so
/// again.
pub(super) async fn name(http: &HttpClient, url: &Url) -> Vec<Check> {
    let check = match observe::resolve(http, url).await {
        Resolved::Address(address) => Check::good(
            "name",
            format!("{address} is an address: there is no name to resolve"),
        ),
        Resolved::ByProxy(proxy) => Check::good("name", format!("the proxy {proxy} resolves it")),
        Resolved::Found(found, millis) => name::judge(&found).in_millis(millis),
        Resolved::Nothing(trouble) => Check::failed("name", &trouble.text, trouble.kind.failure()),
    };
    vec![check]
}

/// Which proxy is used, and why (`proxy`). Makes no connection.
pub(super) fn proxy(http: &HttpClient, url: &Url) -> Vec<Check> {
    let text = match http.route(url) {
        Route::Through(proxy, by) => format!("{}, as {by} says", proxy.address()),
        Route::Refused => "no proxy, as --proxy none says".to_owned(),
        Route::Unset => "no proxy".to_owned(),
        Route::Loopback => {
            "no proxy: there is one in the environment, but the server is on this machine"
                .to_owned()
        }
        Route::Excepted(entry) => format!(
            "no proxy: there is one in the environment, but NO_PROXY excepts `{}`",
            sanitize(entry, ENTRY_CHARS)
        ),
    };
    vec![Check::good("proxy", text)]
}

/// What a connection showed.
pub(super) struct Connected {
    /// `roots` (https alone: how many certificates are trusted, and files that cannot be read),
    /// `connection` (left out where `certificate` says why there is none), `certificate` (https
    /// alone), `clock`.
    pub(super) checks: Vec<Check>,
    /// Whether the server can be reached; if not, there is no point in asking it anything.
    pub(super) reached: bool,
}

/// Connects once, with a HEAD request without credentials: `connection`, `certificate` (https
/// alone: names, dates, chain, the root it ends in, why that is trusted), `clock` (ours beside the
/// server's `Date`, RFC 9110 §6.6.1).
pub(super) async fn connection(http: &HttpClient, url: &Url) -> Connected {
    let mut checks = match roots(http, url) {
        Ok(checks) => checks,
        Err(unusable) => {
            let checks = vec![unusable];
            let reached = false;
            return Connected { checks, reached };
        }
    };
    let seen = observe::observe(http, url).await;
    let is_refused = matches!(seen.certificate, Some((_, Verdict::Refused(_))));
    let reached = match &seen.outcome {
        Outcome::Answered(answered) => {
            let check = Check::good("connection", described(http, url, answered));
            checks.push(check.in_millis(seen.millis));
            true
        }
        Outcome::Silent => {
            checks.push(silent().in_millis(seen.millis));
            true
        }
        Outcome::Failed(trouble) => {
            let reached = is_about_the_answer(trouble);
            if reached {
                checks.push(odd_answer(trouble));
            } else if !is_refused {
                checks.push(unreachable(http, url, trouble).await);
            }
            reached
        }
    };
    if let Some((presented, verdict)) = &seen.certificate {
        checks.push(certificate::judge(presented, verdict, seen.after));
    }
    if let Outcome::Answered(answered) = &seen.outcome {
        let (date, age) = (answered.date.as_deref(), answered.age.as_deref());
        checks.push(clock::judge(date, age, seen.before, seen.after));
    }
    Connected { checks, reached }
}

/// What is trusted; a check alone when a file that the user named cannot be used.
fn roots(http: &HttpClient, url: &Url) -> Result<Vec<Check>, Check> {
    const ID: &str = "roots";
    let unusable = |sentence: String| {
        let advice = "correct the option, or leave it out; the file has to hold certificates or \
                      keys in PEM form";
        let check = Check::bad_sentence(ID, &sentence, advice);
        check.of_kind(TroubleKind::Tls.failure())
    };
    let warnings = http.check(url).map_err(unusable)?;
    if url.scheme() != "https" {
        return Ok(Vec::new());
    }
    let Trusted { system, files } = observe::trusted(http).map_err(unusable)?;
    let mut parts = vec![match system {
        Some(count) => format!("{count} of this system"),
        None => "those of this system".to_owned(),
    }];
    parts.extend(
        files
            .iter()
            .map(|(by, count)| format!("{count} more of {by}")),
    );
    let text = format!("trusted root certificates: {}", parts.join(", "));
    let check = if system == Some(0) && files.is_empty() {
        let advice = "install the system's ca-certificates package, or pass --ca-cert FILE";
        Check::warning(ID, text, advice).with_flag("--ca-cert FILE")
    } else {
        Check::good(ID, text)
    };
    let advice = "correct the variable, or unset it; the rest is used";
    let warnings = warnings
        .into_iter()
        .map(|warning| Check::warning(ID, warning, advice));
    Ok(std::iter::once(check).chain(warnings).collect())
}

fn described(http: &HttpClient, url: &Url, answered: &Answered) -> String {
    let Answered {
        version, status, ..
    } = answered;
    let who = match (http.proxy_for(url), answered.peer) {
        (Some(proxy), _) => format!("the server answers through the proxy {proxy}"),
        (None, Some(peer)) => format!("{peer} answers"),
        (None, None) => "the server answers".to_owned(),
    };
    let note = if *status < 400 {
        ""
    } else {
        ", which says nothing yet: any answer will do here"
    };
    format!("{who} in {version}, with status {status} to a HEAD request without credentials{note}")
}

fn silent() -> Check {
    let text = "connected; a HEAD request is not answered, as servers of HTTP+SSE often do not";
    Check::good("connection", text)
}

/// Whether somebody was reached: some servers cannot answer HEAD, which says nothing about the
/// requests that matter.
fn is_about_the_answer(trouble: &Trouble) -> bool {
    !matches!(
        trouble.kind,
        TroubleKind::Connect
            | TroubleKind::Dns
            | TroubleKind::Tls
            | TroubleKind::Timeout
            | TroubleKind::Proxy
            | TroubleKind::Internal
    )
}

fn odd_answer(trouble: &Trouble) -> Check {
    let (what, next) = what_and_next(&trouble.text);
    let text = format!("a HEAD request came to nothing: {what}");
    Check::warning("connection", text, next.unwrap_or(SEE_BELOW))
}

async fn unreachable(http: &HttpClient, url: &Url, trouble: &Trouble) -> Check {
    let check = Check::failed("connection", &trouble.text, trouble.kind.failure());
    if trouble.kind != TroubleKind::Timeout {
        return check;
    }
    match observe::resolve(http, url).await {
        // Somebody listens there, and still there is no connection: IPv6 is to blame more often
        // than not.
        Resolved::Found(found, _) if found.ipv6.is_some() && found.ipv4 == Some(Reach::Open) => {
            check.with_flag("--ipv4")
        }
        _ => check.with_flag("--connect-timeout 30"),
    }
}

#[cfg(test)]
mod tests;
