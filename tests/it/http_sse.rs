//! HTTP+SSE (MCP 2024-11-05, Transports, HTTP with SSE), over real sockets.
//!
//! In: the endpoint event, answers on the stream, ends of the stream. Out: time limits and
//! back-off, which need no socket (`src/proto/bridge/tests`).

use serde_json::{Value, json};

use crate::support::{
    Authority, Bridge, Gate, Home, Legacy, LegacyRemote, Mailbox, Refusal, Remote, Reply, rpc,
};

/// Calls `echo` and checks what comes back.
#[track_caller]
fn echoes(bridge: &mut Bridge, text: &str) {
    let response = bridge.request("tools/call", rpc::echo_params(text));
    assert_eq!(response["result"]["content"][0]["text"], text, "{response}");
}

fn sse_only(remote: &Remote) -> Bridge {
    Bridge::to(&remote.url())
        .args(["--transport", "sse-only"])
        .start()
}

/// One session, one stream, from the beginning to the end.
#[track_caller]
fn one_life(remote: &LegacyRemote, detection: &[&str]) {
    let mut bridge = Bridge::spawn(&remote.url());
    bridge.handshake();
    for text in ["one", "two", "three"] {
        echoes(&mut bridge, text);
    }
    let ended = bridge.finish();
    let expected = [
        detection,
        &["GET", "initialize", "notifications/initialized"],
        &["tools/call"; 3],
    ];
    assert_eq!(remote.keys(), expected.concat());
    assert_eq!(remote.sessions_opened(), 1);
    assert!(
        ended
            .stderr
            .contains("Connected to remote server using SSEClientTransport"),
        "{}",
        ended.stderr
    );
}

#[test]
fn t52_a_405_leads_to_the_event_stream() {
    let remote = Legacy::http_sse().start();
    one_life(&remote, &["initialize"]);
    let posts: Vec<_> = remote.calls_of("tools/call");
    assert!(posts.iter().all(|call| call.path == "/messages"));
}

#[test]
fn t53_so_do_400_with_text_and_404_with_a_page() {
    let remote = Legacy::http_sse()
        .on("POST", |_| Reply::text(400, "what is this?"))
        .on("initialize", |call| match call.query {
            None => Reply::text(400, "what is this?"),
            Some(_) => Reply::usual(),
        })
        .start();
    // An intermediary may have emptied the refusal of a modern server.
    one_life(&remote, &["initialize", "server/discover"]);
    let remote = Legacy::http_sse()
        .on("POST", |_| Reply::html(404, "<h1>Not Found</h1>"))
        .start();
    one_life(&remote, &["initialize"]);
}

#[test]
fn t54_an_absolute_endpoint_of_the_same_origin() {
    let remote = Legacy::http_sse()
        .endpoint("{origin}/rpc/?sid={sid}")
        .start();
    one_life(&remote, &["initialize"]);
    assert_eq!(remote.calls_of("tools/call")[0].path, "/rpc/");
}

#[test]
fn t55_an_endpoint_is_resolved_against_the_stream() {
    let remote = Legacy::http_sse().endpoint("?sid={sid}").start();
    let mut bridge = Bridge::to(&remote.url_at("/a/sse?key=1"))
        .args(["--transport", "sse-only"])
        .start();
    bridge.handshake();
    echoes(&mut bridge, "here");
    bridge.finish();
    let call = &remote.calls_of("tools/call")[0];
    assert_eq!(
        (call.path.as_str(), call.query.as_deref()),
        ("/a/sse", Some("sid=sid1"))
    );
}

#[test]
fn t55_an_endpoint_is_resolved_against_where_a_redirect_led() {
    let remote = Remote::serve(|call| match (call.verb.as_str(), call.path.as_str()) {
        ("GET", "/sse") => Reply::redirect(307, "/deep/er/sse"),
        ("GET", "/deep/er/sse") => {
            Reply::stream(|stream| stream.send("event: endpoint\ndata: post\n\n"))
        }
        ("POST", "/deep/er/post") if call.key() == "initialize" => call
            .result(&json!({"protocolVersion": "2024-11-05", "capabilities": {},
                "serverInfo": {"name": "s", "version": "1"}})),
        ("POST", "/deep/er/post") => Reply::accepted(),
        _ => Reply::status(404),
    });
    let mut bridge = Bridge::to(&remote.url_at("/sse"))
        .args(["--transport", "sse-only"])
        .start();
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    bridge.finish();
}

#[test]
fn t56_an_endpoint_elsewhere_is_refused_and_gets_nothing() {
    let elsewhere = Remote::serve(|_| Reply::accepted());
    elsewhere.must_stay_uncalled();
    for strategy in ["sse-only", "http-first", "sse-first"] {
        let remote = Legacy::http_sse()
            .endpoint(&format!("{}/m?sid={{sid}}", elsewhere.origin()))
            .start();
        let bridge = Bridge::to(&remote.url())
            .args(["--transport", strategy])
            .args(["--header", "Authorization: Bearer canary"])
            .start();
        bridge.send(&rpc::initialize(1, rpc::VERSION));
        let error = bridge.response(1)["error"].clone();
        assert_eq!(error["code"], -31000);
        assert_eq!(error["data"]["kind"], "endpoint_origin_mismatch");
        assert_eq!(error["data"]["executed"], "no");
        let text = error["message"].as_str().unwrap();
        assert!(
            text.contains(&remote.origin()) && text.contains(&elsewhere.origin()),
            "{text}"
        );
        bridge.finish();
    }
}

#[test]
fn t57_the_inner_scheme_of_a_tls_proxy_is_not_believed() {
    let authority = Authority::new("a company");
    let home = std::sync::Arc::new(Home::new());
    let ca = home.write("ca.pem", authority.pem());
    let remote = Legacy::http_sse()
        .tls(authority.server())
        .endpoint("http://127.0.0.1:1/messages?sid={sid}")
        .start();
    let mut bridge = Bridge::to(&remote.url())
        .args(["--transport", "sse-only", "--ca-cert"])
        .args([ca])
        .home(&home)
        .start();
    bridge.handshake();
    echoes(&mut bridge, "safely");
    bridge.finish();
    assert!(remote.calls().iter().all(|call| call.secure));
}

#[test]
fn t57_an_endpoint_may_be_safer_than_the_stream() {
    let authority = Authority::new("a company");
    let home = std::sync::Arc::new(Home::new());
    let ca = home.write("ca.pem", authority.pem());
    let secure = Remote::serve_tls(&authority.server(), |call| match call.key() {
        "initialize" => call.result(&json!({"protocolVersion": "2024-11-05", "capabilities": {},
            "serverInfo": {"name": "s", "version": "1"}})),
        _ => Reply::accepted(),
    });
    let endpoint = format!("event: endpoint\ndata: {}/m\n\n", secure.origin());
    let plain = Remote::serve(move |call| {
        let endpoint = endpoint.clone();
        assert_eq!(call.verb, "GET", "a message went over plain http");
        Reply::stream(|stream| stream.send(endpoint))
    });
    let mut bridge = Bridge::to(&plain.url())
        .args(["--transport", "sse-only", "--ca-cert"])
        .args([ca])
        .home(&home)
        .start();
    bridge.handshake();
    secure.wait_call("notifications/initialized");
    bridge.finish();
}

#[test]
fn t59_a_response_in_the_post_and_on_the_stream_is_given_once() {
    let remote = Legacy::http_sse()
        .on("tools/call", |call| {
            let answer = call.result_message(&call.echo());
            call.stream.as_ref().unwrap().event(&answer);
            Reply::json(&answer).direct()
        })
        .start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    echoes(&mut bridge, "once");
    echoes(&mut bridge, "again");
    // A second answer would be noted as a fault.
    bridge.finish();
}

#[test]
fn t60_what_a_cut_stream_means_for_calls_in_flight() {
    let remote = Legacy::http_sse()
        .on("tools/call", |_| Reply::accepted())
        .on("tools/list", |call| {
            if call.nth == 1 {
                Reply::accepted()
            } else {
                Reply::usual()
            }
        })
        .start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    bridge.send(&rpc::echo(1, "lost"));
    bridge.send(&rpc::request(2, "tools/list", Value::Null));
    remote.wait_call("tools/call");
    remote.wait_call("tools/list");
    remote.wait_stream().cut();
    let error = bridge.response(1)["error"].clone();
    assert_eq!(error["code"], -31000);
    assert_eq!(error["data"]["executed"], "unknown");
    assert_eq!(error["data"]["kind"], "session-lost");
    assert_eq!(bridge.response(2)["result"]["tools"][0]["name"], "echo");
    bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 1);
    assert_eq!(remote.calls_of("initialize").len(), 2);
    let lists = remote.calls_of("tools/list");
    assert_eq!(lists.len(), 2);
    assert_eq!(lists[1].query.as_deref(), Some("sid=sid2"));
}

#[test]
fn t61_an_unknown_session_is_reopened_and_the_message_sent_again() {
    for refusal in [
        Refusal::NotFound,
        Refusal::BadRequestText,
        Refusal::Unavailable,
    ] {
        let remote = Legacy::http_sse().start();
        let mut bridge = sse_only(&remote);
        bridge.handshake();
        echoes(&mut bridge, "before");
        let stream = remote.wait_stream();
        remote.expire_sessions(refusal);
        echoes(&mut bridge, "after");
        stream.wait_closed();
        bridge.finish();
        assert_eq!(remote.sessions_opened(), 2, "{refusal:?}");
        assert_eq!(remote.calls_of("GET").len(), 2);
    }
}

#[test]
fn t61_a_notification_that_finds_it_out_is_enough() {
    let remote = Legacy::http_sse().start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    echoes(&mut bridge, "before");
    remote.expire_sessions(Refusal::NotFound);
    bridge.notify("notifications/roots/list_changed", Value::Null);
    let again = remote.wait_nth("notifications/roots/list_changed", 2);
    assert_eq!(again.query.as_deref(), Some("sid=sid2"));
    bridge.finish();
}

#[test]
fn t62_the_newest_endpoint_counts() {
    let remote = Legacy::http_sse().endpoint("/first?sid={sid}").start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    echoes(&mut bridge, "one");
    // The notification behind it tells when it was read.
    remote
        .wait_stream()
        .send("event: endpoint\ndata: /second?sid=sid1\n\n");
    remote.say(&json!({"jsonrpc": "2.0", "method": "notifications/message",
        "params": {"level": "info", "data": "read"}}));
    bridge.recv_method("notifications/message");
    echoes(&mut bridge, "two");
    bridge.finish();
    let calls = remote.calls_of("tools/call");
    assert_eq!(calls[0].path, "/first");
    assert_eq!(calls[1].path, "/second");
    assert_eq!(remote.sessions_opened(), 1);
}

#[test]
fn t84_forty_calls_into_a_lost_session() {
    let remote = Legacy::http_sse().start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    echoes(&mut bridge, "before");
    remote.expire_sessions(Refusal::NotFound);
    for id in 1..=40 {
        bridge.send(&rpc::echo(id, &format!("call {id}")));
    }
    for id in 1..=40 {
        let response = bridge.response(id);
        assert_eq!(
            response["result"]["content"][0]["text"],
            format!("call {id}")
        );
    }
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 2);
    assert_eq!(remote.calls_of("GET").len(), 2);
}

#[test]
fn a_server_restarted_in_the_middle_of_a_call() {
    let gate = Gate::new();
    let held = gate.clone();
    let remote = Legacy::http_sse()
        .on("tools/call", move |call| {
            if call.nth == 1 {
                Reply::usual().after(&held)
            } else {
                Reply::usual()
            }
        })
        .start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    bridge.send(&rpc::echo(1, "lost"));
    remote.wait_call("tools/call");
    remote.stop();
    let error = bridge.response(1)["error"].clone();
    assert_eq!(error["data"]["executed"], "unknown");
    remote.restart_on_same_port();
    echoes(&mut bridge, "the new server");
    gate.open();
    let ended = bridge.finish();
    assert_eq!(remote.calls_of("tools/call").len(), 2);
    let told = |method: &str| {
        ended
            .messages
            .iter()
            .any(|message| message["method"] == method)
    };
    assert!(told("notifications/tools/list_changed"));
    assert!(told("notifications/resources/list_changed"));
}

#[test]
fn an_idle_stream_that_is_cut_comes_back_by_itself() {
    let remote = Legacy::http_sse().start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    remote.wait_stream().cut();
    remote.wait_nth("notifications/initialized", 2);
    remote.say(&json!({"jsonrpc": "2.0", "method": "notifications/message",
        "params": {"level": "info", "data": "hello again"}}));
    let message = bridge.recv_method("notifications/message");
    assert_eq!(message["params"]["data"], "hello again");
    echoes(&mut bridge, "still here");
    bridge.finish();
    assert_eq!(remote.sessions_opened(), 2);
    assert_eq!(remote.calls_of("GET").len(), 2);
}

#[test]
fn a_deploy_answers_503_for_a_while() {
    let deploying = Gate::new();
    let over = Mailbox::new();
    let (gate, sign) = (deploying.clone(), over.clone());
    let remote = Legacy::http_sse()
        .on("GET", move |call| match call.nth {
            1 => Reply::usual(),
            2 | 3 => {
                sign.put(call.nth);
                Reply::text(503, "deploying")
            }
            _ => Reply::usual().after(&gate),
        })
        .start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    remote.wait_stream().close();
    assert_eq!([over.take(), over.take()], [2, 3]);
    bridge.send(&rpc::echo(1, "waits for the new server"));
    deploying.open();
    let response = bridge.response(1);
    assert_eq!(
        response["result"]["content"][0]["text"],
        "waits for the new server"
    );
    bridge.finish();
}

#[test]
fn the_servers_questions_travel_on_the_stream() {
    let remote = Legacy::http_sse().start();
    let mut bridge = sse_only(&remote);
    bridge.handshake();
    remote.wait_call("notifications/initialized");
    remote.say(&rpc::request("q-1", "roots/list", Value::Null));
    let question = bridge.recv_method("roots/list");
    bridge.send(&rpc::response(question["id"].clone(), json!({"roots": []})));
    let reply = remote.wait_call("response");
    assert_eq!(reply.json["id"], "q-1");
    assert_eq!(reply.json["result"], json!({"roots": []}));
    bridge.finish();
}
