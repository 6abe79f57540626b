//! Tokens: what the token endpoint answers, how long they are good, what a renewal keeps (RFC 6749
//! §5, §6).
//!
//! In: reading answers and judging time. Out: asking (`grant`), keeping (`edge/store`).

use std::time::Duration;

use super::answer::{self, Members, Refused, Unusable};
use super::{limits, scope};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::secret::Secret;

/// A clock that shows a time this long before a token was issued is not believed.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// How often one renewal is tried before it fails for now.
const ATTEMPTS: u32 = 3;

/// Longest `Retry-After` that is waited for.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What kind of token it is (RFC 6750, RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenType {
    /// `Bearer`.
    #[default]
    Bearer,
    /// `DPoP`.
    Dpop,
}

/// One set of tokens. Times are Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// `access_token`.
    pub access: Secret,
    /// `token_type`.
    pub token_type: TokenType,
    /// `refresh_token`.
    pub refresh: Option<Secret>,
    /// `id_token`; kept only with `--use-id-token`.
    pub id_token: Option<Secret>,
    /// Granted scope, if the server said so.
    pub scope: Option<String>,
    /// Scope that was asked for, if any.
    pub requested_scope: Option<String>,
    /// When it expires; `None`: nobody knows.
    pub expires_at: Option<u64>,
    /// When it was issued, as far as known.
    pub issued_at: Option<u64>,
    /// Who issued it, as far as known.
    pub issuer: Option<String>,
}

/// Why the token endpoint gave no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// HTTP status; 0: there was no answer.
    pub status: u16,
    /// `error` (RFC 6749 §5.2), sanitized; `None`: the answer has none.
    pub code: Option<String>,
    /// `error_description`, or what an answer without `error` says instead, sanitized.
    pub description: Option<String>,
    /// Wait before the next try, in seconds, as `Retry-After` says.
    pub retry_after: Option<u64>,
    /// What is wrong, as a sentence without secrets.
    pub text: String,
}

/// What a refused renewal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The refresh token is dead: sign in again.
    Dead,
    /// The client is unknown: register again.
    ClientUnknown,
    /// It may work later; nothing is thrown away.
    Temporary,
    /// Dead if it happens again with the same token.
    Suspicious,
    /// Once more without `scope`.
    WithoutScope,
}

/// Reads the answer of the token endpoint (RFC 6749 §5). `now` is the time before the request was
/// sent, in Unix milliseconds; expiry counts from there.
///
/// A missing `token_type` counts as `Bearer`, and a form is read where `content_type` says that it
/// is one: some servers answer so. An answer with `error` is an error whatever its status.
/// `requested_scope` and `issuer` are the caller's to add, and `id_token` is to be dropped unless
/// it is wanted.
///
/// # Errors
/// The error, with a `code` where the server gave one; never quotes the body.
pub fn read(
    status: u16,
    content_type: Option<&str>,
    retry_after: Option<u64>,
    body: &[u8],
    now: u64,
) -> Result<Tokens, TokenError> {
    let error = |refused: Refused, text: String| TokenError {
        status,
        code: refused.code,
        description: refused.description,
        retry_after,
        text,
    };
    let members = answer::object(body).or_else(|| {
        let is_form = content_type.is_some_and(is_form);
        answer::form(body).filter(|_| is_form)
    });
    let words = || members.as_ref().and_then(answer::plain_words);
    if let Some(mut refused) = members.as_ref().and_then(answer::refused) {
        if refused == Refused::default() && !answer::is_success(status) {
            refused.description = words();
        }
        let text = format!(
            "the token endpoint refused the request{}",
            refused.in_brackets()
        );
        return Err(error(refused, text));
    }
    if !answer::is_success(status) {
        let refused = Refused {
            code: None,
            description: words(),
        };
        let why = match &refused.description {
            Some(_) => refused.in_brackets(),
            None => " without saying why".to_owned(),
        };
        let text = format!("the token endpoint answered HTTP {status}{why}");
        return Err(error(refused, text));
    }
    let Some(members) = members else {
        let text = "the token endpoint's answer is not a JSON object".to_owned();
        return Err(error(Refused::default(), text));
    };
    tokens(members, now).map_err(|Unusable(member)| {
        let text = format!("the token endpoint's answer has no usable {member}");
        error(Refused::default(), text)
    })
}

fn tokens(mut members: Members, now: u64) -> Result<Tokens, Unusable> {
    let token_type = match answer::text(&mut members, "token_type")? {
        None => TokenType::Bearer,
        Some(name) if name.eq_ignore_ascii_case("bearer") => TokenType::Bearer,
        Some(name) if name.eq_ignore_ascii_case("dpop") => TokenType::Dpop,
        Some(_) => return Err(Unusable("token_type")),
    };
    let mut secret = |name, is_sane: fn(&str) -> bool| {
        let text = answer::text(&mut members, name)?.map(Secret::from);
        match text {
            Some(text) if !is_sane(text.reveal()) => Err(Unusable(name)),
            text => Ok(text),
        }
    };
    let access = secret("access_token", answer::is_visible)?.ok_or(Unusable("access_token"))?;
    let refresh = secret("refresh_token", answer::is_printable)?;
    let id_token = secret("id_token", answer::is_visible)?;
    let lifetime = answer::seconds(&members, "expires_in")?;
    let granted = answer::words(&members, "scope")?;
    Ok(Tokens {
        access,
        token_type,
        refresh,
        id_token,
        scope: granted
            .map(|granted| scope::clean(&granted).0.join(" "))
            .filter(|granted| !granted.is_empty()),
        requested_scope: None,
        expires_at: lifetime.map(|seconds| {
            let lifetime = Duration::from_secs(seconds).min(limits::LIFETIME);
            now.saturating_add(millis(lifetime))
        }),
        issued_at: Some(now),
        issuer: None,
    })
}

fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Tokens {
    /// Whether it is time to renew: [`limits::REFRESH_LEAD`] before expiry, at most a fifth of the
    /// token's life where that is known. `now` is in Unix milliseconds; `spread` from 0 to 1
    /// differs between processes and adds up to a tenth of the lead.
    #[must_use]
    pub fn is_due(&self, now: u64, spread: f64) -> bool {
        let Some(expires_at) = self.trusted_expiry(now) else {
            return false;
        };
        let lead = match self.issued_at {
            Some(issued_at) => {
                let lifetime = Duration::from_millis(expires_at.saturating_sub(issued_at));
                limits::REFRESH_LEAD.min(lifetime / 5)
            }
            None => limits::REFRESH_LEAD,
        };
        // Not a number becomes zero, too.
        let spread = if spread > 0.0 { spread.min(1.0) } else { 0.0 };
        let lead = lead + lead.mul_f64(spread / 10.0);
        now.saturating_add(millis(lead)) >= expires_at
    }

    /// Whether it has expired as far as this clock can tell; `now` is in Unix milliseconds. A
    /// clock that was set back tells nothing.
    #[must_use]
    pub fn is_expired(&self, now: u64) -> bool {
        self.trusted_expiry(now)
            .is_some_and(|expires_at| now >= expires_at)
    }

    /// When it expires, unless the clock contradicts the time of issue.
    fn trusted_expiry(&self, now: u64) -> Option<u64> {
        let went_back = self
            .issued_at
            .is_some_and(|issued_at| now.saturating_add(millis(CLOCK_TOLERANCE)) < issued_at);
        self.expires_at.filter(|_| !went_back)
    }

    /// What a renewal leaves out stays as it was (RFC 6749 §6), except the expiry, which belongs
    /// to the new access token.
    #[must_use]
    pub fn renewed(&self, answer: Self) -> Self {
        Self {
            refresh: answer.refresh.or_else(|| self.refresh.clone()),
            id_token: answer.id_token.or_else(|| self.id_token.clone()),
            scope: answer.scope.or_else(|| self.scope.clone()),
            requested_scope: answer
                .requested_scope
                .or_else(|| self.requested_scope.clone()),
            issuer: answer.issuer.or_else(|| self.issuer.clone()),
            ..answer
        }
    }

    /// Whether the texts are what a server can have issued: visible ASCII where they go into a
    /// header field (RFC 6750 §2.1), printable ASCII otherwise, none too long.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        let check = |text: &Option<Secret>, is_sane: fn(&str) -> bool| {
            text.as_ref().is_none_or(|text| is_sane(text.reveal()))
        };
        answer::is_visible(self.access.reveal())
            && check(&self.refresh, answer::is_printable)
            && check(&self.id_token, answer::is_visible)
    }
}

impl TokenError {
    /// No answer came.
    #[must_use]
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self {
            status: 0,
            code: None,
            description: None,
            retry_after: None,
            text: text.into(),
        }
    }

    /// What it means for a refresh token. A status that speaks of trouble at the server counts
    /// more than the code that comes with it.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        if self.is_trouble() {
            return Refusal::Temporary;
        }
        match self.code.as_deref() {
            // The second is GitHub's, which answers with its own codes.
            Some("invalid_grant" | "bad_refresh_token") => Refusal::Dead,
            Some(code) if blames_the_client(code) => Refusal::ClientUnknown,
            Some("invalid_scope") => Refusal::WithoutScope,
            // The server itself speaks, though not as it should (RFC 6749 §5.2): waiting would not
            // help. Without words it may be anything on the way that answers.
            None if matches!(self.status, 400 | 401) && self.description.is_some() => {
                Refusal::Suspicious
            }
            None
            | Some(
                "temporarily_unavailable"
                | "server_error"
                | "slow_down"
                | "use_dpop_nonce"
                | "invalid_dpop_proof",
            ) => Refusal::Temporary,
            Some(_) => Refusal::Suspicious,
        }
    }

    /// How long to wait before a renewal is tried again, when `tries` of it came to nothing;
    /// `None`: no more of it for now. `Retry-After` is honoured up to a minute (RFC 9110 §10.2.3).
    #[must_use]
    pub fn pause(&self, tries: u32) -> Option<Duration> {
        if self.refusal() != Refusal::Temporary || tries >= ATTEMPTS {
            return None;
        }
        let growing = Duration::from_secs(1 << tries.min(ATTEMPTS));
        let asked = Duration::from_secs(self.retry_after.unwrap_or_default());
        Some(growing.max(asked.min(RETRY_AFTER)))
    }

    /// Whether there was no answer, or one that speaks of trouble at the server.
    pub(super) fn is_trouble(&self) -> bool {
        matches!(self.status, 0 | 408 | 429 | 500..)
    }

    /// The failure to show when a code or a device code was not taken, or a client got no token.
    #[must_use]
    pub fn failure(&self) -> Failure {
        if self.is_trouble() {
            return self.with(
                Kind::AuthorizationError,
                "what was sent may be used up, so sign in again in a moment",
            );
        }
        let description = self.description.as_deref().unwrap_or_default();
        // Google wants the secret even from clients that use PKCE.
        let misses_secret = description.contains("client_secret");
        let code = match self.code.as_deref() {
            None => {
                return self.with(
                    Kind::TokenResponseInvalid,
                    "try again, and if that does not help, tell those who run the server",
                );
            }
            // What Entra answers when the scope does not belong to the resource.
            Some(_) if description.contains("AADSTS9010010") => "invalid_target",
            Some("invalid_request") if misses_secret => "invalid_client",
            Some(code) => code,
        };
        match code {
            code if blames_the_client(code) && misses_secret => self.with(
                Kind::ClientRejected,
                "put the client_secret into --static-oauth-client-info \
                 '{\"client_id\": \"…\", \"client_secret\": \"…\"}'",
            ),
            code if blames_the_client(code) => self.with(
                Kind::ClientRejected,
                "check client_id, client_secret and token_endpoint_auth_method in \
                 --static-oauth-client-info, or leave it out to register a new client",
            ),
            "invalid_target" => self.with(
                Kind::AuthorizationError,
                "the server does not know the resource it was asked for: name the right one with \
                 --resource URI, or leave it out with --disable-resource-parameter",
            ),
            "invalid_scope" => self.with(
                Kind::AuthorizationError,
                "choose the scope with --static-oauth-client-metadata '{\"scope\": \"…\"}'",
            ),
            "access_denied" => self.with(
                Kind::AuthorizationDenied,
                "sign in again, and ask those who run the server if it stays so",
            ),
            "use_dpop_nonce" | "invalid_dpop_proof" => self.with(
                Kind::DpopRejected,
                "check that this machine's clock is right, then sign in again",
            ),
            "unsupported_grant_type" => self.with(
                Kind::AuthorizationError,
                "this server does not offer the chosen way to sign in: leave out --device-code, \
                 --client-credentials, --enterprise-idp or --workload-jwt",
            ),
            _ => self.with(
                Kind::AuthorizationError,
                "sign in again; what was sent may have been too old, or used before",
            ),
        }
    }

    /// The failure to show when an assertion was not taken. `assertion` says which, and for whom it
    /// was made, such as `the token of --workload-jwt (audience https://as.example)`.
    #[must_use]
    pub fn assertion_failure(&self, assertion: &str) -> Failure {
        match self.code.as_deref() {
            _ if self.is_trouble() => self.failure(),
            None | Some("invalid_client" | "invalid_target") => self.failure(),
            Some(_) => {
                let text = format!(
                    "{}; it did not take {assertion}: check who issued it, whom it is meant for \
                     and how old it is",
                    self.text
                );
                Failure::new(Kind::AssertionRejected, Executed::No, text).with_status(self.status)
            }
        }
    }

    fn with(&self, kind: Kind, next_step: &str) -> Failure {
        let text = format!("{}; {next_step}", self.text);
        let failure = Failure::new(kind, Executed::No, text);
        match self.status {
            0 => failure,
            status => failure.with_status(status),
        }
    }
}

/// Codes that blame the client; the last is GitHub's.
fn blames_the_client(code: &str) -> bool {
    matches!(
        code,
        "invalid_client" | "unauthorized_client" | "incorrect_client_credentials"
    )
}

#[cfg(test)]
mod tests;
