//! Finding the authorization server: which documents to ask for, in which order, and what their
//! absence means (MCP 2026-07-28, Authorization, Authorization Server Discovery; the fallbacks of
//! 2025-03-26).
//!
//! In: the order, as a machine that is told what each request brought. Out: the requests
//! (`edge/oauth`), the documents (`metadata`).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use super::address::AddressPolicy;
use super::challenge::Challenge;
use super::limits;
use super::metadata::{
    self, Flaw, ResourceMetadata, ServerMetadata, same_issuer, shown, trimmed_path,
};
use crate::proto::failure::{Executed, Failure, Kind};
use crate::proto::text::{origin, public_url, sanitize};

/// Well-known names (RFC 9728 §3, RFC 8414 §3, OIDC Discovery 1.0 §4).
const RESOURCE: &str = "oauth-protected-resource";
const SERVER: &str = "oauth-authorization-server";
const OPENID: &str = "openid-configuration";

/// Requests that an error lists, and the characters it has for each.
const LISTED: usize = 8;
/// See [`LISTED`].
const LISTED_CHARS: usize = 120;

/// What discovery starts from.
#[derive(Clone, Debug)]
pub struct Question {
    /// The user's server.
    pub server: Arc<Url>,
    /// What it said when it refused.
    pub challenge: Challenge,
    /// Which addresses may be contacted.
    pub policy: AddressPolicy,
    /// `--expect-issuer`: the issuer the user accepts for this server, whatever led to it.
    pub expected_issuer: Option<String>,
    /// Issuers to take first where several are offered: those of a configured client, of stored
    /// tokens, of a stored registration.
    pub preferred_issuers: Vec<String>,
    /// A client must be registered: an authorization server that offers neither registration nor
    /// metadata documents is passed over where there are others.
    pub needs_registration: bool,
    /// `--client-metadata-url` was given.
    pub has_metadata_document: bool,
}

/// What became of a request for a document.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// An HTTP answer, redirects followed.
    Answer {
        /// HTTP status.
        status: u16,
        /// Whole body.
        body: Bytes,
    },
    /// No answer, for a reason that may pass; a sentence.
    Unreachable(String),
    /// No usable answer, and none to be expected: a refused redirect, an answer over the limit.
    Refused(Failure),
}

/// What to do next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Ask for this document, then call [`Discovery::take`].
    Get(Url),
    /// Found.
    Done(Box<Discovered>),
    /// Nothing usable was found.
    Failed(Failure),
}

/// What discovery found.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// Protected resource metadata, if there is any.
    pub resource: Option<ResourceMetadata>,
    /// The authorization server.
    pub server: ServerMetadata,
    /// Sentences for the log: what was passed over and why.
    pub notes: Vec<String>,
}

/// Which document was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// Protected resource metadata (RFC 9728).
    Resource,
    /// Authorization server metadata (RFC 8414, OIDC Discovery 1.0).
    Server,
}

/// What one request for a document came to.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Where it was looked for.
    pub url: Url,
    /// What was looked for.
    pub document: Document,
    /// What came, in a few words: `HTTP 404`, `a web page`.
    pub outcome: String,
    /// What an unusable answer says about the document; `None`: it is there, and is used.
    pub verdict: Option<Verdict>,
}

/// The machine.
#[derive(Debug)]
pub struct Discovery {
    question: Question,
    stage: Stage,
    /// Documents to ask for in this stage; the first is being asked for.
    queue: VecDeque<Url>,
    /// Authorization servers that come later.
    later: VecDeque<String>,
    resource: Option<ResourceMetadata>,
    /// The first authorization server at which nobody can register.
    closed: Option<ServerMetadata>,
    tried: Vec<Tried>,
    notes: Vec<String>,
    /// The end, once it is reached.
    end: Option<Step>,
}

/// Which documents are being looked for.
#[derive(Debug)]
enum Stage {
    /// Protected resource metadata.
    Resource,
    /// Metadata of the authorization server with this identifier, and the first request for it.
    Server { identifier: String, from: usize },
    /// Metadata that the server offers for its own origin (MCP 2025-03-26).
    Origin,
}

/// A request for a document, and what it brought.
#[derive(Debug)]
struct Tried {
    url: Url,
    /// HTTP status, if there was an answer.
    status: Option<u16>,
    outcome: String,
    verdict: Verdict,
}

/// What an unusable answer says about the document.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is none.
    Absent,
    /// Something else stands in its place.
    Another,
    /// There may be one, at another time.
    Temporary,
    /// The request was sent elsewhere, where it is not followed.
    Elsewhere(Failure),
    /// There is one, and it cannot be used.
    Unusable(Failure),
}

impl Discovery {
    /// Nothing was asked for yet.
    #[must_use]
    pub fn new(question: Question) -> Self {
        let mut discovery = Self {
            stage: Stage::Resource,
            queue: VecDeque::new(),
            later: VecDeque::new(),
            resource: None,
            closed: None,
            tried: Vec::new(),
            notes: Vec::new(),
            end: None,
            question,
        };
        discovery.look_for_resource();
        discovery
    }

    /// The metadata of an issuer that is known beforehand, such as an identity provider of the
    /// user's.
    #[must_use]
    pub fn of_issuer(issuer: &str, policy: AddressPolicy) -> Self {
        let mut discovery = Self::new(Question {
            server: Arc::clone(&policy.server),
            challenge: Challenge::default(),
            policy,
            expected_issuer: Some(issuer.to_owned()),
            preferred_issuers: Vec::new(),
            needs_registration: false,
            has_metadata_document: false,
        });
        discovery.later.push_back(issuer.to_owned());
        discovery.next_server();
        discovery
    }

    /// What to do now. Asked again without [`Self::take`], it says the same.
    #[must_use]
    pub fn step(&self) -> Step {
        match (&self.end, self.queue.front()) {
            (Some(end), _) => end.clone(),
            (None, Some(url)) => Step::Get(url.clone()),
            (None, None) => Step::Failed(self.failure()),
        }
    }

    /// Takes what the last [`Step::Get`] brought, and says what it is good for. `None`: nothing was
    /// asked for.
    pub fn take(&mut self, fetched: Fetched) -> Option<Finding> {
        if self.end.is_some() {
            return None;
        }
        let url = self.queue.pop_front()?;
        let document = match self.stage {
            Stage::Resource => Document::Resource,
            Stage::Server { .. } | Stage::Origin => Document::Server,
        };
        let finding = |url, outcome: &str, verdict| Finding {
            url,
            document,
            outcome: outcome.to_owned(),
            verdict,
        };
        let status = match &fetched {
            Fetched::Answer { status, .. } => Some(*status),
            Fetched::Unreachable(_) | Fetched::Refused(_) => None,
        };
        let (outcome, verdict) = match fetched {
            Fetched::Answer { status: 200, body } if metadata::is_web_page(&body) => {
                ("a web page".to_owned(), Verdict::Another)
            }
            Fetched::Answer { status: 200, body } => match self.read(&body) {
                Ok(()) => {
                    let verdict = match &self.end {
                        Some(Step::Failed(failure)) => Some(Verdict::Unusable(failure.clone())),
                        _ => None,
                    };
                    return Some(finding(url, "HTTP 200", verdict));
                }
                Err(failure) => ("not usable".to_owned(), Verdict::Unusable(failure)),
            },
            Fetched::Answer { status, .. } => (
                format!("HTTP {status}"),
                match status {
                    // At another time the answer may be another.
                    408 | 425 | 429 | 500.. => Verdict::Temporary,
                    400..=499 => Verdict::Absent,
                    _ => Verdict::Another,
                },
            ),
            Fetched::Unreachable(reason) => (sanitize(&reason, LISTED_CHARS), Verdict::Temporary),
            Fetched::Refused(failure) if failure.kind == Kind::RedirectRefused => (
                "a redirect that is not followed".to_owned(),
                Verdict::Elsewhere(failure),
            ),
            Fetched::Refused(failure) => ("not usable".to_owned(), Verdict::Unusable(failure)),
        };
        let finding = finding(url.clone(), &outcome, Some(verdict.clone()));
        self.tried.push(Tried {
            url,
            status,
            outcome,
            verdict,
        });
        if self.queue.is_empty() {
            match &self.stage {
                Stage::Resource => self.without_resource(),
                Stage::Server { .. } => self.without_server(),
                Stage::Origin => self.without_metadata(),
            }
        }
        Some(finding)
    }

    /// The address of the challenge, then the server's path, then its root (RFC 9728 §3.1, §5.1;
    /// MCP 2026-07-28, Authorization, Protected Resource Metadata Discovery Requirements).
    fn look_for_resource(&mut self) {
        let Question {
            server,
            challenge,
            policy,
            ..
        } = &self.question;
        for text in challenge.resource_metadata.iter().take(limits::CHALLENGES) {
            match policy.parse("resource_metadata in the challenge", text) {
                Ok(url) => self.queue.push_back(url),
                Err(failure) => self.notes.push(format!("passed over: {}", failure.text)),
            }
        }
        self.queue
            .extend(inserted(server, RESOURCE, server.query()));
        self.queue.extend(at_root(server, RESOURCE));
        without_repeats(&mut self.queue);
    }

    /// A document of this stage that is well-formed JSON or ought to be.
    fn read(&mut self, body: &[u8]) -> Result<(), Failure> {
        let Question { server, policy, .. } = &self.question;
        let (identifier, same_origin) = match &self.stage {
            Stage::Resource => {
                return match ResourceMetadata::examine(body, server, policy) {
                    Ok((resource, notes)) => {
                        self.notes.extend(notes);
                        self.found_resource(resource);
                        Ok(())
                    }
                    Err(Flaw::Elsewhere(failure)) => Err(failure),
                    Err(Flaw::Final(failure)) => {
                        self.end = Some(Step::Failed(failure));
                        Ok(())
                    }
                };
            }
            Stage::Server { identifier, .. } => (identifier.clone(), false),
            Stage::Origin => (origin(server), true),
        };
        let named =
            metadata::issuer(body).filter(|issuer| same_origin && self.is_on_own_origin(issuer));
        let accepted = match (&self.question.expected_issuer, &named) {
            (Some(pinned), _) => vec![pinned.as_str()],
            (None, Some(named)) => vec![identifier.as_str(), named],
            (None, None) => vec![identifier.as_str()],
        };
        let server = ServerMetadata::read(body, &accepted, policy)?;
        self.found_server(&identifier, server);
        Ok(())
    }

    /// Before there was protected resource metadata nobody named an issuer, so that the document
    /// had nothing to be compared with: a server may call itself by any address of its own origin.
    fn is_on_own_origin(&self, issuer: &str) -> bool {
        let Question { server, policy, .. } = &self.question;
        policy
            .parse("issuer", issuer)
            .is_ok_and(|issuer| issuer.origin() == server.origin() && issuer.query().is_none())
    }

    fn found_resource(&mut self, resource: ResourceMetadata) {
        let mut servers = resource.authorization_servers.clone().unwrap_or_else(|| {
            self.notes.push(
                "the protected resource metadata names no authorization server; trying the server's own origin"
                    .to_owned(),
            );
            vec![origin(&self.question.server)]
        });
        // What went wrong before matters no more.
        self.tried.clear();
        // Stable: those that nothing is known of stay in their order.
        servers.sort_by_key(|server| self.rank(server));
        self.resource = Some(resource);
        self.later = servers.into();
        self.next_server();
    }

    /// Lower is better (RFC 9728 §7.6 leaves the choice to the client).
    fn rank(&self, server: &str) -> usize {
        let known = &self.question.preferred_issuers;
        let expected = self.question.expected_issuer.iter();
        expected
            .chain(known)
            .position(|issuer| same_issuer(issuer, server))
            .unwrap_or(usize::MAX)
    }

    /// Signing in elsewhere only because this one cannot be used just now would not do.
    fn is_preferred(&self, server: &str) -> bool {
        self.rank(server) != usize::MAX
    }

    fn next_server(&mut self) {
        let Some(identifier) = self.later.pop_front() else {
            self.end = Some(match self.closed.take() {
                Some(server) => self.done(server),
                None => Step::Failed(self.failure()),
            });
            return;
        };
        self.queue = server_documents(&identifier);
        self.stage = Stage::Server {
            identifier,
            from: self.tried.len(),
        };
    }

    fn found_server(&mut self, identifier: &str, server: ServerMetadata) {
        let open = server.registration_endpoint.is_some()
            || (self.question.has_metadata_document
                && server.client_id_metadata_document_supported);
        let preferred = self.is_preferred(identifier) || self.is_preferred(&server.issuer);
        let last = self.later.is_empty() && self.closed.is_none();
        if open || preferred || last || !self.question.needs_registration {
            self.end = Some(self.done(server));
            return;
        }
        self.notes.push(format!(
            "passed over: the authorization server {} registers no clients",
            shown(&server.issuer)
        ));
        self.closed.get_or_insert(server);
        self.next_server();
    }

    /// All places for protected resource metadata were asked.
    fn without_resource(&mut self) {
        let cannot_tell = self
            .tried
            .iter()
            .any(|tried| matches!(tried.verdict, Verdict::Temporary | Verdict::Unusable(_)));
        if cannot_tell {
            self.end = Some(Step::Failed(self.failure()));
            return;
        }
        self.notes.push(
            "the server has no protected resource metadata; trying the rules of MCP 2025-03-26"
                .to_owned(),
        );
        let server = &self.question.server;
        self.queue.extend(at_root(server, SERVER));
        self.queue.extend(at_root(server, OPENID));
        self.queue.extend(inserted(server, SERVER, None));
        without_repeats(&mut self.queue);
        self.stage = Stage::Origin;
    }

    /// All places for metadata of one authorization server were asked.
    fn without_server(&mut self) {
        let Stage::Server { identifier, from } = &self.stage else {
            return;
        };
        let tried = self.tried.get(*from..).unwrap_or_default();
        let temporary = tried
            .iter()
            .any(|tried| matches!(tried.verdict, Verdict::Temporary));
        if temporary && self.is_preferred(identifier) {
            self.end = Some(Step::Failed(self.failure()));
            return;
        }
        if !self.later.is_empty() || self.closed.is_some() {
            let why = worst(tried).map_or_else(|| list(tried), |failure| failure.text.clone());
            let note = format!(
                "passed over: the authorization server {} has no usable metadata ({why})",
                shown(identifier)
            );
            self.notes.push(note);
        }
        self.next_server();
    }

    /// The server's origin has no metadata either (MCP 2025-03-26, Authorization, Fallbacks for
    /// Servers without Metadata Discovery). A page in place of a document may stand for an outage,
    /// and that must not lead to another authorization server.
    fn without_metadata(&mut self) {
        let absent = self
            .tried
            .iter()
            .all(|tried| matches!(tried.verdict, Verdict::Absent));
        let server = ServerMetadata::assumed(&self.question.server);
        let expected = self.question.expected_issuer.as_deref();
        self.end = Some(match expected {
            _ if !absent => Step::Failed(self.failure()),
            Some(expected) if !same_issuer(expected, &server.issuer) => {
                Step::Failed(metadata::mismatch(&server.issuer, &[expected]))
            }
            _ => {
                self.notes.push(
                    "there is no authorization server metadata; trying the default endpoints of MCP 2025-03-26"
                        .to_owned(),
                );
                self.done(server)
            }
        });
    }

    fn done(&mut self, server: ServerMetadata) -> Step {
        let offered = self.resource.as_ref();
        let offered = offered.and_then(|resource| resource.authorization_servers.as_ref());
        if offered.is_some_and(|offered| offered.len() > 1) {
            self.notes.push(format!(
                "of several authorization servers {} is used",
                shown(&server.issuer)
            ));
        }
        Step::Done(Box::new(Discovered {
            resource: self.resource.take(),
            server,
            notes: std::mem::take(&mut self.notes),
        }))
    }

    /// The worst of what was met, and all that was asked.
    fn failure(&self) -> Failure {
        let temporary = self
            .tried
            .iter()
            .any(|tried| matches!(tried.verdict, Verdict::Temporary));
        let asked = list(&self.tried);
        // An outage must not look like a server that offers nothing.
        let worst =
            worst(&self.tried).filter(|_| !temporary || !matches!(self.stage, Stage::Resource));
        if let Some(worst) = worst {
            return Failure {
                text: format!("{} (asked: {asked})", worst.text),
                ..worst.clone()
            };
        }
        if temporary {
            let text = format!(
                "cannot find out where to sign in just now; the next request tries again (asked: {asked})"
            );
            return Failure::new(Kind::DiscoveryUnreachable, Executed::No, text);
        }
        let what = match &self.stage {
            Stage::Server { .. } => "the server's authorization server does not say how to sign in",
            Stage::Resource | Stage::Origin => "the server does not say how to sign in",
        };
        // Gateways before an authorization server may want a header that it never gets.
        let server = self.question.server.origin();
        let hint =
            if self.tried.iter().any(|tried| {
                matches!(tried.status, Some(401 | 403)) && tried.url.origin() != server
            }) {
                "; headers of --header go to the server itself and to no other"
            } else {
                ""
            };
        Failure::new(
            Kind::DiscoveryFailed,
            Executed::No,
            format!(
                "{what}; ask its operator, or add a token with --header{hint} (asked: {asked})"
            ),
        )
    }
}

/// Where the metadata of an authorization server may be (MCP 2026-07-28, Authorization,
/// Authorization Server Metadata Discovery; RFC 8414 §3.1, §5). Of an issuer with a path the root
/// is not asked, which may belong to others.
fn server_documents(identifier: &str) -> VecDeque<Url> {
    let Ok(issuer) = Url::parse(identifier) else {
        return VecDeque::new();
    };
    let appended = format!(
        "{}{}/.well-known/{OPENID}",
        origin(&issuer),
        trimmed_path(&issuer)
    );
    let mut documents: VecDeque<_> = [
        inserted(&issuer, SERVER, None),
        inserted(&issuer, OPENID, None),
        Url::parse(&appended).ok(),
    ]
    .into_iter()
    .flatten()
    .collect();
    without_repeats(&mut documents);
    documents
}

/// `/.well-known/NAME` between the authority and the path of an address, its encoding kept
/// (RFC 8414 §3.1, RFC 9728 §3.1). `None` for an address that is well-known itself.
fn inserted(base: &Url, name: &str, query: Option<&str>) -> Option<Url> {
    let path = trimmed_path(base);
    if path.split('/').any(|segment| segment == ".well-known") {
        return None;
    }
    let mut url = Url::parse(&format!("{}/.well-known/{name}{path}", origin(base))).ok()?;
    url.set_query(query);
    Some(url)
}

fn at_root(base: &Url, name: &str) -> Option<Url> {
    Url::parse(&format!("{}/.well-known/{name}", origin(base))).ok()
}

fn without_repeats(queue: &mut VecDeque<Url>) {
    let mut seen = Vec::new();
    queue.retain(|url| {
        let new = !seen.contains(url);
        if new {
            seen.push(url.clone());
        }
        new
    });
}

/// The gravest failure: an issuer that is another one, then the first of the others.
fn worst(tried: &[Tried]) -> Option<&Failure> {
    let failures = || {
        tried.iter().filter_map(|tried| match &tried.verdict {
            Verdict::Elsewhere(failure) | Verdict::Unusable(failure) => Some(failure),
            Verdict::Absent | Verdict::Another | Verdict::Temporary => None,
        })
    };
    failures()
        .find(|failure| failure.kind == Kind::IssuerMismatch)
        .or_else(|| failures().next())
}

/// The requests and what they brought, in a few words.
fn list(tried: &[Tried]) -> String {
    let mut words: Vec<_> = tried
        .iter()
        .take(LISTED)
        .map(|Tried { url, outcome, .. }| {
            let url = sanitize(&public_url(url), LISTED_CHARS);
            format!("GET {url}: {outcome}")
        })
        .collect();
    if let Some(more) = tried.len().checked_sub(LISTED).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests;
