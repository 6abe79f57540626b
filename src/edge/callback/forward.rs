//! Bringing a pasted redirect address to the process of this machine that waits for it.
//!
//! In: one request to a loopback port, and whether it was taken. Out: which address it is
//! (`proto::auth::callback`), judging it (the process that waits).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::proto::auth::limits;

/// Bytes of an answer that tell its status.
const STATUS_LINE: usize = 12;

/// Asks for this address as a browser would, never through a proxy. `true`: it is the one that was
/// waited for, and the sign-in succeeded.
///
/// # Errors
/// Nobody on this machine answers there.
pub async fn forward(url: &Url) -> io::Result<bool> {
    let time = limits::CALLBACK_HELD + limits::CALLBACK_TIME;
    let status = timeout(time, ask(url)).await??;
    Ok(status.starts_with(b"HTTP/1.") && matches!(status.get(9), Some(b'2' | b'3')))
}

async fn ask(url: &Url) -> io::Result<[u8; STATUS_LINE]> {
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) if address.is_loopback() => vec![(address, port).into()],
        Some(Host::Ipv6(address)) if address.is_loopback() => vec![(address, port).into()],
        Some(Host::Domain("localhost")) => vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ],
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut stream = TcpStream::connect(addresses.as_slice()).await?;
    let request = Zeroizing::new(format!(
        "GET {}?{} HTTP/1.1\r\nHost: {}:{port}\r\nConnection: close\r\n\r\n",
        url.path(),
        url.query().unwrap_or_default(),
        url.host_str().unwrap_or_default(),
    ));
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; STATUS_LINE];
    stream.read_exact(&mut status).await?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answered(answer: &'static str) -> (io::Result<bool>, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://localhost:{port}/back?code=a%20b&state=s");
        let url = Url::parse(&url).unwrap();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 4096];
            let count = stream.read(&mut seen).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            drop(stream);
            String::from_utf8_lossy(&seen[..count]).into_owned()
        };
        tokio::join!(forward(&url), serving)
    }

    #[tokio::test]
    async fn c39_the_status_tells_whether_it_was_taken() {
        for (answer, taken) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 302 Found\r\n\r\n", true),
            ("HTTP/1.1 400 Bad Request\r\n\r\n", false),
            ("SSH-2.0-x22222\r\n\r\n", false),
        ] {
            let (outcome, request) = answered(answer).await;
            assert_eq!(outcome.unwrap(), taken, "{answer}");
            assert!(
                request.starts_with("GET /back?code=a%20b&state=s HTTP/1.1\r\nHost: localhost:")
            );
        }
        assert!(answered("").await.0.is_err());
    }

    #[tokio::test]
    async fn c39_nobody_but_this_machine_is_asked() {
        for url in [
            "http://192.0.2.1/back?code=x",
            "http://host.example/back?code=x",
        ] {
            assert!(forward(&Url::parse(url).unwrap()).await.is_err(), "{url}");
        }
    }
}
