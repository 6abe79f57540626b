//! The first request, over real sockets: redirects, odd servers, which transport.
//!
//! In: what only a socket shows. Out: retries and time limits (`src/proto/bridge/tests`).

use serde_json::{Value, json};

use crate::support::{Authority, Bridge, Home, Legacy, Remote, Reply, rpc};

/// Sends `initialize` and gives its answer's error.
#[track_caller]
fn refused(bridge: &Bridge) -> Value {
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    let response = bridge.response(1);
    assert_eq!(response["error"]["code"], -31000, "{response}");
    assert_eq!(response["error"]["data"]["source"], "mcp-bridge");
    response["error"].clone()
}

fn message(error: &Value) -> &str {
    error["message"].as_str().unwrap_or_default()
}

fn result(call: &crate::support::Call) -> Reply {
    match call.key() {
        "initialize" => call.result(&json!({"protocolVersion": rpc::VERSION,
            "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}})),
        "tools/call" => call.result(&call.echo()),
        "GET" => Reply::status(405),
        _ => Reply::accepted(),
    }
}

#[test]
fn t53_every_strategy_against_every_server() {
    for (strategy, server, works) in [
        ("http-first", "streamable", true),
        ("http-only", "streamable", true),
        ("sse-first", "streamable", true),
        ("sse-only", "streamable", false),
        ("http-first", "sse", true),
        ("http-only", "sse", false),
        ("sse-first", "sse", true),
        ("sse-only", "sse", true),
    ] {
        // A GET before the session exists is what these strategies are about.
        let remote = match server {
            "sse" => Legacy::http_sse().start(),
            _ => Legacy::sessions().lenient().start(),
        };
        let mut bridge = Bridge::to(&remote.url())
            .args(["--transport", strategy])
            .start();
        if !works {
            let error = refused(&bridge);
            assert_eq!(error["data"]["kind"], "http-status", "{strategy} {server}");
            bridge.finish();
            continue;
        }
        bridge.handshake();
        let response = bridge.request("tools/call", rpc::echo_params("x"));
        assert_eq!(response["result"]["content"][0]["text"], "x");
        bridge.finish();
        assert_eq!(remote.sessions_opened(), 1, "{strategy} {server}");
    }
    for strategy in ["http-first", "http-only", "sse-first", "sse-only"] {
        let remote = Remote::serve(|_| Reply::text(404, "nothing here"));
        let bridge = Bridge::to(&remote.url())
            .args(["--transport", strategy])
            .start();
        let error = refused(&bridge);
        assert_eq!(error["data"]["status"], 404);
        assert!(message(&error).contains("nothing here"), "{error}");
        bridge.finish();
        assert!(remote.calls().len() <= 3);
    }
}

#[test]
fn t63_a_web_page_is_named_by_its_title() {
    let page = "<html><head><title>Sign in to Example</title></head><body></body></html>";
    let remote = Remote::serve(move |_| Reply::html(200, page));
    let bridge = Bridge::spawn(&remote.url());
    let error = refused(&bridge);
    assert_eq!(error["data"]["kind"], "not-mcp");
    assert!(
        message(&error).contains("web page titled \"Sign in to Example\""),
        "{error}"
    );
    bridge.finish();
    assert_eq!(remote.keys(), ["initialize", "GET"]);
}

#[test]
fn t64_a_redirect_to_a_login_page_is_named() {
    let remote = Remote::serve(|call| match call.path.as_str() {
        "/login" => Reply::html(200, "<title>Login</title>"),
        _ => Reply::redirect(302, "/login?next=secret"),
    });
    let bridge = Bridge::spawn(&remote.url());
    let error = refused(&bridge);
    let text = message(&error);
    assert!(text.contains(&remote.url_at("/login")), "{text}");
    assert!(
        text.contains("\"Login\"") && !text.contains("secret"),
        "{text}"
    );
    bridge.finish();
}

#[test]
fn t65_redirects_on_the_same_origin_are_followed_with_the_body() {
    for (status, remembered) in [(307, false), (302, false), (308, true), (301, true)] {
        let remote = Remote::serve(move |call| match call.path.as_str() {
            "/mcp/" => {
                let reply = result(call);
                if call.key() == "initialize" {
                    reply.header("mcp-session-id", "s1")
                } else {
                    reply
                }
            }
            _ => Reply::redirect(status, "/mcp/"),
        });
        let mut bridge = Bridge::to(&remote.url())
            .args(["--header", "X-Key: k"])
            .start();
        bridge.handshake();
        let response = bridge.request("tools/call", rpc::echo_params("there"));
        assert_eq!(response["result"]["content"][0]["text"], "there");
        bridge.finish();
        let arrived = |path: &str| {
            let mut calls = remote.calls_of("tools/call");
            calls.retain(|call| call.path == path);
            calls
        };
        assert_eq!(arrived("/mcp/").len(), 1);
        assert_eq!(arrived("/mcp").len(), usize::from(!remembered), "{status}");
        for call in remote.calls() {
            assert_eq!(call.header("x-key").as_deref(), Some("k"));
        }
        let call = &arrived("/mcp/")[0];
        assert_eq!(call.verb, "POST");
        assert_eq!(call.session().as_deref(), Some("s1"));
        let deletes = remote.calls_of("DELETE");
        assert_eq!(deletes.last().unwrap().path, "/mcp/");
    }
}

#[test]
fn t65_303_is_not_an_endpoint() {
    let remote = Remote::serve(|_| Reply::redirect(303, "/elsewhere"));
    let bridge = Bridge::to(&remote.url())
        .args(["--transport", "http-only"])
        .start();
    let error = refused(&bridge);
    assert_eq!(error["data"]["kind"], "redirect-refused");
    assert_eq!(error["data"]["executed"], "no");
    assert!(message(&error).contains(&remote.url_at("/elsewhere")));
    bridge.finish();
    assert_eq!(remote.calls().len(), 1);
}

#[test]
fn t66_http_may_lead_to_https_on_the_same_host() {
    let authority = Authority::new("a company");
    let home = std::sync::Arc::new(Home::new());
    let ca = home.write("ca.pem", authority.pem());
    let secure = Remote::serve_tls(&authority.server(), result);
    let target = secure.url();
    let plain = Remote::serve(move |_| Reply::redirect(301, &target));
    let mut bridge = Bridge::to(&plain.url())
        .args(["--ca-cert"])
        .args([ca])
        .home(&home)
        .start();
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("safely"));
    assert_eq!(response["result"]["content"][0]["text"], "safely");
    bridge.finish();
    // Only the first request went the long way.
    assert_eq!(plain.keys(), ["initialize"]);
    assert_eq!(secure.calls_of("initialize").len(), 1);
}

#[test]
fn t67_another_server_is_named_and_gets_nothing() {
    let elsewhere = Remote::serve(result);
    elsewhere.must_stay_uncalled();
    for status in [301, 302, 307, 308] {
        let target = elsewhere.url();
        let remote = Remote::serve(move |_| Reply::redirect(status, &target));
        let bridge = Bridge::to(&remote.url())
            .args(["--header", "Authorization: Bearer canary"])
            .start();
        let error = refused(&bridge);
        assert_eq!(error["data"]["kind"], "redirect-refused");
        let text = message(&error);
        assert!(
            text.contains(&elsewhere.url()) && text.contains("use that address"),
            "{text}"
        );
        bridge.finish();
        assert_eq!(remote.keys(), ["initialize"]);
    }
}

#[test]
fn t67_a_later_redirect_elsewhere_fails_that_request_alone() {
    let elsewhere = Remote::serve(result);
    elsewhere.must_stay_uncalled();
    let target = elsewhere.url();
    let remote = Legacy::sessions()
        .on("tools/call", move |call| match call.nth {
            1 => Reply::redirect(307, &target),
            _ => Reply::usual(),
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(response["error"]["data"]["kind"], "redirect-refused");
    assert_eq!(response["error"]["data"]["executed"], "no");
    let response = bridge.request("tools/call", rpc::echo_params("y"));
    assert_eq!(response["result"]["content"][0]["text"], "y");
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 1);
}

#[test]
fn t68_a_circle_ends() {
    let remote = Remote::serve(|call| {
        let next = if call.path == "/mcp" {
            "/other"
        } else {
            "/mcp"
        };
        Reply::redirect(307, next)
    });
    let bridge = Bridge::spawn(&remote.url());
    let error = refused(&bridge);
    assert_eq!(error["data"]["kind"], "redirect-refused");
    assert!(message(&error).contains("5 redirects"), "{error}");
    bridge.finish();
    assert_eq!(remote.calls().len(), 6);
}

#[test]
fn t70_a_busy_server_is_waited_for() {
    let remote = Legacy::sessions()
        .on("initialize", |call| {
            if call.nth <= 2 {
                Reply::text(503, "starting")
            } else {
                Reply::usual()
            }
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 3);
    assert_eq!(remote.sessions_opened(), 1);
}

#[test]
fn t71_a_500_is_quoted() {
    let remote = Remote::serve(|_| Reply::text(500, "database \u{1b}[31mon fire"));
    let bridge = Bridge::spawn(&remote.url());
    let error = refused(&bridge);
    assert_eq!(error["data"]["status"], 500);
    let text = message(&error);
    assert!(
        text.contains("on fire") && !text.contains('\u{1b}'),
        "{text}"
    );
    let ended = bridge.finish();
    assert!(!ended.stderr.contains('\u{1b}'));
    assert_eq!(remote.keys(), ["initialize", "server/discover"]);
}

#[test]
fn t72_odd_statuses_are_named() {
    let sse_alone: &[&str] = &["initialize", "GET"];
    let sse_first: &[&str] = &["initialize", "GET", "server/discover"];
    let discover_first: &[&str] = &["initialize", "server/discover", "GET"];
    for (status, tries) in [
        (204, sse_alone),
        (406, sse_first),
        (415, discover_first),
        (422, discover_first),
    ] {
        let remote = Remote::serve(move |_| Reply::status(status));
        let bridge = Bridge::spawn(&remote.url());
        let error = refused(&bridge);
        assert_eq!(error["data"]["status"], status);
        assert!(
            message(&error).contains(&format!("HTTP {status}")),
            "{error}"
        );
        bridge.finish();
        assert_eq!(remote.keys(), tries, "{status}");
    }
}

#[test]
fn t73_other_json_is_quoted() {
    let remote = Remote::serve(|_| Reply::json(&json!({"status": "ok"})));
    let bridge = Bridge::spawn(&remote.url());
    let error = refused(&bridge);
    assert!(message(&error).contains(r#"{"status":"ok"}"#), "{error}");
    bridge.finish();
}

#[test]
fn t74_a_server_that_is_away_at_the_start() {
    let remote = Legacy::sessions().start();
    remote.stop();
    let mut bridge = Bridge::spawn(&remote.url()).patience(std::time::Duration::from_secs(60));
    let error = refused(&bridge);
    assert_eq!(error["data"]["kind"], "connect");
    assert_eq!(error["data"]["executed"], "no");
    assert!(bridge.is_running());
    remote.restart();
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("back"));
    assert_eq!(response["result"]["content"][0]["text"], "back");
    bridge.finish();
}

#[test]
fn t74_a_server_that_starts_a_little_later_than_the_bridge() {
    let remote = Legacy::sessions().start();
    remote.stop();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    bridge.wait_stderr("trying again in");
    remote.restart();
    assert!(bridge.response(1).get("result").is_some());
    bridge.send(&rpc::initialized());
    let response = bridge.request("tools/call", rpc::echo_params("here"));
    assert_eq!(response["result"]["content"][0]["text"], "here");
    bridge.finish();
}

#[test]
fn t75_the_servers_own_revision_is_taken_up() {
    let remote = Legacy::sessions()
        .on("initialize", |call| {
            if call.params()["protocolVersion"] == "2025-03-26" {
                return Reply::usual();
            }
            let error = json!({"code": -32602, "message": "Unsupported protocol version",
                "data": {"supported": ["2025-03-26"], "requested": "2025-11-25"}});
            Reply::json(&json!({"jsonrpc": "2.0", "id": call.id(), "error": error}))
                .with_status(400)
        })
        .start();
    let mut bridge = Bridge::spawn(&remote.url());
    let response = bridge.handshake();
    assert_eq!(response["result"]["protocolVersion"], "2025-03-26");
    bridge.request("tools/list", Value::Null);
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 2);
}

#[test]
fn t76_403_is_final() {
    let remote = Remote::serve(|_| Reply::text(403, "not from this network"));
    let bridge = Bridge::spawn(&remote.url());
    let error = refused(&bridge);
    assert_eq!(error["data"]["status"], 403);
    assert!(message(&error).contains("not from this network"));
    bridge.finish();
    assert_eq!(remote.keys(), ["initialize"]);
}

#[test]
fn t78_a_missing_content_type_does_not_matter() {
    let remote = Remote::serve(|call| match call.key() {
        "initialize" => {
            let result = json!({"protocolVersion": rpc::VERSION, "capabilities": {},
                "serverInfo": {"name": "s", "version": "1"}});
            Reply::status(200).body(call.result_message(&result).to_string())
        }
        "tools/call" => {
            let body = call.result_message(&call.echo()).to_string();
            Reply::status(200).body(body)
        }
        "GET" => Reply::status(405),
        _ => Reply::accepted(),
    });
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("x"));
    assert_eq!(response["result"]["content"][0]["text"], "x");
    bridge.finish();
}

#[test]
fn t78_an_initialize_answered_as_events() {
    let remote = Legacy::sessions().answers_as_sse().start();
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.request("tools/list", Value::Null);
    bridge.finish();
    assert_eq!(remote.calls_of("initialize").len(), 1);
}

#[test]
fn t79_a_session_id_on_a_refusal_is_never_used() {
    let remote = Remote::serve(|call| match call.key() {
        "initialize" if call.nth == 1 => {
            let error = json!({"code": -32602, "message": "Unsupported protocol version",
                "data": {"supported": ["2025-06-18"]}});
            Reply::json(&json!({"jsonrpc": "2.0", "id": call.id(), "error": error}))
                .with_status(400)
                .header("mcp-session-id", "stale")
        }
        _ => result(call),
    });
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    bridge.request("tools/call", rpc::echo_params("x"));
    bridge.finish();
    for call in remote.calls() {
        assert_eq!(call.session(), None, "{call:?}");
    }
}
