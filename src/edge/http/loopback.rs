//! Tiny servers on loopback for the unit tests of this module.
//!
//! In: certificates, a TLS server that speaks just enough HTTP/1.1 and HTTP/2, an HTTP and a SOCKS5
//! proxy, raw sockets; each on port 0, in threads of their own, blocking, with a deadline on every
//! read. Out: anything that knows MCP.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// No read waits longer than this.
const DEADLINE: Duration = Duration::from_secs(20);

/// What [`TlsServer`] answers over HTTP/1.1.
pub(crate) const BODY: &str = "hello";

/// A whole HTTP/1.1 answer with [`BODY`].
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Starts a server that runs `handle` for each connection.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// A loopback address where nothing listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Ends our side and waits for the peer's end: closing with something unread would reset the
/// connection and might take our last words with it.
pub(crate) fn linger(stream: &mut TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = io::copy(stream, &mut io::sink());
}

/// Reads a message head, up to and with the empty line.
pub(crate) fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, DER.
pub(crate) struct Issued {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// An authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(params, key, &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A certificate for these names, changed as wished before it is signed.
    pub(crate) fn issue(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = leaf(names, change);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued::new(&certificate, &key)
    }
}

impl Issued {
    /// A certificate that nobody else signed.
    pub(crate) fn self_signed(names: &[&str], change: impl Fn(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::new(&leaf(names, change).self_signed(&key).unwrap(), &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn leaf(names: &[&str], change: impl Fn(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Test Server");
    change(&mut params);
    params
}

/// A server for https that answers 200 over HTTP/1.1 or HTTP/2.
pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    /// One item for each completed handshake: the protocol agreed on.
    pub(crate) handshakes: Receiver<String>,
}

/// How a [`TlsServer`] differs from the plain one.
#[derive(Default)]
pub(crate) struct TlsOptions<'a> {
    /// Demands client certificates of this authority.
    pub(crate) client_authority: Option<&'a Authority>,
    /// Bytes of one header in the HTTP/2 answer.
    pub(crate) padding: usize,
    /// Certificates that are sent after its own.
    pub(crate) along: &'a [CertificateDer<'static>],
    /// Does not offer HTTP/2.
    pub(crate) http1_only: bool,
}

pub(crate) fn tls_server(identity: &Issued, options: &TlsOptions<'_>) -> TlsServer {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match options.client_authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let mut chain = vec![identity.certificate.clone()];
    chain.extend_from_slice(options.along);
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if options.http1_only {
        config.alpn_protocols.remove(0);
    }
    let config = Arc::new(config);
    let padding = options.padding;
    let (done, handshakes) = mpsc::channel();
    let address = serve(move |mut socket| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.is_handshaking() {
            if tls.complete_io(&mut socket).is_err() {
                return linger(&mut socket);
            }
        }
        let protocol =
            String::from_utf8_lossy(tls.alpn_protocol().unwrap_or_default()).into_owned();
        let _ = done.send(protocol.clone());
        let mut stream = StreamOwned::new(tls, socket);
        // The peer may leave at any time.
        let _ = if protocol == "h2" {
            speak_http2(&mut stream, padding)
        } else {
            read_head(&mut stream).and_then(|_| stream.write_all(OK))
        };
    });
    TlsServer {
        address,
        handshakes,
    }
}

/// The least of RFC 9113 that answers one request with 200 and no body.
fn speak_http2(stream: &mut (impl Read + Write), padding: usize) -> io::Result<()> {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    const ACK_OR_END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    stream.read_exact(&mut [0; 24])?; // connection preface
    write_frame(stream, SETTINGS, 0, 0, &[])?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        match (head[3], head[4]) {
            (SETTINGS, 0) => write_frame(stream, SETTINGS, ACK_OR_END_STREAM, 0, &[])?,
            (HEADERS, _) => {
                let mut block = vec![0x88]; // ":status: 200", RFC 7541 appendix A
                for _ in 0..padding / 100 {
                    // Literal field without indexing, RFC 7541 §6.2.2: "p", 100 bytes.
                    block.extend_from_slice(&[0, 1, b'p', 100]);
                    block.extend_from_slice(&[b'x'; 100]);
                }
                let mut pieces = block.chunks(16_000).peekable();
                let mut kind = HEADERS;
                while let Some(piece) = pieces.next() {
                    let mut flags = if kind == HEADERS {
                        ACK_OR_END_STREAM
                    } else {
                        0
                    };
                    if pieces.peek().is_none() {
                        flags |= END_HEADERS;
                    }
                    write_frame(stream, kind, flags, 1, piece)?;
                    kind = CONTINUATION;
                }
            }
            _ => {}
        }
    }
}

fn write_frame(
    stream: &mut impl Write,
    kind: u8,
    flags: u8,
    id: u32,
    payload: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(payload);
    stream.write_all(&frame)
}

/// A proxy, and what it was asked for.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// One item for each request: the head of an HTTP request, or for SOCKS5 `USER PASSWORD KIND
    /// HOST PORT`.
    pub(crate) requests: Receiver<String>,
}

/// An HTTP proxy that opens tunnels, and answers plain requests itself. With `refusal` it gives
/// that status line to everything.
pub(crate) fn http_proxy(refusal: Option<&'static str>) -> Proxy {
    let (seen, requests) = mpsc::channel();
    let address = serve(move |mut client| {
        let Ok(head) = read_head(&mut client) else {
            return;
        };
        let tunnel = head
            .strip_prefix("CONNECT ")
            .map(|rest| rest.split(' ').next().unwrap().to_owned());
        let _ = seen.send(head);
        if let Some(line) = refusal {
            let _ = write!(client, "HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let Some(target) = tunnel else {
            let _ = client.write_all(OK);
            return;
        };
        let Ok(server) = TcpStream::connect(target) else {
            return;
        };
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        pump(client, server);
    });
    Proxy { address, requests }
}

/// A SOCKS5 proxy (RFC 1928, RFC 1929) that wants `user` and `secret`.
pub(crate) fn socks_proxy() -> Proxy {
    let (seen, requests) = mpsc::channel();
    let address = serve(move |mut client| {
        let _ = (|| -> io::Result<()> {
            let methods = take_after(&mut client, 1)?;
            if !methods.contains(&2) {
                return client.write_all(&[5, 0xff]);
            }
            client.write_all(&[5, 2])?;
            let user = String::from_utf8(take_after(&mut client, 1)?).unwrap();
            let password = String::from_utf8(take_after(&mut client, 0)?).unwrap();
            if (user.as_str(), password.as_str()) != ("user", "secret") {
                return client.write_all(&[1, 1]);
            }
            client.write_all(&[1, 0])?;
            let [_, _, _, kind] = take(&mut client)?;
            let host = match kind {
                1 => Ipv4Addr::from(take::<4>(&mut client)?).to_string(),
                _ => String::from_utf8(take_after(&mut client, 0)?).unwrap(),
            };
            let port = u16::from_be_bytes(take(&mut client)?);
            let _ = seen.send(format!("{user} {password} {kind} {host} {port}"));
            // Names are resolved here, and all of them mean this machine.
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
            };
            client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
            pump(client, server);
            Ok(())
        })();
    });
    Proxy { address, requests }
}

fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Skips some bytes, then reads a length byte and that many bytes.
fn take_after(stream: &mut impl Read, skip: usize) -> io::Result<Vec<u8>> {
    stream.read_exact(&mut vec![0; skip])?;
    let [length] = take(stream)?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Carries bytes both ways until both sides are done.
fn pump(left: TcpStream, right: TcpStream) {
    let (mut from_left, mut to_right) = (left.try_clone().unwrap(), right.try_clone().unwrap());
    let forth = thread::spawn(move || {
        let _ = io::copy(&mut from_left, &mut to_right);
        let _ = to_right.shutdown(Shutdown::Write);
    });
    let (mut from_right, mut to_left) = (right, left);
    let _ = io::copy(&mut from_right, &mut to_left);
    let _ = to_left.shutdown(Shutdown::Write);
    let _ = forth.join();
}
