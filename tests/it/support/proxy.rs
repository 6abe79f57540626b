//! Proxies on loopback, for names that exist nowhere else: every host name means this machine.
//!
//! In: HTTP proxies (RFC 9110 §7.3.3, tunnels and plain requests) and SOCKS5 (RFC 1928, RFC 1929),
//! blocking, a thread for each connection. Out: what the servers behind them answer (`remote`).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::watched::{DEADLINE, Watched};

/// A running proxy. Its thread ends with the test process.
pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Arc<Watched<Vec<String>>>,
}

impl Proxy {
    /// An HTTP proxy. With `credentials` (`Basic …`) it answers 407 to everything without them.
    pub(crate) fn http(credentials: Option<&'static str>) -> Self {
        Self::start(move |client, seen| serve_http(client, seen, credentials))
    }

    /// A SOCKS5 proxy that demands this user name and password.
    pub(crate) fn socks(user: &'static str, password: &'static str) -> Self {
        Self::start(move |client, seen| serve_socks(client, seen, user, password))
    }

    /// Accepts and says nothing, ever.
    pub(crate) fn mute() -> Self {
        Self::start(|mut client, _| {
            io::copy(&mut client, &mut io::sink())?;
            Ok(())
        })
    }

    fn start(
        serve: impl Fn(TcpStream, &Watched<Vec<String>>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Watched::new(Vec::new()));
        let (serve, sink) = (Arc::new(serve), Arc::clone(&seen));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&sink));
                // The peer may leave at any time.
                std::thread::spawn(move || serve(client, &seen));
            }
        });
        Self { address, seen }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection began with: the head of an HTTP request, or for SOCKS5 the kind of
    /// address (1 is IPv4, 3 a name), host and port.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.with(|seen| seen.clone())
    }
}

fn serve_http(
    mut client: TcpStream,
    seen: &Watched<Vec<String>>,
    credentials: Option<&str>,
) -> io::Result<()> {
    let head = read_head(&mut client)?;
    seen.with(|seen| seen.push(head.clone()));
    if let Some(credentials) = credentials
        && !head.contains(credentials)
    {
        return client.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nConnection: close\r\n\
              Content-Length: 0\r\n\r\n",
        );
    }
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let authority = target.strip_prefix("http://").unwrap_or(&target);
    let authority = authority.split('/').next().unwrap_or_default();
    let port = authority
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or(80_u16);
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        server.write_all(head.as_bytes())?;
    }
    pump(client, server)
}

fn serve_socks(
    mut client: TcpStream,
    seen: &Watched<Vec<String>>,
    user: &str,
    password: &str,
) -> io::Result<()> {
    const WITH_PASSWORD: u8 = 2;
    const NAME: u8 = 3;
    let [_, methods] = take::<2>(&mut client)?;
    if !take_many(&mut client, methods)?.contains(&WITH_PASSWORD) {
        return client.write_all(&[5, 0xff]);
    }
    client.write_all(&[5, WITH_PASSWORD])?;
    let [_, length] = take::<2>(&mut client)?;
    let given_user = take_many(&mut client, length)?;
    let [length] = take::<1>(&mut client)?;
    let given_password = take_many(&mut client, length)?;
    let welcome = given_user == user.as_bytes() && given_password == password.as_bytes();
    client.write_all(&[1, u8::from(!welcome)])?;
    let [_, _, _, kind] = take::<4>(&mut client)?;
    let host = if kind == NAME {
        let [length] = take::<1>(&mut client)?;
        String::from_utf8_lossy(&take_many(&mut client, length)?).into_owned()
    } else {
        std::net::Ipv4Addr::from(take::<4>(&mut client)?).to_string()
    };
    let port = u16::from_be_bytes(take::<2>(&mut client)?);
    seen.with(|seen| seen.push(format!("{kind} {host} {port}")));
    let server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
    pump(client, server)
}

fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take_many(stream: &mut impl Read, count: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(count)];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(take::<1>(stream)?);
    }
    stream.set_read_timeout(None)?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Carries bytes both ways until both sides are done.
fn pump(left: TcpStream, right: TcpStream) -> io::Result<()> {
    let (mut from_left, mut to_right) = (left.try_clone()?, right.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from_left, &mut to_right);
        let _ = to_right.shutdown(Shutdown::Write);
    });
    let (mut from_right, mut to_left) = (right, left);
    let _ = io::copy(&mut from_right, &mut to_left);
    to_left.shutdown(Shutdown::Write)
}
