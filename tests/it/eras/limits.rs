//! Servers of both eras that ask, tell or answer without end: the client of the other era gets what
//! it asked for or an error, and the memory of the bridge stays small.
//!
//! In: what becomes large or endless where the eras differ. Out: hostile answers as such
//! (`crate::limits`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{ask, code, end, old, result, said, say, shake};
use crate::limits::stayed_below;
use crate::support::{Bridge, Home, Modern, Reply, form, rpc};

/// Peak memory of a process that passes on small messages alone, in KiB. A debug build takes about
/// a third of it before anything happens.
const SMALL: usize = 64 << 10;

/// As [`SMALL`], for one message of [`LARGE`] bytes.
const BIG: usize = SMALL + 6 * (LARGE >> 10);

/// Just below the limit of a message, in bytes.
const LARGE: usize = 60 << 20;

/// Enough for a debug build to take such a message apart.
const PATIENCE: Duration = Duration::from_secs(120);

/// A list with one tool of this size, and what else the result has.
fn large_list(rest: &str) -> String {
    let text = "x".repeat(LARGE);
    format!(
        r#"{{"tools":[{{"name":"echo","description":"{text}","inputSchema":{{"type":"object"}}}}]{rest}}}"#
    )
}

#[test]
fn a_large_list_of_a_modern_server_reaches_an_older_client() {
    let rest = r#","resultType":"complete","ttlMs":600000,"cacheScope":"public""#;
    let list = large_list(rest);
    let remote = Modern::new()
        .on("tools/list", move |call| call.result_text(&list))
        .start();
    let bridge = Bridge::spawn(&remote.url()).patience(PATIENCE);
    shake(&bridge, "2025-11-25", &json!({}));
    for id in 1..=2 {
        bridge.send(&rpc::request(id, "tools/list", json!({})));
        let line = bridge.response_raw(id);
        assert!(line.len() > LARGE && line.len() < LARGE + 1000);
    }
    stayed_below(&bridge, BIG);
    bridge.finish();
    // Too large to be kept, however fresh it is.
    assert_eq!(remote.calls_of("tools/list").len(), 2);
}

#[test]
fn a_large_list_of_an_older_server_reaches_a_modern_client() {
    let list = large_list("");
    let remote = old()
        .on("tools/list", move |call| call.result_text(&list))
        .start();
    let bridge = Bridge::spawn(&remote.url()).patience(PATIENCE);
    say(&bridge, 1, "tools/list", Value::Null);
    let line = bridge.response_raw(1);
    assert!(line.len() > LARGE && line.len() < LARGE + 1000);
    let tail = String::from_utf8_lossy(line.split_at(LARGE).1);
    let expected = r#""resultType":"complete","ttlMs":0,"cacheScope":"private""#;
    assert!(tail.contains(expected), "{tail}");
    stayed_below(&bridge, BIG);
    end(bridge);
}

#[test]
fn invalid_tools_without_end_are_counted_and_not_all_named() {
    let tool = r#"{"name":"t","inputSchema":{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}}"#;
    let tools = vec![tool; 20_000].join(",");
    let list = format!(r#"{{"tools":[{tools}],"resultType":"complete","ttlMs":0}}"#);
    let remote = Modern::new()
        .on("tools/list", move |call| call.result_text(&list))
        .start();
    let bridge = Bridge::spawn(&remote.url()).patience(PATIENCE);
    let listed = ask(&bridge, 1, "tools/list", Value::Null);
    assert_eq!(result(&listed)["tools"], json!([]));
    let stderr = end(bridge).stderr;
    assert_eq!(stderr.matches("x-mcp-header is invalid").count(), 20);
    assert!(stderr.contains("19980 more tools"), "{stderr}");
}

/// What is kept of servers below a home: each file's text.
fn kept(home: &Home) -> Vec<String> {
    let folder = home.config_dir().join("mcp-bridge");
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let states = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    states
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn a_server_that_is_as_it_was_is_not_written_down_again() {
    let remote = Modern::new().start();
    let home = Arc::new(Home::new());
    let mut before = Vec::new();
    for turn in 0..2 {
        let mut bridge = Bridge::to(&remote.url()).home(&home).start();
        bridge.handshake();
        bridge.request("tools/call", rpc::echo_params("hi"));
        bridge.finish();
        let now = kept(&home);
        assert_eq!(now.len(), 1);
        assert!(now[0].contains("modern"), "{now:?}");
        assert!(turn == 0 || now == before, "{now:?} {before:?}");
        before = now;
    }
    assert_eq!(remote.calls_of("server/discover").len(), 2);
}

#[test]
fn a_large_description_of_a_server_is_passed_on_but_not_remembered() {
    let words = "\"".repeat(10 << 20);
    let remote = Modern::new()
        .fresh(600_000, "public")
        .instructions(&words)
        .start();
    let home = Arc::new(Home::new());
    for _ in 0..2 {
        let bridge = Bridge::to(&remote.url()).home(&home).start();
        let bridge = bridge.patience(PATIENCE);
        let shaken = shake(&bridge, "2025-11-25", &json!({}));
        assert_eq!(shaken["instructions"], words);
        bridge.send(&rpc::echo(1, "hi"));
        assert_eq!(said(&bridge.response(1)), "hi");
        stayed_below(&bridge, 2 * SMALL + 10 * (20 << 10));
        bridge.finish();
        let kept = kept(&home);
        assert_eq!(kept.len(), 1);
        assert!(kept[0].contains("modern") && kept[0].len() < 64 << 10);
    }
}

#[test]
fn progress_without_end_is_told_as_far_as_it_goes_on() {
    let remote = Modern::new()
        .script("slow", |call| {
            let token = call.progress_token();
            let told = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": token, "progress": 1, "message": "x".repeat(100)}});
            let piece = Bytes::from(format!("data: {told}\n\n").repeat(1000));
            let result = json!({"resultType": "complete", "content": []});
            let last = call.result_message(&result);
            let mut last = Some(Bytes::from(format!("data: {last}\n\n")));
            let mut left = 300;
            Reply::endless(move || {
                left -= 1;
                if left > 0 {
                    Some(piece.clone())
                } else {
                    last.take()
                }
            })
            .header("content-type", "text/event-stream")
        })
        .start();
    let bridge = Bridge::spawn(&remote.url()).patience(PATIENCE);
    shake(&bridge, "2025-11-25", &json!({}));
    let params = json!({"name": "slow", "_meta": {"progressToken": "p"}});
    bridge.send(&rpc::request(1, "tools/call", params));
    assert_eq!(result(&bridge.response(1))["content"], json!([]));
    stayed_below(&bridge, SMALL);
    let told = bridge.finish().messages;
    assert_eq!(told.len(), 1, "{} messages", told.len());
}

#[test]
fn an_older_server_that_asks_without_end_is_asked_to_stop() {
    let remote = old()
        .lenient()
        .on("tools/call", |call| {
            if call.params()["name"] == "echo" {
                return Reply::usual();
            }
            let form = form("Which size?")["params"].clone();
            let mut number = 0;
            Reply::endless(move || {
                number += 1;
                let question = rpc::request(number, "elicitation/create", form.clone());
                Some(Bytes::from(format!("data: {question}\n\n")))
            })
            .header("content-type", "text/event-stream")
        })
        .start();
    let bridge = Bridge::spawn(&remote.url()).patience(PATIENCE);
    let asked = ask(&bridge, 1, "tools/call", json!({"name": "greedy"}));
    let questions = result(&asked)["inputRequests"].as_object().unwrap();
    assert_eq!(questions.len(), 64);
    let echoed = ask(&bridge, 2, "tools/call", rpc::echo_params("still here"));
    assert_eq!(said(&echoed), "still here");
    stayed_below(&bridge, SMALL);
    end(bridge);
}

#[test]
fn states_of_a_modern_server_are_kept_up_to_a_limit_together() {
    let remote = Modern::new()
        .script("greedy", |call| {
            let questions = json!({"size": form("Which size?")});
            call.input_required(&questions, Some(&"s".repeat(1 << 20)))
        })
        .start();
    let bridge = Bridge::spawn(&remote.url()).patience(PATIENCE);
    shake(&bridge, "2025-11-25", &json!({"elicitation": {}}));
    for id in 1..=40 {
        bridge.send(&rpc::request(id, "tools/call", json!({"name": "greedy"})));
    }
    // 16 MiB, and no more than one state in each.
    for _ in 0..25 {
        let failed = bridge.recv_where(|it| it["result"]["isError"] == true);
        let text = said(&failed);
        assert!(text.contains("too large"), "{text}");
    }
    bridge.send(&rpc::echo("echo", "still here"));
    assert_eq!(said(&bridge.response("echo")), "still here");
    stayed_below(&bridge, 2 * SMALL);
    bridge.finish();
}

#[test]
fn listens_without_end_are_refused_and_take_no_room_from_calls() {
    let (modern, legacy) = (Modern::new().start(), old().start());
    for url in [modern.url(), legacy.url()] {
        let bridge = Bridge::spawn(&url).patience(PATIENCE);
        ask(&bridge, 0, "server/discover", Value::Null);
        let filter = json!({"notifications": {"toolsListChanged": true}});
        for id in 1..=1000 {
            say(&bridge, id, "subscriptions/listen", filter.clone());
        }
        for id in 129..=1000 {
            let refused = code(&bridge.response(id));
            assert!(matches!(refused, -32603 | -31000), "{refused}");
        }
        let echoed = ask(&bridge, 2000, "tools/call", rpc::echo_params("still here"));
        assert_eq!(said(&echoed), "still here");
        stayed_below(&bridge, SMALL);
        // Those that were open end with the process, each once.
        let ends = end(bridge).messages;
        let ends = ends.iter().filter(|it| it.get("result").is_some());
        assert_eq!(ends.count(), 128);
    }
}
