//! `--call-timeout` and `--heartbeat` in the whole program, between every pair of eras.
//!
//! In: a server that does not answer, or not yet. Out: what counts as waiting (tested beside
//! `proto::bridge`).

use std::ops::Deref;

use serde_json::{Value, json};

use crate::support::{
    Bridge, Gate, Launch, Legacy, LegacyRemote, Modern, ModernRemote, Remote, Reply, Unaware,
    modern_request, rpc,
};

/// Which client is before which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Older,
    OlderOverSse,
    OlderClient,
    NewerClient,
    Newer,
}

const CELLS: [Cell; 5] = [
    Cell::Older,
    Cell::OlderOverSse,
    Cell::OlderClient,
    Cell::NewerClient,
    Cell::Newer,
];

impl Cell {
    fn has_newer_client(self) -> bool {
        matches!(self, Self::NewerClient | Self::Newer)
    }

    fn has_newer_server(self) -> bool {
        matches!(self, Self::OlderClient | Self::Newer)
    }

    /// A server that answers a `tools/call` in this way.
    fn server(self, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
        let legacy = match self {
            Self::Newer | Self::OlderClient => {
                let remote = Modern::new().on("tools/call", move |_| reply());
                return Server::Newer(remote.start());
            }
            Self::OlderOverSse => Legacy::http_sse(),
            Self::Older | Self::NewerClient => Legacy::sessions().unaware(Unaware::TypeScript),
        };
        Server::Older(legacy.on("tools/call", move |_| reply()).start())
    }

    /// The program between the two, ready for calls.
    fn connect(self, launch: Launch) -> Bridge {
        let mut bridge = launch.start();
        if self.has_newer_client() {
            bridge.send(&modern_request(
                0,
                "server/discover",
                Value::Null,
                &json!({}),
            ));
            assert!(bridge.response(0)["result"].is_object(), "{self:?}");
        } else {
            bridge.handshake();
        }
        bridge
    }

    fn call(self, bridge: &Bridge, id: u64) {
        let mut params = rpc::echo_params("hello");
        params["_meta"] = json!({"progressToken": format!("token {id}")});
        bridge.send(&if self.has_newer_client() {
            modern_request(id, "tools/call", params, &json!({}))
        } else {
            rpc::request(id, "tools/call", params)
        });
    }
}

enum Server {
    Older(LegacyRemote),
    Newer(ModernRemote),
}

impl Deref for Server {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        match self {
            Self::Older(remote) => remote,
            Self::Newer(remote) => remote,
        }
    }
}

#[test]
fn a_call_that_the_server_leaves_unanswered_gets_an_error_and_the_server_is_told() {
    for cell in CELLS {
        let remote = cell.server(Reply::never);
        let launch = Bridge::to(&remote.url()).args(["--call-timeout", "0.2"]);
        let bridge = cell.connect(launch);
        cell.call(&bridge, 7);
        let response = bridge.response(7);
        let error = &response["error"];
        assert_eq!(error["code"], -31000, "{cell:?}: {response}");
        assert_eq!(error["data"]["kind"], "timeout", "{cell:?}: {response}");
        assert_eq!(error["data"]["executed"], "unknown", "{cell:?}: {response}");
        let text = error["message"].as_str().unwrap();
        assert!(
            text.contains("0.2 s") && text.contains("--call-timeout"),
            "{cell:?}: {text}"
        );
        let asked = remote.wait_call("tools/call");
        if !cell.has_newer_server() {
            let told = remote.wait_call("notifications/cancelled");
            assert_eq!(told.params()["requestId"], asked.id(), "{cell:?}");
        }
        let ended = bridge.finish();
        assert!(
            ended.stderr.contains("[timeout]"),
            "{cell:?}: {}",
            ended.stderr
        );
        assert_eq!(remote.calls_of("tools/call").len(), 1, "{cell:?}");
    }
}

#[test]
fn the_client_hears_of_a_call_that_goes_on_until_it_is_answered() {
    for cell in CELLS {
        let gate = Gate::new();
        let behind = gate.clone();
        let remote = cell.server(move || Reply::usual().after(&behind));
        let launch = Bridge::to(&remote.url()).args(["--heartbeat", "1"]);
        let mut bridge = cell.connect(launch);
        cell.call(&bridge, 7);
        remote.wait_call("tools/call");
        let mut last = 0.0;
        for _ in 0..2 {
            let told = bridge.recv_method("notifications/progress")["params"].clone();
            let progress = told["progress"].as_f64().unwrap();
            assert!(progress > last, "{cell:?}: {told} after {last}");
            assert_eq!(told["progressToken"], "token 7", "{cell:?}");
            assert!(told["message"].is_string(), "{cell:?}: {told}");
            assert!(told.get("total").is_none(), "{cell:?}: {told}");
            last = progress;
        }
        gate.open();
        let response = loop {
            let message = bridge.recv();
            if message.get("method").is_none() {
                break message;
            }
            assert_eq!(message["method"], "notifications/progress", "{cell:?}");
        };
        assert_eq!(response["id"], 7, "{cell:?}");
        let text = &response["result"]["content"][0]["text"];
        assert_eq!(text, "hello", "{cell:?}: {response}");
        if !cell.has_newer_client() {
            bridge.request("tools/list", Value::Null);
        }
        let left = bridge.finish().messages;
        let beats = left
            .iter()
            .filter(|message| message["method"] == "notifications/progress");
        assert_eq!(beats.count(), 0, "{cell:?}: {left:?}");
    }
}
