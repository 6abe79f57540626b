//! Somebody with a browser, for terminals that have neither: opens the sign-in link and presses
//! the button.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use url::Url;

/// Longest wait for a page.
const PATIENCE: Duration = Duration::from_secs(20);

/// Agrees to what the page behind `link` asks.
pub(crate) fn agree(link: &str) -> Result<(), String> {
    let link = Url::parse(link).map_err(|error| format!("{link}: {error}"))?;
    let page = load(&link, None)?;
    let button = "name=\"request\" value=\"";
    let number = page
        .split_once(button)
        .and_then(|(_, rest)| rest.split('"').next())
        .ok_or("the page has no button")?;
    let action = link.join("/consent").map_err(|error| error.to_string())?;
    let answer = load(&action, Some(&format!("request={number}")))?;
    let target = answer
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .ok_or("the consent leads nowhere")?;
    let target = Url::parse(target).map_err(|error| format!("{target}: {error}"))?;
    load(&target, None).map(|_| ())
}

/// Head and body of an answer; with a form, of a POST.
fn load(url: &Url, form: Option<&str>) -> Result<String, String> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = match form {
        None => format!("GET {path} HTTP/1.1\r\n"),
        Some(form) => format!(
            "POST {path} HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n",
            form.len()
        ),
    };
    let form = form.unwrap_or_default();
    let whole = format!(
        "{request}host: {host}:{port}\r\nsec-fetch-mode: navigate\r\nconnection: close\r\n\r\n{form}"
    );
    let exchange = || {
        let mut stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(whole.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    exchange().map_err(|error: std::io::Error| format!("{host}:{port}: {error}"))
}
