//! What the user decided about the network, and the limits on the head of an answer.
//!
//! In: values. Out: reading them (`settings`), acting on them ([`super::client`], `tls`).

use std::path::PathBuf;
use std::time::Duration;

use super::proxy::ProxyChoice;

/// Largest response head, in bytes. HTTP/2 enforces it while reading; HTTP/1.1 reads up to 408 KiB
/// (hyper's fixed buffer) before [`super::trouble::oversized_head`] can refuse it.
pub const RESPONSE_HEAD: u32 = 64 << 10;

/// Most fields in a response head.
pub const RESPONSE_FIELDS: usize = 100;

/// What the user decided about the network. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct NetworkSettings {
    /// Extra trusted certificates, PEM (`--ca-cert`). Must be readable.
    pub ca_files: Vec<PathBuf>,
    /// Extra trusted certificates, PEM (`NODE_EXTRA_CA_CERTS`). As with Node, a file that cannot
    /// be read is a warning.
    pub node_extra_ca_certs: Option<PathBuf>,
    /// Extra trusted certificates, PEM (`SSL_CERT_FILE`). A file that cannot be read is a warning.
    pub ssl_cert_file: Option<PathBuf>,
    /// Folders of extra trusted certificates, PEM, separated as in `PATH` (`SSL_CERT_DIR`). A
    /// folder that cannot be read is a warning.
    pub ssl_cert_dir: Option<PathBuf>,
    /// Client certificate chain, PEM (`--client-cert`).
    pub client_cert: Option<PathBuf>,
    /// Its private key, PEM (`--client-key`); none: in the certificate's file.
    pub client_key: Option<PathBuf>,
    /// The one host whose certificate is not checked (`--insecure`), as [`url::Url::host_str`] has it.
    pub insecure_host: Option<String>,
    /// Where proxies come from.
    pub proxy: ProxyChoice,
    /// Connect to IPv4 addresses only (`--ipv4`).
    pub ipv4: bool,
    /// Longest wait for a connection: name, proxy and TLS together (`--connect-timeout`); none:
    /// the operating system's.
    pub connect_timeout: Option<Duration>,
}
