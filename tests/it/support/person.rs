//! The person with a browser: opens the sign-in link and goes where the pages lead.
//!
//! In: plain GETs over HTTP and HTTPS, redirects, a deadline. Out: deciding (`authority`), the
//! program that a bridge starts as browser (`launcher`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use url::Url;

use super::bridge::Bridge;
use super::tls::Authority;
use super::watched::DEADLINE;

/// Most redirects that a browser follows.
const REDIRECTS: usize = 10;

/// What every sign-in link contains.
const LINK_MARK: &str = "response_type=code";

/// Somebody who opens links.
#[derive(Clone, Default)]
pub(crate) struct Person {
    roots: Vec<CertificateDer<'static>>,
}

/// A page as the person saw it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its address.
    pub(crate) url: String,
    /// Status of the answer; 0 when there was none.
    pub(crate) status: u16,
    /// Head of the answer, names in lower case.
    pub(crate) head: String,
    /// Body of the answer.
    pub(crate) body: String,
}

impl Person {
    /// Somebody who trusts no certificate.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Trusts the servers of this authority.
    pub(crate) fn trusting(mut self, authority: &Authority) -> Self {
        let pem = authority.pem();
        let root = CertificateDer::from_pem_slice(pem.as_bytes());
        self.roots.push(root.expect("a certificate"));
        self
    }

    /// Opens a link and follows redirects to the end; every page on the way, the last one last.
    pub(crate) fn open(&self, link: &str) -> Vec<Page> {
        let mut pages = Vec::new();
        let mut next = Url::parse(link).ok();
        while let Some(url) = next.filter(|_| pages.len() <= REDIRECTS) {
            let page = self.get(&url);
            let target = page.header("location");
            next = target.and_then(|target| url.join(&target).ok());
            next = next.filter(|_| (300..400).contains(&page.status));
            pages.push(page);
        }
        pages
    }

    /// Follows the link that the bridge printed, once it has; gives the last page.
    #[track_caller]
    pub(crate) fn sign_in(&self, bridge: &Bridge) -> Page {
        self.sign_in_nth(bridge, 1)
    }

    /// As [`sign_in`](Self::sign_in), for the `nth` different link.
    #[track_caller]
    pub(crate) fn sign_in_nth(&self, bridge: &Bridge, nth: usize) -> Page {
        let pages = self.open(&wait_link(bridge, nth));
        pages.last().cloned().expect("a link leads somewhere")
    }

    /// One GET, without redirects. A server that does not answer gives status 0.
    pub(crate) fn get(&self, url: &Url) -> Page {
        let answer = self.exchange(url).unwrap_or_default();
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let lines = head.lines().map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            format!("{}:{value}\n", name.to_ascii_lowercase())
        });
        Page {
            url: url.as_str().to_owned(),
            status: status.unwrap_or_default(),
            head: lines.collect(),
            body: body.to_owned(),
        }
    }

    fn exchange(&self, url: &Url) -> std::io::Result<Vec<u8>> {
        let missing = || std::io::Error::other("an address that is not for a browser");
        let host = url.host_str().ok_or_else(missing)?;
        let port = url.port_or_known_default().ok_or_else(missing)?;
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             accept: text/html\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n\r\n",
            &url[url::Position::BeforeHost..url::Position::AfterPort]
        );
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((bare, port))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        if url.scheme() == "http" {
            return ask(socket, &request);
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(std::io::Error::other)?;
        let client = ClientConnection::new(self.tls(), name).map_err(std::io::Error::other)?;
        ask(StreamOwned::new(client, socket), &request)
    }

    fn tls(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots.clone());
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Page {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let start = format!("{name}:");
        let mut lines = self.head.lines();
        let value = lines.find_map(|line| line.strip_prefix(&start))?;
        Some(value.trim().to_owned())
    }
}

/// Waits for the `nth` different sign-in link on a bridge's stderr.
#[track_caller]
pub(crate) fn wait_link(bridge: &Bridge, nth: usize) -> String {
    let mut links = Vec::new();
    bridge.wait_stderr_where("a sign-in link", |text| {
        links = links_in(text);
        links.len() >= nth
    });
    links.swap_remove(nth - 1)
}

/// The different sign-in links in a text, in order.
pub(crate) fn links_in(text: &str) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    for word in text.split(|letter: char| letter.is_whitespace() || "<>\"'".contains(letter)) {
        let is_link = word.contains(LINK_MARK) && word.contains("://");
        if is_link && !links.iter().any(|known| known == word) {
            links.push(word.to_owned());
        }
    }
    links
}

fn ask(mut socket: impl Read + Write, request: &str) -> std::io::Result<Vec<u8>> {
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    // A peer that does not say goodbye properly has said all it had to say.
    match socket.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}
