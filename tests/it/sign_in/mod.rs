//! The course of a sign-in: what starts it, whom it asks, who it is towards the authorization
//! server, and what becomes of its tokens.
//!
//! In: the whole program with a browser that follows links, or a person who does. Out: what the
//! client hears meanwhile (`meanwhile`), sign-ins without a person (`machines`), the commands
//! (`commands`).

mod browser;
mod client;
mod discovery;
mod scopes;
mod tokens;
mod trigger;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::{AuthWorld, Bridge, Home, Launch, rpc};

/// Longest wait for anything: machines may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Starts a bridge that is waited for with patience.
#[track_caller]
pub(crate) fn start(launch: Launch) -> Bridge {
    launch.start().patience(PATIENCE)
}

/// One call of `echo`, which has to succeed.
#[track_caller]
pub(crate) fn call(bridge: &mut Bridge) {
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    assert_eq!(
        response["result"]["content"][0]["text"], "hello",
        "{response}"
    );
}

/// Handshake, one call, the end; what was said on stderr.
#[track_caller]
pub(crate) fn conversation(launch: Launch) -> String {
    let mut bridge = start(launch);
    bridge.handshake();
    call(&mut bridge);
    bridge.finish().stderr
}

/// The error that `initialize` gets; the bridge goes on.
#[track_caller]
pub(crate) fn refused_handshake(bridge: &Bridge, id: u64, kind: &str) -> String {
    bridge.send(&rpc::initialize(id, rpc::VERSION));
    refused(&bridge.response(id), kind)
}

/// The text of an error of this kind.
#[track_caller]
pub(crate) fn refused(response: &Value, kind: &str) -> String {
    let error = &response["error"];
    assert_eq!(error["data"]["kind"], kind, "{response}");
    assert_eq!(error["code"], -31000, "{response}");
    let text = error["message"].as_str().unwrap();
    assert!(text.starts_with("mcp-bridge: "), "{text}");
    text.to_owned()
}

/// The one file in the store with this end of its name, and its content.
#[track_caller]
pub(crate) fn stored(home: &Home, end: &str) -> (std::path::PathBuf, Value) {
    let folder = home.config_dir().join("mcp-remote-v1");
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(end));
    assert_eq!(paths.len(), 1, "{end}: {paths:?}");
    let path = paths.remove(0);
    let content = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    (path, content)
}

/// Lets the stored access token be one that expired long ago.
#[track_caller]
pub(crate) fn expire_stored(world: &AuthWorld) {
    let (path, mut tokens) = stored(&world.home, "_tokens.json");
    tokens["expires_at"] = 1_000_000_000_000_u64.into();
    std::fs::write(path, tokens.to_string()).unwrap();
    world.auth.end_access_tokens();
}

/// Forgets the tokens, keeps the registration.
#[track_caller]
pub(crate) fn forget_tokens(world: &AuthWorld) {
    let (path, _) = stored(&world.home, "_tokens.json");
    std::fs::remove_file(path).unwrap();
}

/// Every well-known address that the MCP server was asked for, in order.
pub(crate) fn metadata_paths(world: &AuthWorld) -> Vec<String> {
    let calls = world.remote.calls();
    let known = calls
        .iter()
        .filter(|call| call.path.starts_with("/.well-known/"));
    known
        .map(|call| match &call.query {
            Some(query) => format!("{}?{query}", call.path),
            None => call.path.clone(),
        })
        .collect()
}

/// A port for the way back that nobody has: one that the system gives to no connection by itself,
/// so that tests beside this one do not get in the way.
pub(crate) fn own_port() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = 10_000 + base + NEXT.fetch_add(1, Ordering::Relaxed);
        let bound = ["127.0.0.1", "::1"].map(|host| TcpListener::bind((host, port)));
        if bound.iter().any(Result::is_ok) {
            return port.to_string();
        }
    }
}
