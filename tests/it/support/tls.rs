//! Certificates made at run time, for servers and for clients.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A certificate authority of the test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// An authority with this common name.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server for `localhost` and `127.0.0.1`.
    pub(crate) fn server(&self) -> ServerTls {
        self.server_for(&["localhost", "127.0.0.1"])
    }

    /// A server for these names alone.
    pub(crate) fn server_for(&self, names: &[&str]) -> ServerTls {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        ServerTls::new(&self.issue(&CertificateParams::new(names).expect("host names")))
    }

    /// A server for `localhost` and `127.0.0.1` whose certificate ran out long ago.
    pub(crate) fn expired_server(&self) -> ServerTls {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("host names");
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        ServerTls::new(&self.issue(&params))
    }

    /// A client's certificate and key, both PEM.
    pub(crate) fn client(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.issue(&params);
        (certificate.pem(), key.serialize_pem())
    }

    fn issue(&self, params: &CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate, key)
    }
}

/// What an HTTPS server needs. Offers HTTP/1.1 alone until told otherwise.
pub(crate) struct ServerTls {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    http2: bool,
    clients: Option<CertificateDer<'static>>,
}

impl ServerTls {
    fn new((certificate, key): &(rcgen::Certificate, KeyPair)) -> Self {
        Self {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
            http2: false,
            clients: None,
        }
    }

    /// For `localhost` and `127.0.0.1`, vouched for by nobody else.
    pub(crate) fn self_signed() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("host names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self::new(&(certificate, key))
    }

    /// Offers HTTP/2 first.
    pub(crate) fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Turns away clients without a certificate from this authority.
    pub(crate) fn only_clients_of(mut self, authority: &Authority) -> Self {
        self.clients = Some(authority.0.der().clone());
        self
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("protocol versions");
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(authority.clone())
                    .expect("an authority's certificate");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let mut config = builder
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if self.http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Arc::new(config)
    }
}
