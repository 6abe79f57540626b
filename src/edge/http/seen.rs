//! What servers show in TLS handshakes, kept for people who look.
//!
//! In: the chains of certificates with the verdict on each, and the root that a trusted one ends
//! in. Out: judging them ([`super::tls`]), making the connection ([`super::observe`]).

use std::sync::{Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use super::settings::NetworkSettings;
use super::{certificate, tls};
use crate::proto::doctor::certificate::{Presented, Root};

/// Most handshakes kept: one with a proxy and one with the server is what there is.
const HANDSHAKES: usize = 4;

/// Most certificates of one handshake kept. Chains in use have two or three.
const CERTIFICATES: usize = 32;

/// Handshakes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Vec<Shown>>);

/// What one server showed.
#[derive(Debug)]
pub(super) struct Shown {
    host: String,
    chain: Vec<CertificateDer<'static>>,
    sent: usize,
    /// Why it is refused, or would be if it were checked.
    pub(super) refused: Option<String>,
    /// Whether it passes whatever it is.
    pub(super) is_insecure: bool,
}

impl Seen {
    /// Keeps what was shown under a name, and the verdict.
    pub(super) fn keep(
        &self,
        name: &ServerName<'_>,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        refused: Option<String>,
        is_insecure: bool,
    ) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= HANDSHAKES {
            return;
        }
        let chain = std::iter::once(end_entity).chain(others);
        seen.push(Shown {
            host: name.to_str().into_owned(),
            chain: chain
                .take(CERTIFICATES)
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            sent: others.len() + 1,
            refused,
            is_insecure,
        });
    }

    /// Whether there was no handshake yet.
    pub(super) fn is_empty(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_empty()
    }

    /// The last handshake: the one with the server, unless the proxy's came to nothing.
    pub(super) fn take_last(&self) -> Option<Shown> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.pop()
    }
}

impl Shown {
    /// Its own certificate in words.
    pub(super) fn presented(&self) -> Presented {
        let own = self.chain.first().map_or(&[][..], AsRef::as_ref);
        Presented {
            host: self.host.clone(),
            issuer: certificate::names(own)
                .map_or_else(|| "(unreadable)".to_owned(), |names| names.issuer),
            validity: certificate::validity(own),
            sent: self.sent,
        }
    }

    fn ends_in(&self, root: &CertificateDer<'_>) -> bool {
        let Some((own, others)) = self.chain.split_first() else {
            return false;
        };
        if own == root {
            return true;
        }
        let mut roots = RootCertStore::empty();
        let algorithms = ring::default_provider().signature_verification_algorithms;
        roots.add(root.clone().into_owned()).is_ok()
            && ParsedCertificate::try_from(own).is_ok_and(|own| {
                verify_server_cert_signed_by_trust_anchor(
                    &own,
                    &roots,
                    others,
                    UnixTime::now(),
                    algorithms.all,
                )
                .is_ok()
            })
    }
}

/// Everything that is trusted, by what makes it so.
#[derive(Default)]
pub(super) struct Roots {
    /// The system's; unknown where the system itself judges (macOS, Windows).
    pub(super) system: Option<Vec<CertificateDer<'static>>>,
    /// Those of files, under the option or variable that names the file.
    pub(super) files: Vec<(String, Vec<CertificateDer<'static>>)>,
}

impl Roots {
    /// Reads them anew.
    ///
    /// # Errors
    /// A sentence that names the file and the flag behind it.
    pub(super) fn read(settings: &NetworkSettings) -> Result<Self, String> {
        #[cfg(any(target_vendor = "apple", windows))]
        let system = None;
        #[cfg(not(any(target_vendor = "apple", windows)))]
        let system = Some(tls::system_roots(settings));
        let files = tls::extra_roots(settings)?.groups;
        Ok(Self { system, files })
    }

    /// Which of them a trusted chain ends in. One of the system's comes before the same one in a
    /// file, which is then not needed.
    pub(super) fn end_of(&self, shown: &Shown) -> Root {
        let own = self.system.iter().map(|group| (None, group));
        let files = self.files.iter().map(|(by, group)| (Some(by), group));
        let found = own.chain(files).find_map(|(by, group)| {
            let root = group.iter().find(|root| shown.ends_in(root))?;
            Some((by, root))
        });
        let (by, root) = match found {
            Some((by, root)) => (by.cloned(), Some(root)),
            None => (None, None),
        };
        let name = match (root, shown.chain.last()) {
            (Some(root), _) => certificate::names(root).map(|names| names.subject),
            // The system knows more than we do: the last one shown names what it ends in.
            (None, Some(last)) => certificate::names(last).map(|names| names.issuer),
            (None, None) => None,
        };
        Root { name, by }
    }
}
