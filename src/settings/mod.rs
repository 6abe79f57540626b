//! What the command line, the environment and the files mean: resolved once, read-only after, one
//! struct per consumer.
//!
//! In: [`Cli`] and a way to look up variables. Out: spellings ([`crate::cli`]), and everything that
//! needs the network; of files only those that options name are read here.

mod addresses;
mod command_line;
mod commands;
mod doctor;
mod documents;
mod headers;
mod identities;
mod install;
mod pack;
mod sign_in;
mod store;
mod variables;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::{Host, Url};

pub use self::command_line::check_command_line;
pub use self::commands::{LogoutSettings, StatusSettings, Target};
pub use self::doctor::DoctorSettings;
pub use self::install::{
    InstallSettings, NewEntry, Order, PlaceSettings, Switch, UninstallSettings,
};
pub use self::pack::PackSettings;
pub use self::store::StoreSettings;
use self::variables::Variables;
use crate::cli::{Cli, LogFormat, NetworkArgs, OutputArgs, SignInArgs, TransportArgs, TrustArgs};
use crate::edge::header_command::HeaderCommand;
use crate::edge::http::proxy::{ProxyChoice, ProxyEnvironment, ProxyUrl};
use crate::edge::http::settings::NetworkSettings;
use crate::edge::log::LogSettings;
use crate::error::Failure;
use crate::proto::Level;
use crate::proto::auth::settings as auth;
use crate::proto::bridge::Protocol;
use crate::proto::filter::Filter;
use crate::proto::headers::UserHeaders;
use crate::proto::text::public_url;
use crate::proto::transport::Strategy;

/// Time between pings when `--keep-alive` comes without `--ping-interval`.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// The default of `--headers-timeout`.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(300);

/// How much later than `--call-timeout` an exchange ends, so that it is that limit which is named.
const ANSWER_GRACE: Duration = Duration::from_secs(10);

const OWN_AUTHORIZATION: &str =
    "your own Authorization header is used, so there is nothing to sign in for";

/// Everything that was decided before the first byte moves. `Debug` shows no secret.
#[derive(Clone)]
pub struct Settings {
    /// The server's address, without user name, password and fragment. Its query may be secret.
    pub url: Url,
    /// For the bridge's decisions.
    pub bridge: BridgeSettings,
    /// For single HTTP exchanges.
    pub exchange: ExchangeSettings,
    /// Headers whose values come from commands, run at start and after a 401. They win over
    /// [`ExchangeSettings::headers`].
    pub header_commands: Vec<HeaderCommand>,
    /// Name of this server in the store ([`crate::proto::auth::key`]).
    pub key: String,
    /// Names of the variables that went into headers and identities.
    pub secret_variables: Vec<String>,
    /// For signing in; `None` where the user gives an `Authorization` header, which is used
    /// unchanged.
    pub sign_in: Option<auth::Settings>,
    /// Where sign-ins are kept.
    pub store: StoreSettings,
    /// For the HTTP client.
    pub network: NetworkSettings,
    /// For the log.
    pub log: LogSettings,
}

/// What the bridge needs to know.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// Which transport to try, and whether to fall back.
    pub strategy: Strategy,
    /// Which eras of the protocol may be spoken with the server.
    pub protocol: Protocol,
    /// Whether a client is moved to a newer revision that its server speaks as well.
    pub upgrade: bool,
    /// Whether a client that could use either is sent to `initialize` before an older server.
    pub legacy_first: bool,
    /// Which tools exist for the client.
    pub filter: Filter,
    /// Time between pings to the server; none: no pings.
    pub ping_interval: Option<Duration>,
    /// Longest wait for the answer to a request of the client; none: no limit.
    pub call_timeout: Option<Duration>,
    /// Time between signs of life to the client while the server is silent; none: no such signs.
    pub heartbeat: Option<Duration>,
    /// How long open requests may still be answered after stdin was closed.
    pub eof_grace: Duration,
    /// How long `initialize` waits for the server, or for a person who signs in, before the client
    /// is answered without them.
    pub initialize_wait: Duration,
    /// Largest message in either direction, in bytes after decompression.
    pub message_limit: usize,
}

/// What an HTTP exchange needs to know.
#[derive(Clone, Debug)]
pub struct ExchangeSettings {
    /// The user's own headers, for the server's origin alone.
    pub headers: UserHeaders,
    /// Whether cookies of the server are kept and sent back.
    pub cookies: bool,
    /// Longest wait for the head of an answer; none: no limit.
    pub headers_timeout: Option<Duration>,
    /// Longest silence inside an answer; none: no limit.
    pub body_timeout: Option<Duration>,
    /// Largest event or body, in bytes after decompression.
    pub message_limit: usize,
}

/// Something to tell the person once logging has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: Level,
    /// One sentence without secrets.
    pub text: String,
}

impl Notice {
    fn new(level: Level, text: impl Into<String>) -> Self {
        Self {
            level,
            text: text.into(),
        }
    }
}

impl Settings {
    /// Gives every option its meaning. `env` looks up a variable.
    ///
    /// # Errors
    /// A [`Failure`] that names the option or variable and says what would be right.
    pub fn resolve(
        cli: &Cli,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<Notice>), Failure> {
        let mut notices = Vec::new();
        let (mut settings, sign_in) = Self::with_sign_in(cli, env, &mut notices)?;
        if settings.has_authorization() {
            without_sign_in(cli, &mut notices);
        } else {
            settings.sign_in = Some(sign_in);
        }
        without_effect(cli, &mut notices);
        token_in_address(&settings.url, &mut notices);
        Ok((settings, notices))
    }

    /// The settings, and how to sign in if that were needed.
    fn with_sign_in(
        cli: &Cli,
        env: &impl Fn(&str) -> Option<OsString>,
        notices: &mut Vec<Notice>,
    ) -> Result<(Self, auth::Settings), Failure> {
        let mut url = remote_url(cli.url.reveal(), cli.network.allow_http)?;
        let log = log(&cli.output, env);
        let mut variables = Variables::new(env);
        let headers::Fixed {
            mut headers,
            templates,
        } = headers::fixed(&cli.headers.sources, &mut variables, notices)?;
        let header_commands = headers::commands(&cli.headers.commands, notices)?;
        take_credentials(&mut url, &mut headers)?;
        let network = network(Some(&url), &cli.network, &cli.trust, env, notices)?;
        let sign_in = sign_in::sign_in(cli, &url, templates, &mut variables, notices)?;
        let message_limit = bytes(cli.transport.max_message_size);
        let settings = Self {
            bridge: bridge(cli, message_limit, notices)?,
            exchange: exchange(&cli.transport, headers, message_limit),
            url,
            header_commands,
            sign_in: None,
            key: sign_in.key.clone(),
            secret_variables: variables.into_used(),
            store: store::store(&cli.sign_in.store, env, notices)?,
            network,
            log,
        };
        Ok((settings, sign_in))
    }

    /// Whether the user gives an `Authorization` header, by whatever means.
    fn has_authorization(&self) -> bool {
        let by_command =
            |command: &HeaderCommand| command.name().eq_ignore_ascii_case("authorization");
        self.exchange.headers.has_authorization() || self.header_commands.iter().any(by_command)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &public_url(&self.url))
            .field("bridge", &self.bridge)
            .field("exchange", &self.exchange)
            .field("header_commands", &self.header_commands)
            .field("key", &self.key)
            .field("secret_variables", &self.secret_variables)
            .field("signs_in", &self.sign_in.is_some())
            .field("store", &self.store)
            .field("network", &self.network)
            .field("log", &self.log)
            .finish()
    }
}

/// The server's address: https, or http to this machine, or http by permission.
fn remote_url(text: &str, allow_http: bool) -> Result<Url, Failure> {
    // The text is never quoted: it may be a secret that ended up in the wrong place.
    let failure = |what: &str, next: &str| Failure::usage(what).hint(next);
    let example = "write it like https://HOST/PATH";
    if text.trim().is_empty() {
        return Err(failure("the URL is empty", example));
    }
    let mut url = match Url::parse(text) {
        Ok(url) if text.contains("://") => url,
        Err(error) if text.contains("://") => {
            return Err(failure(&format!("the URL is not valid: {error}"), example));
        }
        _ => {
            return Err(failure(
                "the URL has no scheme",
                "put https:// in front of it",
            ));
        }
    };
    let Some(host) = url.host() else {
        return Err(failure("the URL names no host", example));
    };
    match url.scheme() {
        "https" => {}
        "http" if allow_http || is_loopback(&host) => {}
        "http" => {
            let what = format!("http:// to {host} would send everything unencrypted");
            let next = "use https://, or allow it with --allow-http where the network is trusted";
            return Err(failure(&what, next));
        }
        scheme => {
            let what = format!("a URL with the scheme {scheme} cannot be used");
            return Err(failure(&what, example));
        }
    }
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Turns `https://USER:PASSWORD@HOST/` into a header (RFC 7617 §2), so that the address can be
/// shown. A header given by the user wins.
fn take_credentials(url: &mut Url, headers: &mut UserHeaders) -> Result<(), Failure> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let password = url.password().unwrap_or_default();
    let pair = [percent_decoded(url.username()), percent_decoded(password)].join(&b':');
    if !headers.has_authorization() {
        let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let wrong = |error| Failure::usage(format!("user name and password in the URL: {error}"));
        headers.insert("Authorization", &value).map_err(wrong)?;
    }
    // Cannot fail: the address has a host.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Ok(())
}

/// Undoes `%XX` (RFC 3986 §2.1); what is not such a triple stays.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digit = |place: usize| char::from(*tail.get(place)?).to_digit(16);
        if let (b'%', Some(high), Some(low)) = (byte, digit(0), digit(1)) {
            decoded.extend(u8::try_from(high * 16 + low));
            rest = tail.get(2..).unwrap_or_default();
        } else {
            decoded.push(byte);
            rest = tail;
        }
    }
    decoded
}

fn bridge(
    cli: &Cli,
    message_limit: usize,
    notices: &mut Vec<Notice>,
) -> Result<BridgeSettings, Failure> {
    let (transport, tools) = (&cli.transport, &cli.tools);
    Ok(BridgeSettings {
        strategy: strategy(transport, notices)?,
        protocol: transport.protocol,
        upgrade: !transport.no_upgrade,
        legacy_first: transport.discover == "legacy-first",
        filter: Filter::new(&tools.ignore_tool, &tools.only_tool, tools.read_only),
        ping_interval: transport
            .ping_interval
            .or(transport.keep_alive.then_some(PING_INTERVAL)),
        call_timeout: unless_zero(transport.call_timeout),
        heartbeat: unless_zero(transport.heartbeat),
        eof_grace: transport.eof_grace,
        initialize_wait: cli.sign_in.initialize_wait,
        message_limit,
    })
}

/// Which transports to try. Revisions from 2026-07-28 on are not spoken over HTTP+SSE (MCP
/// 2026-07-28, Transports).
fn strategy(args: &TransportArgs, notices: &mut Vec<Notice>) -> Result<Strategy, Failure> {
    match (args.protocol, args.transport) {
        (Protocol::Modern, Strategy::SseOnly) => {
            let what = "--protocol modern and --transport sse-only exclude each other: revisions \
                        from 2026-07-28 on are spoken over Streamable HTTP alone";
            Err(Failure::usage(what).hint("leave one of the two options out"))
        }
        (Protocol::Modern, Strategy::SseFirst) => {
            let text = "--transport sse-first counts as http-only: with --protocol modern there is \
                        Streamable HTTP alone";
            notices.push(Notice::new(Level::Warn, text));
            Ok(Strategy::HttpOnly)
        }
        (_, transport) => Ok(transport),
    }
}

fn exchange(args: &TransportArgs, headers: UserHeaders, message_limit: usize) -> ExchangeSettings {
    ExchangeSettings {
        headers,
        cookies: !args.disable_cookies,
        headers_timeout: headers_timeout(args),
        body_timeout: unless_zero(args.body_timeout),
        message_limit,
    }
}

/// Who lets a call take longer than [`HEADERS_TIMEOUT`] means servers that are silent that long.
fn headers_timeout(args: &TransportArgs) -> Option<Duration> {
    let is_default = args.headers_timeout == HEADERS_TIMEOUT;
    let needed = args.call_timeout + ANSWER_GRACE;
    let timeout = args.headers_timeout;
    unless_zero(if is_default {
        timeout.max(needed)
    } else {
        timeout
    })
}

fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

fn bytes(mib: u64) -> usize {
    usize::try_from(mib << 20).unwrap_or(usize::MAX)
}

/// `url` is the server's address, where there is one server.
fn network(
    url: Option<&Url>,
    args: &NetworkArgs,
    trust: &TrustArgs,
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Result<NetworkSettings, Failure> {
    if trust.client_key.is_some() && trust.client_cert.is_none() {
        let failure = Failure::usage("--client-key was given without a certificate");
        return Err(failure.hint("name the certificate with --client-cert"));
    }
    let file = |variable| {
        env(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    Ok(NetworkSettings {
        ca_files: trust.ca_cert.clone(),
        node_extra_ca_certs: file("NODE_EXTRA_CA_CERTS"),
        ssl_cert_file: file("SSL_CERT_FILE"),
        ssl_cert_dir: file("SSL_CERT_DIR"),
        client_cert: trust.client_cert.clone(),
        client_key: trust.client_key.clone(),
        insecure_host: insecure_host(url, trust.insecure, env, notices),
        proxy: proxy(args, env)?,
        ipv4: args.ipv4,
        connect_timeout: Some(args.connect_timeout),
    })
}

/// The host whose certificate is not checked. The warning has the level of errors, so that
/// `--silent` does not hide it.
fn insecure_host(
    url: Option<&Url>,
    insecure: bool,
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Option<String> {
    let by_variable = env("NODE_TLS_REJECT_UNAUTHORIZED").is_some_and(|value| value == "0");
    let reason = match (insecure, by_variable) {
        (true, _) => "--insecure",
        (false, true) => "NODE_TLS_REJECT_UNAUTHORIZED=0",
        (false, false) => return None,
    };
    let Some(url) = url else {
        let text = format!("{reason} has no effect here: it counts for one server alone");
        notices.push(Notice::new(Level::Warn, text));
        return None;
    };
    let host = url.host_str().filter(|_| url.scheme() == "https")?;
    let text = format!(
        "WARNING: {reason} switches certificate checks off for {host}: anybody on the way can \
         read and change everything; --ca-cert FILE is the safe way to trust a private certificate"
    );
    notices.push(Notice::new(Level::Error, text));
    Some(host.to_owned())
}

fn proxy(
    args: &NetworkArgs,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<ProxyChoice, Failure> {
    if let Some(proxy) = &args.proxy {
        if proxy.reveal().eq_ignore_ascii_case("none") {
            return Ok(ProxyChoice::None);
        }
        let wrong = |problem| Failure::usage(format!("--proxy is {problem}, or none"));
        return ProxyUrl::parse(proxy.reveal())
            .map(ProxyChoice::Fixed)
            .map_err(wrong);
    }
    let text = |variable| variable_in_either_case(variable, env);
    let url = |variable| {
        let wrong = |problem| {
            let failure = Failure::usage(format!("the variable {variable} is {problem}"));
            failure.hint("correct it, or leave it aside with --proxy none")
        };
        text(variable)
            .map(|text| ProxyUrl::parse(&text).map_err(wrong))
            .transpose()
    };
    Ok(ProxyChoice::Environment(ProxyEnvironment {
        http: url("HTTP_PROXY")?,
        https: url("HTTPS_PROXY")?,
        all: url("ALL_PROXY")?,
        no_proxy: text("NO_PROXY"),
    }))
}

/// A proxy variable. The lower-case spelling wins, also when it is set to nothing.
fn variable_in_either_case(name: &str, env: &impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let value = env(&name.to_ascii_lowercase()).or_else(|| env(name))?;
    Some(value.to_string_lossy().into_owned()).filter(|value| !value.trim().is_empty())
}

fn log(args: &OutputArgs, env: &impl Fn(&str) -> Option<OsString>) -> LogSettings {
    let means_us = |word: &str| {
        word == "*"
            || !word.starts_with('-')
                && (word.contains("mcp-bridge") || word.contains("mcp-remote"))
    };
    let by_variable =
        env("DEBUG").is_some_and(|value| value.to_string_lossy().split([',', ' ']).any(means_us));
    LogSettings {
        debug: args.debug || by_variable,
        silent: args.silent,
        file: args.log_file.clone(),
        json: args.log_format == LogFormat::Json,
        ..LogSettings::default()
    }
}

/// Says so if options about signing in were typed that are not needed.
fn without_sign_in(cli: &Cli, notices: &mut Vec<Notice>) {
    let idle: Vec<String> = SignInArgs::names()
        .into_iter()
        .filter(|name| cli.typed.contains(name))
        .map(|name| format!("--{name}"))
        .collect();
    if !idle.is_empty() {
        let text = format!("{OWN_AUTHORIZATION}; without effect: {}", idle.join(", "));
        notices.push(Notice::new(Level::Warn, text));
    }
}

/// Addresses end up in the logs of servers and proxies (MCP 2025-11-25, Authorization, Token
/// Requirements).
fn token_in_address(url: &Url, notices: &mut Vec<Notice>) {
    if url.query_pairs().any(|(name, _)| name == "access_token") {
        let text = "the address contains an access_token, which servers and proxies may log; send \
                    it with --header \"Authorization: Bearer …\" instead";
        notices.push(Notice::new(Level::Warn, text));
    }
}

/// Names the options that were accepted but do nothing.
fn without_effect(cli: &Cli, notices: &mut Vec<Notice>) {
    if cli.network.enable_proxy {
        let text = "--enable-proxy has no effect: proxy variables are always honoured";
        notices.push(Notice::new(Level::Debug, text));
    }
}

#[cfg(test)]
mod tests;
