//! The way to the server: its name, the proxy, the connection, the certificate, the clock.
//!
//! In: looking, and what to say about what was seen. Out: how connections are made (`edge/http`).

use url::Url;

use crate::edge::http::client::HttpClient;
use crate::proto::doctor::Check;

/// What the server's name resolves to (`name`). Nothing where a proxy resolves it.
pub(super) async fn name(_http: &HttpClient, _url: &Url) -> Vec<Check> {
    unimplemented!()
}

/// Which proxy is used, and why (`proxy`). Makes no connection.
pub(super) fn proxy(_http: &HttpClient, _url: &Url) -> Vec<Check> {
    unimplemented!()
}

/// Connects once, with a HEAD request without credentials: `connection`, `certificate` (https
/// alone: names, dates, chain, the root it ends in, why that is trusted), `clock` (ours beside the
/// server's `Date`, RFC 9110 §6.6.1).
pub(super) async fn connection(_http: &HttpClient, _url: &Url) -> Vec<Check> {
    unimplemented!()
}
