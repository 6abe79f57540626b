//! The requests of the sign-in, each with its limits and with nothing that belongs to the server's
//! own connection: no token, no cookie, no session.
//!
//! In: metadata, forms and registrations, one HTTP request each; which addresses are never
//! contacted. Out: what is asked for and what an answer means (`proto::auth`), the order of things
//! (`sign_in`).

mod answer;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::Response;
use serde_json::Value;
use tokio::sync::watch;
use url::Url;

pub use self::answer::Answer;
use super::http::client::HttpClient;
use super::http::guard::{self, GuardedClient, Refused};
use super::http::tracked::Tracked;
use super::http::trouble;
use crate::proto::auth::address::{AddressPolicy, Reach};
use crate::proto::auth::discovery::Fetched;
use crate::proto::auth::grant::Form;
use crate::proto::auth::limits;
use crate::proto::auth::token::TokenError;
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::headers::{PROTOCOL_VERSION, UserHeaders};
use crate::proto::secret::Secret;
use crate::proto::text::{self, EXCERPT_CHARS, sanitize};
use crate::proto::{Trouble, TroubleKind, revision};

/// `DPoP` (RFC 9449 §4.1).
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Longest name of a content coding that is quoted: shorter than any secret.
const CODING: usize = 8;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Sends the requests of the sign-in. Clones share their connections.
#[derive(Clone)]
pub struct OauthHttp {
    http: HttpClient,
    /// The user's headers, once they are known.
    headers: watch::Receiver<Option<UserHeaders>>,
    /// The client for the policy that was asked for last.
    guarded: Arc<Mutex<Option<Arc<GuardedClient>>>>,
    metadata_time: Duration,
    post_time: Duration,
}

/// What a browser would be shown.
pub struct Looked {
    /// HTTP status.
    pub status: u16,
    /// `Location` as it came. May hold secrets.
    pub location: Option<String>,
    /// The beginning of the body.
    pub body: Bytes,
}

/// A POST that came to no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// The server may have received the request, and acted on it.
    pub sent: bool,
    /// Why: `blocked_address`, `connect`, `timeout`, `redirect-refused`, `limit_exceeded` or
    /// `token_response_invalid`.
    pub failure: Failure,
}

impl OauthHttp {
    /// Connections as `http` makes them. `headers` are the user's own; requests to the server's
    /// origin wait until they hold a value.
    #[must_use]
    pub fn new(http: HttpClient, headers: watch::Receiver<Option<UserHeaders>>) -> Self {
        Self {
            http,
            headers,
            guarded: Arc::default(),
            metadata_time: limits::METADATA_REQUEST,
            post_time: limits::TOKEN_REQUEST,
        }
    }

    /// From where the user's server can be reached: a literal address by what it is, a name by
    /// what it resolves to (loopback if all of it is, private if any of it is). A name that a proxy
    /// resolves, or nobody, counts as public.
    pub async fn reach(&self, server: &Url) -> Reach {
        guard::reach(&self.http, server).await
    }

    /// Asks for a metadata document (RFC 8414 §3.1, RFC 9728 §3.1), within
    /// [`limits::METADATA_REQUEST`] and following [`limits::REDIRECTS`] redirects within its
    /// origin. The protocol revision is named (MCP 2025-03-26, Authorization, Protocol Version
    /// Header) unless a server answers that with 400. The user's headers go to the origin of the
    /// policy's server alone, and `Authorization` not even there.
    pub async fn metadata(&self, url: &Url, policy: &AddressPolicy) -> Fetched {
        let quotable = |text: String| self.without_user_values(&text).unwrap_or(text);
        match self.metadata_or_reason(url, policy).await {
            Fetched::Refused(mut failure) => {
                failure.text = quotable(failure.text);
                Fetched::Refused(failure)
            }
            Fetched::Unreachable(text) => Fetched::Unreachable(quotable(text)),
            answer @ Fetched::Answer { .. } => answer,
        }
    }

    /// Posts a form (RFC 6749 §3.2): token, device, revocation requests. No redirect is followed,
    /// the whole takes at most [`limits::TOKEN_REQUEST`]. `dpop` is a proof (RFC 9449 §5).
    ///
    /// # Errors
    /// There is no usable answer.
    pub async fn post_form(
        &self,
        url: &Url,
        form: &Form,
        policy: &AddressPolicy,
        dpop: Option<&str>,
    ) -> Result<Answer, Unanswered> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, FORM);
        if let Some(authorization) = &form.authorization {
            headers.insert(header::AUTHORIZATION, secret_value(authorization.reveal())?);
        }
        if let Some(proof) = dpop {
            headers.insert(DPOP, secret_value(proof)?);
        }
        let mut secrets = form.secrets();
        secrets.extend(dpop.map(Secret::from));
        let answer = self.post(url, headers, wiped(form.body()), policy).await?;
        Ok(answer.without(&secrets))
    }

    /// Posts a JSON document (RFC 7591 §3.1): registrations. `bearer` is an initial access token.
    /// Otherwise as [`Self::post_form`].
    ///
    /// # Errors
    /// There is no usable answer.
    pub async fn post_json(
        &self,
        url: &Url,
        body: &Value,
        bearer: Option<&Secret>,
        policy: &AddressPolicy,
    ) -> Result<Answer, Unanswered> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, JSON);
        if let Some(token) = bearer {
            let value = Secret::from(format!("Bearer {}", token.reveal()));
            headers.insert(header::AUTHORIZATION, secret_value(value.reveal())?);
        }
        let statement = body.get("software_statement").and_then(Value::as_str);
        let secrets: Vec<Secret> = bearer
            .cloned()
            .into_iter()
            .chain(statement.map(Secret::from))
            .collect();
        let body = wiped(Secret::from(body.to_string()));
        let answer = self.post(url, headers, body, policy).await?;
        Ok(answer.without(&secrets))
    }

    /// Looks at an address that a browser would open, without following it anywhere: status,
    /// `Location` and the beginning of the body. `None`: there was no answer.
    pub async fn look(&self, url: &Url, policy: &AddressPolicy) -> Option<Looked> {
        let looking = async {
            let headers = HeaderMap::new();
            let response = self
                .send(Method::GET, url, headers, None, policy)
                .await
                .ok()?;
            let status = response.status().as_u16();
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            let location = location.map(str::to_owned);
            let body = self.body(response, url).await.unwrap_or_default();
            Some(Looked {
                status,
                location,
                body,
            })
        };
        let looked = tokio::time::timeout(self.metadata_time, looking).await;
        looked.ok().flatten()
    }

    /// A server's words without the values of the user's headers; `None`: they hold none.
    #[must_use]
    pub fn without_user_values(&self, text: &str) -> Option<String> {
        let headers = self.headers.borrow();
        let masked = headers.as_ref()?.hide_values(text.as_bytes())?;
        Some(String::from_utf8_lossy(&masked).into_owned())
    }

    async fn metadata_or_reason(&self, url: &Url, policy: &AddressPolicy) -> Fetched {
        let asking = self.metadata_within_origin(url, policy);
        match tokio::time::timeout(self.metadata_time, asking).await {
            Ok(Ok((status, body))) => Fetched::Answer { status, body },
            Ok(Err(Refused::Forbidden(failure))) => Fetched::Refused(failure),
            Ok(Err(Refused::Trouble(trouble))) if is_final(trouble.kind) => {
                Fetched::Refused(failure(trouble, Kind::MetadataInvalid))
            }
            Ok(Err(Refused::Trouble(trouble))) => Fetched::Unreachable(trouble.text),
            Err(_) => Fetched::Unreachable(too_slow(url, self.metadata_time)),
        }
    }

    async fn metadata_within_origin(
        &self,
        start: &Url,
        policy: &AddressPolicy,
    ) -> Result<(u16, Bytes), Refused> {
        let mut headers = self.user_headers(start, policy).await;
        headers.insert(header::ACCEPT, JSON);
        let newest = HeaderValue::from_static(revision::NEWEST_WITH_HANDSHAKE);
        headers.insert(PROTOCOL_VERSION, newest);
        let mut url = start.clone();
        let mut hops = 0;
        loop {
            let response = self
                .send(Method::GET, &url, headers.clone(), None, policy)
                .await?;
            let status = response.status().as_u16();
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                url = next(start, &url, &response, hops, policy)?;
                hops += 1;
            } else if status == 400 && headers.remove(PROTOCOL_VERSION).is_some() {
                url = start.clone();
                hops = 0;
            } else {
                return Ok((status, self.body(response, start).await?));
            }
        }
    }

    async fn post(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
        policy: &AddressPolicy,
    ) -> Result<Answer, Unanswered> {
        headers.insert(header::ACCEPT, JSON);
        let (sent_sender, sent) = watch::channel(false);
        let body = reqwest::Body::wrap(Tracked::new(body, sent_sender));
        let posting = async {
            let response = self
                .send(Method::POST, url, headers, Some(body), policy)
                .await?;
            let status = response.status();
            if status.is_redirection() {
                return Err(redirected(url, &response));
            }
            let head = response.headers().clone();
            let body = self.body(response, url).await?;
            Ok(Answer::new(status.as_u16(), &head, body))
        };
        let refused = match tokio::time::timeout(self.post_time, posting).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(refused)) => refused,
            Err(_) => Refused::Trouble(Trouble {
                kind: TroubleKind::Timeout,
                sent: *sent.borrow(),
                text: too_slow(url, self.post_time),
            }),
        };
        Err(match refused {
            Refused::Forbidden(failure) => Unanswered {
                sent: *sent.borrow(),
                failure,
            },
            Refused::Trouble(trouble) => Unanswered {
                sent: trouble.sent && *sent.borrow(),
                failure: failure(trouble, Kind::TokenResponseInvalid),
            },
        })
    }

    /// Sends one request and returns the head of the answer, whatever its status.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<reqwest::Body>,
        policy: &AddressPolicy,
    ) -> Result<Response, Refused> {
        let client = self.guarded(policy).for_url(url).await?;
        let mut request = reqwest::Request::new(method, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body;
        let proxy = self.http.proxy_for(url);
        let response = client.execute(request).await.map_err(|error| {
            guard::blocked(&error).map_or_else(
                || Refused::Trouble(trouble::explain(&error, url, proxy.as_deref(), true)),
                Refused::Forbidden,
            )
        })?;
        if let Some(trouble) = trouble::oversized_head(response.headers(), url) {
            return Err(Refused::Trouble(trouble));
        }
        if response.status() == 407
            && let Some(proxy) = proxy
        {
            return Err(Refused::Trouble(trouble::proxy_wants_credentials(&proxy)));
        }
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        match encoding.filter(|encoding| *encoding != "identity") {
            None => Ok(response),
            Some(encoding) => Err(Refused::Trouble(Trouble {
                kind: TroubleKind::Encoding,
                sent: true,
                text: format!(
                    "{} compressed its answer{}, which was not offered; tell its operator",
                    text::origin(url),
                    coding(encoding)
                ),
            })),
        }
    }

    /// Reads a body up to its limit, decompressed. Of an error's body the beginning is enough.
    async fn body(&self, mut response: Response, url: &Url) -> Result<Bytes, Refused> {
        let is_success = response.status().is_success();
        let limit = if is_success {
            limits::BODY
        } else {
            limits::ERROR_BODY
        };
        let mut bytes = BytesMut::new();
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                let proxy = self.http.proxy_for(url);
                Refused::Trouble(trouble::explain(&error, url, proxy.as_deref(), true))
            })?;
            let Some(chunk) = chunk else {
                return Ok(bytes.freeze());
            };
            let room = limit - bytes.len();
            if chunk.len() <= room {
                bytes.extend_from_slice(&chunk);
            } else if is_success {
                return Err(Refused::Trouble(Trouble {
                    kind: TroubleKind::TooLarge,
                    sent: true,
                    text: format!(
                        "{} answered with more than {} KiB, which is refused; tell its operator",
                        shown(url),
                        limit >> 10
                    ),
                }));
            } else {
                bytes.extend(chunk.into_iter().take(room));
                return Ok(bytes.freeze());
            }
        }
    }

    async fn user_headers(&self, url: &Url, policy: &AddressPolicy) -> HeaderMap {
        let mut map = HeaderMap::new();
        if url.origin() == policy.server.origin() {
            let mut headers = self.headers.clone();
            if let Ok(headers) = headers.wait_for(Option::is_some).await
                && let Some(headers) = &*headers
            {
                headers.apply(&mut map);
            }
            map.remove(header::AUTHORIZATION);
        }
        map
    }

    fn guarded(&self, policy: &AddressPolicy) -> Arc<GuardedClient> {
        let mut kept = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(client) if client.obeys(policy) => Arc::clone(client),
            _ => {
                let client = Arc::new(GuardedClient::new(self.http.clone(), policy.clone()));
                *kept = Some(Arc::clone(&client));
                client
            }
        }
    }
}

impl fmt::Debug for OauthHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthHttp")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl From<Unanswered> for TokenError {
    fn from(unanswered: Unanswered) -> Self {
        Self {
            status: unanswered.failure.status.unwrap_or_default(),
            ..Self::unreachable(unanswered.failure.text)
        }
    }
}

impl From<Failure> for Unanswered {
    /// Something that went wrong before anything was sent.
    fn from(failure: Failure) -> Self {
        Self {
            sent: false,
            failure,
        }
    }
}

/// ` with "br"`, or nothing if the field holds what cannot be the name of a coding.
fn coding(encoding: &HeaderValue) -> String {
    let name = encoding.to_str().ok().filter(|name| {
        name.len() <= CODING && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    name.map_or_else(String::new, |name| format!(" with \"{name}\""))
}

/// Where a redirect of metadata leads: to the same origin, a few times. `start` is what was asked
/// for: the only one of the addresses that the server did not make up.
fn next(
    start: &Url,
    from: &Url,
    response: &Response,
    hops: usize,
    policy: &AddressPolicy,
) -> Result<Url, Refused> {
    let Some(target) = target(from, response) else {
        return Err(redirect_refused(format!(
            "{} redirects without saying where to; tell its operator",
            shown(start)
        )));
    };
    if target.origin() != from.origin() {
        return Err(redirect_refused(format!(
            "{} redirects to {}, which is another server, so it is not followed; ask its operator \
             to serve the document itself",
            shown(start),
            origin(&target)
        )));
    }
    if hops >= limits::REDIRECTS {
        return Err(redirect_refused(format!(
            "{} redirects after {hops} redirects already; tell its operator",
            shown(start)
        )));
    }
    policy
        .parse("the target of a redirect", target.as_str())
        .map_err(Refused::Forbidden)
}

/// The refusal of a redirect that would repeat secrets elsewhere.
fn redirected(url: &Url, response: &Response) -> Refused {
    let status = response.status().as_u16();
    let target =
        target(url, response).map_or_else(String::new, |target| format!(" to {}", origin(&target)));
    Refused::Forbidden(
        Failure::new(
            Kind::RedirectRefused,
            Executed::No,
            format!(
                "{} redirects{target} (HTTP {status}), which is not followed with credentials; \
                 tell its operator",
                shown(url)
            ),
        )
        .with_status(status),
    )
}

fn redirect_refused(text: String) -> Refused {
    Refused::Forbidden(Failure::new(Kind::RedirectRefused, Executed::No, text))
}

/// What `Location` names, without the fragment.
fn target(from: &Url, response: &Response) -> Option<Url> {
    let location = response.headers().get(header::LOCATION)?;
    let mut target = from
        .join(&String::from_utf8_lossy(location.as_bytes()))
        .ok()?;
    target.set_fragment(None);
    Some(target)
}

/// Whether asking again would bring the same.
fn is_final(kind: TroubleKind) -> bool {
    matches!(
        kind,
        TroubleKind::Redirect | TroubleKind::TooLarge | TroubleKind::Encoding
    )
}

/// A trouble as a failure; `unreadable` is the kind where the answer cannot be read.
fn failure(trouble: Trouble, unreadable: Kind) -> Failure {
    let kind = match trouble.kind {
        TroubleKind::Connect
        | TroubleKind::Dns
        | TroubleKind::Tls
        | TroubleKind::Proxy
        | TroubleKind::Broken
        | TroubleKind::Internal => Kind::Connect,
        TroubleKind::Timeout => Kind::Timeout,
        TroubleKind::Redirect => Kind::RedirectRefused,
        TroubleKind::TooLarge => Kind::LimitExceeded,
        TroubleKind::Encoding => unreadable,
    };
    Failure::new(kind, Executed::No, trouble.text)
}

fn too_slow(url: &Url, limit: Duration) -> String {
    format!(
        "{} did not answer within {} s; try again later",
        shown(url),
        limit.as_secs()
    )
}

fn shown(url: &Url) -> String {
    sanitize(&text::public_url(url), EXCERPT_CHARS)
}

/// Of an address that a server made up: its path may repeat what the server was sent.
fn origin(url: &Url) -> String {
    sanitize(&text::origin(url), EXCERPT_CHARS)
}

/// A field value that no log shows.
fn secret_value(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Failure::new(
            Kind::TokenResponseInvalid,
            Executed::No,
            "a credential holds a character that no header can carry; check where it comes from",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The bytes of a secret, wiped when the last of them is dropped.
fn wiped(secret: Secret) -> Bytes {
    struct Owner(Secret);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.reveal().as_bytes()
        }
    }
    Bytes::from_owner(Owner(secret))
}

#[cfg(test)]
mod tests;
