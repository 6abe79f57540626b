//! Whom TLS trusts: the system's roots, the user's own, and the client certificate.
//!
//! In: the rustls configuration and a verifier around the platform's. Out: connections
//! ([`super::client`]), words for a certificate that is refused ([`super::certificate`]), what is
//! kept of certificates for people who look ([`super::seen`]).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme, WantsVerifier,
};

use super::certificate;
use super::seen::Seen;
use super::settings::NetworkSettings;

/// A certificate that was refused, and why, in words that name its issuer and the flag that would
/// help. Travels inside [`rustls::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

impl Refused {
    /// The words, when this is the reason behind a TLS error.
    pub(super) fn behind(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }
}

/// TLS as the user wants it.
#[derive(Clone)]
pub(super) struct Tls {
    /// The configuration for https: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1 (RFC 7301).
    pub(super) config: ClientConfig,
    verifier: Arc<Verifier>,
}

impl Tls {
    /// Reads the files that the user named, and the system's roots, which may take tens of
    /// milliseconds.
    ///
    /// # Errors
    /// A sentence that names the file and the flag behind it.
    pub(super) fn new(settings: &NetworkSettings) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let extra = extra_roots(settings)?.into_certificates();
        let verifier = Arc::new(Verifier {
            inner: platform_verifier(settings, extra.clone(), &provider)?,
            algorithms,
            extra,
            insecure_host: settings.insecure_host.clone(),
            seen: None,
        });
        let builder = builder(provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>);
        let mut config = with_identity(builder, settings)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config, verifier })
    }

    /// The same configuration, but what servers show is kept in `seen`. Resumes no session of
    /// others, since a server shows nothing then.
    pub(super) fn watched(&self, seen: &Arc<Seen>) -> ClientConfig {
        let mut config = self.config.clone();
        config.resumption = Resumption::default();
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(Verifier {
                seen: Some(Arc::clone(seen)),
                ..Verifier::clone(&self.verifier)
            }));
        config
    }
}

/// A configuration that trusts nobody, for a client that only ever speaks plain http. Costs
/// nothing.
///
/// # Errors
/// Never in practice: the protocol versions are the provider's own.
pub(super) fn trusting_nobody() -> Result<ClientConfig, String> {
    let mut config = builder(Arc::new(ring::default_provider()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Reads the files that the user named, without the system's roots. The warnings name files
/// that are left out.
///
/// # Errors
/// A sentence that names the file and the flag behind it.
pub(super) fn check(settings: &NetworkSettings) -> Result<Vec<String>, String> {
    let extra = extra_roots(settings)?;
    let builder =
        builder(Arc::new(ring::default_provider()))?.with_root_certificates(RootCertStore::empty());
    with_identity(builder, settings)?;
    Ok(extra.warnings)
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))
}

// ----- roots -----

/// Certificates trusted beside the system's.
#[derive(Default)]
pub(super) struct ExtraRoots {
    /// Those of each file and folder, under the option or variable that names it.
    pub(super) groups: Vec<(String, Vec<CertificateDer<'static>>)>,
    warnings: Vec<String>,
}

impl ExtraRoots {
    fn into_certificates(self) -> Vec<CertificateDer<'static>> {
        self.groups
            .into_iter()
            .flat_map(|(_, group)| group)
            .collect()
    }

    /// Adds what a file or folder holds; what is wrong with it.
    fn load(&mut self, by: &str, file: Option<&Path>, folder: Option<&Path>) -> Vec<String> {
        let mut group = Vec::new();
        let found = rustls_native_certs::load_certs_from_paths(file, folder);
        let mut wrong: Vec<String> = found.errors.iter().map(reason).collect();
        if found.certs.is_empty() && wrong.is_empty() && file.is_some() {
            wrong.push(
                "no PEM certificate in it (`openssl x509 -inform der` converts the other form)"
                    .to_owned(),
            );
        }
        for certificate in found.certs {
            match RootCertStore::empty().add(certificate.clone()) {
                Ok(()) => group.push(certificate),
                Err(error) => wrong.push(format!("a certificate in it cannot be used: {error}")),
            }
        }
        if let (false, Some(path)) = (group.is_empty(), file.or(folder)) {
            self.groups
                .push((format!("{by} {}", path.display()), group));
        }
        wrong
    }

    /// As [`load`](Self::load), for what the environment names: nothing there is fatal.
    fn load_leniently(&mut self, variable: &str, file: Option<&Path>, folder: Option<&Path>) {
        let wrong = self.load(variable, file, folder);
        if let (Some(first), Some(path)) = (wrong.first(), file.or(folder)) {
            self.warnings.push(format!(
                "{variable} names {}, of which some or all is left out: {first}",
                path.display()
            ));
        }
    }
}

/// Reads the files that the user named.
///
/// # Errors
/// A sentence that names the file and the flag behind it.
pub(super) fn extra_roots(settings: &NetworkSettings) -> Result<ExtraRoots, String> {
    let mut extra = ExtraRoots::default();
    for file in &settings.ca_files {
        if let Some(first) = extra.load("--ca-cert", Some(file), None).first() {
            return Err(format!(
                "--ca-cert {} cannot be used: {first}",
                file.display()
            ));
        }
    }
    if let Some(file) = &settings.node_extra_ca_certs {
        extra.load_leniently("NODE_EXTRA_CA_CERTS", Some(file), None);
    }
    if let Some(file) = &settings.ssl_cert_file {
        extra.load_leniently("SSL_CERT_FILE", Some(file), None);
    }
    let folders = settings
        .ssl_cert_dir
        .as_ref()
        .map_or(OsStr::new(""), |list| list.as_os_str());
    for folder in std::env::split_paths(folders).filter(|folder| !folder.as_os_str().is_empty()) {
        extra.load_leniently("SSL_CERT_DIR", None, Some(&folder));
    }
    Ok(extra)
}

fn reason(error: &rustls_native_certs::Error) -> String {
    match &error.kind {
        rustls_native_certs::ErrorKind::Io { inner, .. } => inner.to_string(),
        rustls_native_certs::ErrorKind::Pem(error) => format!("damaged PEM ({error})"),
        _ => error.to_string(),
    }
}

/// The judge of certificates, or none when there is nothing to judge by.
type PlatformVerifier = Option<Arc<dyn ServerCertVerifier>>;

#[cfg(any(target_vendor = "apple", windows))]
fn platform_verifier(
    _settings: &NetworkSettings,
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<PlatformVerifier, String> {
    rustls_platform_verifier::Verifier::new_with_extra_roots(extra, Arc::clone(provider))
        .map(|verifier| Some(Arc::new(verifier) as Arc<dyn ServerCertVerifier>))
        .map_err(|error| format!("the system's certificate check cannot be used: {error}"))
}

#[cfg(not(any(target_vendor = "apple", windows)))]
fn platform_verifier(
    settings: &NetworkSettings,
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<PlatformVerifier, String> {
    let mut certificates = system_roots(settings);
    certificates.extend(extra);
    certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    certificates.dedup();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Ok(None);
    }
    let provider = Arc::clone(provider);
    rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map(|verifier| Some(verifier as Arc<dyn ServerCertVerifier>))
        .map_err(|error| format!("certificates cannot be checked: {error}"))
}

/// Bundles and folders of roots on Linux distributions and the BSDs, the first that exists of each.
#[cfg(not(any(target_vendor = "apple", windows)))]
const SYSTEM_BUNDLES: [&str; 8] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/etc/openssl/certs/ca-certificates.crt",
];
#[cfg(not(any(target_vendor = "apple", windows)))]
const SYSTEM_FOLDERS: [&str; 3] = ["/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/openssl/certs"];

/// The system's own roots. The library reads `SSL_CERT_FILE` and `SSL_CERT_DIR` instead of them
/// when those are set; here they add to the system's, so the usual places are read directly then.
#[cfg(not(any(target_vendor = "apple", windows)))]
pub(super) fn system_roots(settings: &NetworkSettings) -> Vec<CertificateDer<'static>> {
    if settings.ssl_cert_file.is_none() && settings.ssl_cert_dir.is_none() {
        return rustls_native_certs::load_native_certs().certs;
    }
    let first =
        |places: &'static [&'static str]| places.iter().map(Path::new).find(|path| path.exists());
    rustls_native_certs::load_certs_from_paths(first(&SYSTEM_BUNDLES), first(&SYSTEM_FOLDERS)).certs
}

// ----- client certificate -----

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    settings: &NetworkSettings,
) -> Result<ClientConfig, String> {
    let chain_file = match (&settings.client_cert, &settings.client_key) {
        (Some(file), _) => file,
        (None, Some(_)) => return Err("--client-key needs --client-cert FILE beside it".to_owned()),
        (None, None) => return Ok(builder.with_no_client_auth()),
    };
    let pem = read("--client-cert", chain_file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable("--client-cert", chain_file, &error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(
            "--client-cert",
            chain_file,
            "no PEM certificate in it",
        ));
    }
    let key = match &settings.client_key {
        Some(file) => private_key("--client-key", file, &read("--client-key", file)?)?,
        None => private_key("--client-cert", chain_file, &pem)?,
    };
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                "the key of --client-key does not belong to the certificate of --client-cert"
                    .to_owned()
            }
            error => unusable("--client-cert", chain_file, &error.to_string()),
        })
}

/// The first key in PEM: PKCS #8, PKCS #1 or SEC 1 (RFC 7468, RFC 5915).
fn private_key(flag: &str, file: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => unusable(
            flag,
            file,
            "no private key in it that is not encrypted (`openssl pkey -in FILE` decrypts one; \
             --client-key names a key in a file of its own)",
        ),
        error => unusable(flag, file, &error.to_string()),
    })
}

fn read(flag: &str, file: &PathBuf) -> Result<Vec<u8>, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are files the user named"
    )]
    std::fs::read(file).map_err(|error| unusable(flag, file, &error.to_string()))
}

fn unusable(flag: &str, file: &Path, reason: &str) -> String {
    format!("{flag} {} cannot be used: {reason}", file.display())
}

// ----- the verifier -----

/// Asks the platform, makes the two exceptions that the user can ask for, and puts a refusal
/// into words while the certificate is at hand.
#[derive(Clone, Debug)]
struct Verifier {
    inner: PlatformVerifier,
    algorithms: WebPkiSupportedAlgorithms,
    extra: Vec<CertificateDer<'static>>,
    insecure_host: Option<String>,
    /// Where what is shown is kept, if somebody looks.
    seen: Option<Arc<Seen>>,
}

impl Verifier {
    fn is_insecure(&self, name: &ServerName<'_>) -> bool {
        self.insecure_host.as_ref().is_some_and(|host| {
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .eq_ignore_ascii_case(&name.to_str())
        })
    }

    /// What the platform says, with the exception for certificates trusted themselves.
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<(), Refused> {
        let Some(inner) = &self.inner else {
            let words = "no trusted root certificates were found on this system; install its \
                         ca-certificates package, or pass --ca-cert FILE";
            return Err(Refused(words.to_owned()));
        };
        inner
            .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            .map(drop)
            .or_else(|error| self.reconsider(error, end_entity, name))
            .map_err(|error| {
                Refused(certificate::refusal(
                    &error,
                    end_entity,
                    intermediates.len(),
                    name,
                ))
            })
    }

    /// Takes a second look where all that is wrong with a certificate is that it calls itself an
    /// authority, as self-signed ones made with default options do: it is good when the user
    /// trusts this very one and it is for this name. Its dates were checked before that.
    fn reconsider(
        &self,
        error: Error,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> Result<(), Error> {
        if !certificate::is_marked_as_authority(&error) {
            return Err(error);
        }
        if !self
            .extra
            .iter()
            .any(|trusted| trusted.as_ref() == certificate.as_ref())
        {
            let self_signed =
                certificate::names(certificate).is_some_and(|names| names.self_signed);
            return Err(if self_signed {
                CertificateError::UnknownIssuer.into()
            } else {
                error
            });
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_insecure = self.is_insecure(server_name);
        if is_insecure && self.seen.is_none() {
            return Ok(ServerCertVerified::assertion());
        }
        let judged = self.judge(end_entity, intermediates, server_name, ocsp_response, now);
        if let Some(seen) = &self.seen {
            let refused = judged.as_ref().err().map(ToString::to_string);
            seen.keep(server_name, end_entity, intermediates, refused, is_insecure);
        }
        match judged {
            Err(refused) if !is_insecure => {
                Err(CertificateError::Other(OtherError(Arc::new(refused))).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(all(test, not(any(target_vendor = "apple", windows))))]
mod tests {
    use super::*;

    #[test]
    fn variables_for_extra_roots_leave_the_systems_in_place() {
        if !SYSTEM_BUNDLES
            .iter()
            .any(|bundle| Path::new(bundle).exists())
        {
            return;
        }
        let file = Some(PathBuf::from("/nowhere/extra.pem"));
        let none = NetworkSettings::default;
        for settings in [
            NetworkSettings {
                ssl_cert_file: file.clone(),
                ..none()
            },
            NetworkSettings {
                ssl_cert_dir: file,
                ..none()
            },
        ] {
            assert!(!system_roots(&settings).is_empty());
        }
    }

    #[test]
    fn without_any_root_the_next_step_is_named() {
        let provider = ring::default_provider();
        let mut verifier = Verifier {
            inner: None,
            algorithms: provider.signature_verification_algorithms,
            extra: Vec::new(),
            insecure_host: None,
            seen: None,
        };
        let certificate = CertificateDer::from(vec![0]);
        let name = ServerName::try_from("a.test").unwrap();
        let verify = |verifier: &Verifier| {
            verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now())
        };
        let error = verify(&verifier).unwrap_err();
        assert!(
            Refused::behind(&error)
                .unwrap()
                .to_string()
                .contains("--ca-cert FILE")
        );
        verifier.insecure_host = Some("A.test".to_owned());
        verify(&verifier).unwrap();
    }

    #[test]
    fn only_the_insecure_host_is_insecure_in_every_spelling() {
        let verifier = |host: &str| Verifier {
            inner: None,
            algorithms: ring::default_provider().signature_verification_algorithms,
            extra: Vec::new(),
            insecure_host: Some(host.to_owned()),
            seen: None,
        };
        for (host, name, insecure) in [
            ("a.test", "a.test", true),
            ("a.test", "b.a.test", false),
            ("a.test", "a.test.evil", false),
            ("[::1]", "::1", true),
            ("[::1]", "::2", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
        ] {
            let name = ServerName::try_from(name).unwrap();
            assert_eq!(
                verifier(host).is_insecure(&name),
                insecure,
                "{host} {name:?}"
            );
        }
    }
}
