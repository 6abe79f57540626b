//! `--heartbeat`: what the client is told of while the server is silent, between every pair of eras.

use std::time::Duration;

use serde_json::{Value, json};

use super::patience::{CELLS, Cell, beside, call, connected, progress};
use super::world::{Posted, World};
use crate::proto::bridge::Credentials;
use crate::proto::{Input, Prompt};

const PROGRESS: &str = "notifications/progress";

/// With a heartbeat every ten seconds.
fn beating(cell: Cell) -> (World, Option<Posted>) {
    connected(cell, |settings| {
        settings.heartbeat = Some(Duration::from_secs(10));
    })
}

/// Takes the progress that the client was told of: token, value and words.
fn told(world: &mut World) -> Vec<(Value, f64, String)> {
    let mut told = Vec::new();
    while world.has_line(PROGRESS) {
        let line = world.line(PROGRESS);
        let params = &line["params"];
        assert!(line.get("id").is_none(), "{line}");
        let words = params["message"].as_str().unwrap_or_default().to_owned();
        let is_beat = !words.is_empty();
        assert_eq!(params.get("total").is_none(), is_beat, "{line}");
        let progress = params["progress"].as_f64().unwrap();
        told.push((params["progressToken"].clone(), progress, words));
    }
    told
}

/// The words of what the client was told.
fn words(world: &mut World) -> Vec<String> {
    told(world).into_iter().map(|(_, _, words)| words).collect()
}

#[test]
fn a_silent_server_is_told_of_until_it_answers() {
    for cell in CELLS {
        let (mut world, stream) = beating(cell);
        let posted = call(&mut world, cell, 1);
        world.advance(Duration::from_millis(9999));
        assert_eq!(told(&mut world), [], "{cell:?}");
        world.advance(Duration::from_millis(1));
        let mut beats = told(&mut world);
        assert_eq!(beats.len(), 1, "{cell:?}");
        world.seconds(30);
        beats.extend(told(&mut world));
        assert_eq!(beats.len(), 4, "{cell:?}");
        let mut last = 0.0;
        for (token, progress, words) in beats {
            assert_eq!(token, "t1", "{cell:?}");
            assert_eq!(words, "the server is still working", "{cell:?}");
            assert!(progress > last && progress < 0.001, "{cell:?}: {progress}");
            last = progress;
        }
        let answer = posted.result(&json!({"resultType": "complete", "content": []}));
        world.event(beside(cell, stream.as_ref()).unwrap_or(&posted), &answer);
        world.response(1);
        world.seconds(60);
        assert_eq!(told(&mut world), [], "{cell:?}");
    }
}

#[test]
fn only_calls_with_a_token_are_told_of_and_only_with_the_option() {
    for cell in CELLS {
        let (mut world, _stream) = beating(cell);
        let params = json!({"name": "x"});
        match cell {
            Cell::ToLegacy | Cell::Modern => world.modern_request(1, "tools/call", &params),
            _ => world.request_with(1, "tools/call", &params),
        }
        world.seconds(600);
        assert_eq!(told(&mut world), [], "{cell:?}");
        let (mut world, _stream) = connected(cell, |_| {});
        call(&mut world, cell, 1);
        world.seconds(600);
        assert_eq!(told(&mut world), [], "{cell:?}");
    }
}

#[test]
fn a_server_that_tells_of_progress_is_left_alone() {
    for cell in CELLS {
        let (mut world, stream) = beating(cell);
        let posted = call(&mut world, cell, 1);
        for step in 1..8 {
            world.seconds(9);
            progress(
                &mut world,
                &posted,
                beside(cell, stream.as_ref()),
                &json!(step),
            );
            let found = told(&mut world);
            assert_eq!(found, [("t1".into(), f64::from(step), String::new())]);
        }
        world.seconds(10);
        assert_eq!(told(&mut world).len(), 1, "{cell:?}");
    }
}

#[test]
fn progress_grows_whoever_tells_of_it() {
    for cell in CELLS {
        let (mut world, stream) = beating(cell);
        let posted = call(&mut world, cell, 1);
        let mut seen = Vec::new();
        // Each of these comes after one heartbeat. Two of them are not more than was told.
        for (step, passes) in [
            (0.0, false),
            (5.0, true),
            (5.0, false),
            (5.5, true),
            (1e6, true),
        ] {
            world.seconds(10);
            progress(
                &mut world,
                &posted,
                beside(cell, stream.as_ref()),
                &json!(step),
            );
            let found = told(&mut world);
            assert_eq!(
                found.len(),
                1 + usize::from(passes),
                "{cell:?} {step}: {found:?}"
            );
            seen.extend(found.into_iter().map(|(_, progress, _)| progress));
        }
        assert!(
            seen.is_sorted_by(|before, after| before < after),
            "{cell:?}: {seen:?}"
        );
    }
}

#[test]
fn without_a_heartbeat_before_it_a_servers_progress_is_passed_on_as_it_is() {
    let (mut world, _stream) = beating(Cell::Legacy);
    let posted = call(&mut world, Cell::Legacy, 1);
    for step in [5, 5, 3] {
        progress(&mut world, &posted, None, &json!(step));
    }
    assert_eq!(told(&mut world).len(), 3);
}

#[test]
fn a_cancelled_call_and_one_that_is_given_up_are_told_of_no_more() {
    for cell in CELLS {
        let (mut world, _stream) = connected(cell, |settings| {
            settings.heartbeat = Some(Duration::from_secs(10));
            settings.call_timeout = Some(Duration::from_secs(25));
        });
        call(&mut world, cell, 1);
        call(&mut world, cell, 2);
        world.seconds(10);
        assert_eq!(told(&mut world).len(), 2, "{cell:?}");
        let params = json!({"requestId": 1});
        let method = "notifications/cancelled";
        world.client_says(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
        world.seconds(10);
        let found = told(&mut world);
        assert_eq!(found.len(), 1, "{cell:?}");
        assert_eq!(found[0].0, "t2", "{cell:?}");
        world.seconds(5);
        // A heartbeat is no progress of the server: it does not keep the call.
        let response = world.response(2);
        assert_eq!(response["error"]["data"]["kind"], "timeout", "{cell:?}");
        world.seconds(60);
        assert_eq!(told(&mut world), [], "{cell:?}");
    }
}

#[test]
fn the_words_say_what_is_waited_for() {
    let (mut world, _stream) = connected(Cell::Legacy, |settings| {
        settings.heartbeat = Some(Duration::from_secs(10));
        settings.credentials = Credentials::SignIn;
    });
    let params = json!({"name": "x", "_meta": {"progressToken": 7}});
    world.request_with(1, "tools/call", &params);
    let posted = world.take("tools/call");
    world.answer(&posted, 503, &[("retry-after", "12")], "");
    world.seconds(10);
    let expected = "waiting until the server can take the request";
    assert_eq!(words(&mut world), [expected]);
    world.seconds(2);
    let posted = world.take("tools/call");
    world.answer(&posted, 401, &[("www-authenticate", "Bearer")], "");
    world.feed(Input::SignInNeeded(Prompt {
        url: "https://as.example/authorize".to_owned(),
        instruction: None,
        opened: true,
    }));
    world.seconds(8);
    assert_eq!(words(&mut world), ["waiting for the sign-in"]);
    world.feed(Input::Authorized(Ok(())));
    let posted = world.take("tools/call");
    world.stream(&posted);
    world.seconds(10);
    assert_eq!(words(&mut world), ["the server is still working"]);
    let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"});
    world.event(&posted, &asked);
    world.seconds(10);
    let expected = "the server waits for an answer to its question";
    assert_eq!(words(&mut world), [expected]);
}

#[test]
fn nothing_is_told_before_the_client_is_initialized() {
    let mut world = World::with(|settings| settings.heartbeat = Some(Duration::from_secs(10)));
    world.initialize();
    let params = json!({"name": "x", "_meta": {"progressToken": 7}});
    world.request_with(1, "tools/call", &params);
    let posted = world.take("initialize");
    world.seconds(15);
    world.give_session(&posted, "a");
    world.response("init");
    world.seconds(15);
    assert_eq!(told(&mut world), []);
    world.initialized();
    world.finish_handshake("a");
    assert_eq!(told(&mut world), []);
    world.seconds(10);
    assert_eq!(told(&mut world).len(), 1);
}

#[test]
fn what_the_client_was_not_told_yet_comes_first() {
    let (mut world, _stream) = beating(Cell::Legacy);
    let posted = call(&mut world, Cell::Legacy, 1);
    world.initialize_as("again");
    progress(&mut world, &posted, None, &json!(0));
    let initialize = world.take("initialize");
    world.give_session(&initialize, "b");
    world.response("again");
    world.initialized();
    let initialized = world.take("notifications/initialized");
    world.seconds(10);
    world.accept(&initialized);
    world.seconds(10);
    let found = told(&mut world);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].1 < found[1].1, "{found:?}");
    assert!(!found[1].2.is_empty(), "{found:?}");
}

#[test]
fn while_a_modern_client_is_asked_nothing_is_told_and_then_under_its_new_token() {
    let (mut world, _stream) = beating(Cell::ToLegacy);
    let posted = call(&mut world, Cell::ToLegacy, 1);
    world.seconds(10);
    assert_eq!(told(&mut world).len(), 1);
    let params = json!({"mode": "form", "message": "?",
        "requestedSchema": {"type": "object", "properties": {}}});
    let method = "elicitation/create";
    world.event(
        &posted,
        &json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params}),
    );
    world.seconds(1);
    let state = world.response(1)["result"]["requestState"].clone();
    world.seconds(300);
    assert_eq!(told(&mut world), []);
    let params = json!({"name": "x", "arguments": {"n": 1}, "requestState": state,
        "inputResponses": {"q1": {"action": "decline"}}, "_meta": {"progressToken": "new"}});
    world.modern_request(2, "tools/call", &params);
    world.seconds(20);
    let found = told(&mut world);
    let tokens: Vec<&Value> = found.iter().map(|(token, ..)| token).collect();
    assert_eq!(tokens, ["new", "new"]);
    assert_eq!(world.count("tools/call"), 1);
}

#[test]
fn a_token_is_told_as_it_was_spelled() {
    let (mut world, _stream) = beating(Cell::Legacy);
    world.feed(Input::Line(
        r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":1.0}}}"#.into(),
    ));
    let mut out = Vec::new();
    let at = world.bridge.wake_at().unwrap();
    world.bridge.handle(at, Input::Wake, &mut out);
    let lines: Vec<String> = out
        .iter()
        .filter_map(|output| match output {
            crate::proto::Output::Line(line) => Some(String::from_utf8_lossy(line).into_owned()),
            _ => None,
        })
        .collect();
    let expected = r#""progressToken":1.0,"progress":0.000001,"#;
    assert!(
        lines.iter().any(|line| line.contains(expected)),
        "{lines:?}"
    );
}
