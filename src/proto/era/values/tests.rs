//! What each revision can read, and that everything else stays as it was.

use serde_json::{Value, json};

use super::*;

const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A call's result with this content, as a client at this revision gets it.
fn content(version: &str, content: &Value) -> Value {
    let result = json!({"content": content}).to_string();
    let new = call_result(version, "t", &Wrapped::default(), &result);
    value(&new.unwrap_or(result))["content"].clone()
}

fn called(version: &str, wrapped: &Wrapped, result: &Value) -> Value {
    let result = result.to_string();
    let new = call_result(version, "t", wrapped, &result);
    value(&new.unwrap_or(result))
}

fn listed(version: &str, tool: &Value, wrapped: &mut Wrapped) -> Value {
    let result = json!({"tools": [tool]}).to_string();
    let new = tools(version, &result, wrapped);
    value(&new.unwrap_or(result))["tools"][0].clone()
}

fn noted() -> Wrapped {
    let mut wrapped = Wrapped::default();
    assert!(wrapped.note("t", true));
    wrapped
}

fn asked(version: &str, method: &str, params: &Value) -> Result<Value, String> {
    let text = params.to_string();
    let new = question(version, method, &text)?;
    Ok(new.map_or_else(|| params.clone(), |new| value(&new)))
}

fn form_of(field: &Value) -> Value {
    json!({"mode": "form", "message": "m", "requestedSchema":
        {"type": "object", "properties": {"f": field}, "required": ["f"]}})
}

#[test]
fn t119_schemas_are_wrapped_and_so_are_the_results() {
    for version in LEGACY {
        let mut wrapped = Wrapped::default();
        let result = r##"{"nextCursor" : "c","tools":[ {"name":"plain", "inputSchema":{"type":"object"}} , {"name":"t","inputSchema":{"type":"object","properties":{"x":true}},"outputSchema":{"type":"array","items":{"$ref":"#/$defs/a"},"$defs":{"a":{"properties":{"y":false}}}},"title":"T"}]}"##;
        let expected = r##"{"nextCursor" : "c","tools":[ {"name":"plain", "inputSchema":{"type":"object"}} , {"name":"t","inputSchema":{"type":"object","properties":{"x":{}}},"outputSchema":{"type":"object","properties":{"result":{"type":"array","items":{"$ref":"#/properties/result/$defs/a"},"$defs":{"a":{"properties":{"y":{"not":{}}}}}}},"required":["result"]},"title":"T"}]}"##;
        assert_eq!(
            tools(version, result, &mut wrapped).as_deref(),
            Some(expected)
        );
        assert!(wrapped.contains("t") && !wrapped.contains("plain"));
        let result = r#"{"content":[{"type":"text","text":"a"}],"structuredContent":{"a" : 1.0}}"#;
        let expected = r#"{"content":[{"type":"text","text":"a"}],"structuredContent":{"result":{"a" : 1.0}}}"#;
        let call = |tool| call_result(version, tool, &wrapped, result);
        assert_eq!(call("t").as_deref(), Some(expected));
        assert_eq!(call("plain"), None);
    }
}

#[test]
fn lists_that_everybody_can_read_stay() {
    let result = r#"{"tools":[{"name":"t","title":"T","icons":[],"execution":{"taskSupport":"optional"},"annotations":{"readOnlyHint":true},"_meta":{"a":1},"inputSchema":{"type":"object","additionalProperties":false},"outputSchema":{"type":"object"}},{"name":7},null]}"#;
    for version in LEGACY {
        assert_eq!(tools(version, result, &mut Wrapped::default()), None);
        for other in ["{}", "[]", "null", r#"{"tools":{}}"#] {
            assert_eq!(tools(version, other, &mut Wrapped::default()), None);
        }
    }
}

#[test]
fn a_tool_that_is_no_longer_wrapped_is_forgotten() {
    let mut wrapped = noted();
    listed(
        "2025-11-25",
        &json!({"name": "t", "outputSchema": {"type": "object"}}),
        &mut wrapped,
    );
    assert!(!wrapped.contains("t"));
    let mut wrapped = noted();
    listed("2025-11-25", &json!({"name": "t"}), &mut wrapped);
    assert!(!wrapped.contains("t"));
    // The name may come after the schema.
    let tool = r#"{"tools":[{"outputSchema":true,"name":"t"}]}"#;
    let expected = r#"{"tools":[{"outputSchema":{"type":"object","properties":{"result":{}},"required":["result"]},"name":"t"}]}"#;
    assert_eq!(
        tools("2025-11-25", tool, &mut wrapped).as_deref(),
        Some(expected)
    );
    assert!(wrapped.contains("t"));
}

#[test]
fn hostile_names_leave_schemas_that_fit_results_that_are_not_wrapped() {
    let mut wrapped = Wrapped::default();
    let name = "t".repeat(schemas::WRAPPED_BYTES);
    let tool = json!({"name": name, "outputSchema": {"anyOf": []}});
    let new = listed("2025-11-25", &tool, &mut wrapped);
    assert_eq!(new["outputSchema"], json!({"type": "object"}));
    assert!(!wrapped.contains(&name));
}

#[test]
fn a_plain_result_stays() {
    let result = json!({"content": [{"type": "text", "text": "a"}, {"type": "image"},
        {"type": "resource"}], "isError": true, "_meta": {}});
    for version in LEGACY {
        assert_eq!(
            call_result(version, "t", &Wrapped::default(), &result.to_string()),
            None
        );
        for other in [
            "{}",
            "[]",
            "null",
            r#"{"content":null}"#,
            r#"{"content":"a]"}"#,
        ] {
            assert_eq!(call_result(version, "t", &noted(), other), None);
        }
    }
}

#[test]
fn values_that_are_no_objects_are_wrapped_even_for_tools_nobody_listed() {
    for version in LEGACY {
        for content in [json!([1]), json!("a"), json!(0), json!(false), json!(null)] {
            let result = json!({"content": [{"type": "text", "text": "a"}],
                "structuredContent": content});
            let new = called(version, &Wrapped::default(), &result);
            assert_eq!(new["structuredContent"], json!({"result": content}));
            assert_eq!(new["content"], result["content"]);
        }
    }
}

#[test]
fn wrapped_content_that_stands_alone_is_told_as_text() {
    let told = json!([{"type": "text", "text": "[1,\"a\"]"}]);
    for result in [
        json!({"content": [], "structuredContent": [1, "a"]}),
        json!({"structuredContent": [1, "a"]}),
    ] {
        let new = called("2025-11-25", &Wrapped::default(), &result);
        assert_eq!(new["content"], told);
        assert_eq!(new["structuredContent"], json!({"result": [1, "a"]}));
    }
    // An object that is not wrapped can be read where it is.
    let result = json!({"content": [], "structuredContent": {"a": 1}});
    assert_eq!(called("2025-06-18", &Wrapped::default(), &result), result);
    assert_eq!(
        called("2025-06-18", &noted(), &result)["content"],
        json!([{"type": "text", "text": "{\"a\":1}"}])
    );
}

#[test]
fn clients_without_structured_content_get_it_as_text() {
    let image = json!({"type": "image", "data": "", "mimeType": "image/png"});
    let result = json!({"content": [image], "structuredContent": {"a": 1}});
    for version in ["2024-11-05", "2025-03-26"] {
        let new = called(version, &Wrapped::default(), &result);
        let text = json!({"type": "text", "text": "{\"a\":1}"});
        assert_eq!(new["content"], json!([image, text]));
        assert_eq!(new["structuredContent"], json!({"a": 1}));
        // A server that says it in its own words is believed.
        let told = json!({"content": [{"type": "text", "text": "a is 1"}],
            "structuredContent": {"a": 1}});
        assert_eq!(called(version, &Wrapped::default(), &told), told);
    }
    assert_eq!(called("2025-06-18", &Wrapped::default(), &result), result);
}

#[test]
fn t28_links_are_text_for_clients_that_have_none() {
    let link = json!([{"type": "resource_link", "uri": "file:///a", "name": "A",
        "description": "Ä \"b\"", "mimeType": "text/plain", "size": 3,
        "annotations": {"priority": 1}}]);
    let text = json!([{"type": "text", "text": "A - file:///a\nÄ \"b\"",
        "annotations": {"priority": 1}}]);
    for (version, expected) in LEGACY.into_iter().zip([&text, &text, &link, &link]) {
        assert_eq!(content(version, &link), *expected, "{version}");
    }
    let bare = json!([{"type": "resource_link", "uri": "file:///a", "name": "A"}]);
    let told = json!([{"type": "text", "text": "A - file:///a"}]);
    assert_eq!(content("2024-11-05", &bare), told);
    let nowhere = json!([{"type": "resource_link", "name": "A"}]);
    assert_eq!(content("2024-11-05", &nowhere)[0]["type"], "text");
}

#[test]
fn t28_audio_is_a_resource_for_clients_that_have_none() {
    let audio = json!([{"type": "audio", "data": "AAAA", "mimeType": "audio/wav",
        "annotations": {"priority": 1}}]);
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        assert_eq!(content(version, &audio), audio);
    }
    let block = content("2024-11-05", &audio)[0].clone();
    assert_eq!(block["type"], "resource");
    assert_eq!(block["annotations"], json!({"priority": 1}));
    assert_eq!(
        (&block["data"], &block["mimeType"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(block["resource"]["blob"], "AAAA");
    assert_eq!(block["resource"]["mimeType"], "audio/wav");
    let uri = |block: &Value| {
        let uri = block["resource"]["uri"].as_str().unwrap_or_default();
        url::Url::parse(uri).unwrap()
    };
    assert_eq!(uri(&block), uri(&content("2024-11-05", &audio)[0]));
    let other = json!([{"type": "audio", "data": "AAAB", "mimeType": "audio/wav"}]);
    assert_ne!(uri(&block), uri(&content("2024-11-05", &other)[0]));
    let silent = json!([{"type": "audio", "data": 7}]);
    assert_eq!(content("2024-11-05", &silent)[0]["type"], "text");
}

#[test]
fn content_of_a_type_that_nobody_knows_is_text() {
    for version in LEGACY {
        for block in [
            json!({"type": "video", "data": "\"\\"}),
            json!({"type": 7}),
            json!({}),
            json!("text"),
            json!(["text"]),
        ] {
            let text = json!([{"type": "text", "text": block.to_string()}]);
            assert_eq!(content(version, &json!([block])), text, "{version}");
        }
    }
    let result = r#"{ "content" : [ {"type":"text","text":"\ud800"} , {"type":"x"} ],"n":1.0 }"#;
    let expected = r#"{"content":[ {"type":"text","text":"\ud800"} , {"type":"text","text":"{\"type\":\"x\"}"} ],"n":1.0}"#;
    assert_eq!(
        call_result("2025-11-25", "t", &Wrapped::default(), result).as_deref(),
        Some(expected)
    );
}

#[test]
fn hostile_lists_of_blocks_grow_within_a_limit() {
    let result = format!(r#"{{"content":[{}{{}}]}}"#, "{},".repeat(100_000));
    let new = call_result("2025-11-25", "t", &Wrapped::default(), &result).unwrap();
    assert_eq!(new.matches("\"text\":").count(), REWRITTEN);
    let message = format!(
        r#"{{"messages":[{{"role":"user","content":[{}1]}}]}}"#,
        "1,".repeat(REWRITTEN)
    );
    let asked = question("2025-06-18", "sampling/createMessage", &message);
    assert_eq!(asked, Ok(None));
    let results = format!(
        r#"{{"messages":[{{"role":"user","content":{{"type":"tool_result","content":[{}1]}}}}]}}"#,
        "1,".repeat(100_000)
    );
    let asked = question("2025-11-25", "sampling/createMessage", &results);
    let new = asked.unwrap().unwrap();
    assert_eq!(new.matches("\"text\":").count(), REWRITTEN);
}

#[test]
fn prompts_have_the_same_content() {
    let result = json!({"description": "d", "messages": [
        {"role": "user", "content": {"type": "text", "text": "a"}},
        {"role": "user", "content": {"type": "resource_link", "uri": "u:1", "name": "n"}},
        {"role": "assistant", "content": {"type": "x"}}]});
    let told = |version| {
        let text = result.to_string();
        let new = value(&prompt_result(version, &text).unwrap());
        assert_eq!(new["description"], "d");
        assert_eq!(new["messages"][0], result["messages"][0]);
        assert_eq!(new["messages"][2]["role"], "assistant");
        assert_eq!(new["messages"][2]["content"]["text"], "{\"type\":\"x\"}");
        new["messages"][1]["content"].clone()
    };
    assert_eq!(
        told("2025-03-26"),
        json!({"type": "text", "text": "n - u:1"})
    );
    assert_eq!(told("2025-06-18"), result["messages"][1]["content"]);
    let plain = r#"{"messages":[{"role":"user","content":{"type":"text","text":"a"}}]}"#;
    assert_eq!(prompt_result("2024-11-05", plain), None);
}

#[test]
fn t111_titled_choices_are_named_as_older_clients_know_them() {
    let field = json!({"type": "string", "title": "F", "default": "a",
        "oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]});
    let expected = json!({"message": "m", "requestedSchema": {"type": "object",
        "properties": {"f": {"type": "string", "title": "F", "default": "a",
            "enum": ["a", "b"], "enumNames": ["A", "B"]}},
        "required": ["f"]}});
    assert_eq!(
        asked("2025-06-18", "elicitation/create", &form_of(&field)),
        Ok(expected)
    );
    let untitled = json!({"type": "string", "oneOf": [{"const": "a"}]});
    let new = asked("2025-06-18", "elicitation/create", &form_of(&untitled)).unwrap();
    let field = &new["requestedSchema"]["properties"]["f"];
    assert_eq!(
        *field,
        json!({"type": "string", "enum": ["a"], "enumNames": ["a"]})
    );
}

#[test]
fn forms_lose_their_mode_and_nothing_else() {
    let params = r#"{"message":"m", "mode":"form","requestedSchema":{ "type":"object","properties":{"n":{"type":"number","minimum":1.0}}}}"#;
    let expected = r#"{"message":"m","requestedSchema":{ "type":"object","properties":{"n":{"type":"number","minimum":1.0}}}}"#;
    let ask = |params| question("2025-06-18", "elicitation/create", params).unwrap();
    assert_eq!(ask(params).as_deref(), Some(expected));
    assert_eq!(ask(expected), None);
    assert_eq!(
        ask(r#"{"mode":null,"message":"m"}"#).as_deref(),
        Some(r#"{"message":"m"}"#)
    );
    for field in [
        json!({"type": "string", "enum": ["a"]}),
        json!({"type": "string", "oneOf": [{"const": 1}]}),
        json!({"type": "string", "oneOf": []}),
        json!({"type": "string", "oneOf": {}}),
        json!({"type": "number", "oneOf": [{"const": "a"}]}),
    ] {
        let new = asked("2025-06-18", "elicitation/create", &form_of(&field)).unwrap();
        assert_eq!(new["requestedSchema"]["properties"]["f"], field);
    }
}

#[test]
fn t111_what_older_clients_cannot_show_is_refused_by_name() {
    let choices = json!({"type": "array", "items": {"type": "string", "enum": ["a"]}});
    let mut params = form_of(&choices);
    let refusal = asked("2025-06-18", "elicitation/create", &params).unwrap_err();
    assert!(
        refusal.contains("\"f\"") && refusal.contains("2025-11-25"),
        "{refusal}"
    );
    params["requestedSchema"]["properties"] = json!({"\u{1b}[2J": choices});
    let refusal = asked("2025-06-18", "elicitation/create", &params).unwrap_err();
    assert!(!refusal.contains('\u{1b}'), "{refusal}");
    let url = json!({"mode": "url", "message": "m", "url": "https://h/secret"});
    let refusal = asked("2025-06-18", "elicitation/create", &url).unwrap_err();
    assert!(
        refusal.contains("address") && !refusal.contains("secret"),
        "{refusal}"
    );
    let other = json!({"mode": "voice", "message": "m"});
    let refusal = asked("2025-06-18", "elicitation/create", &other).unwrap_err();
    assert!(refusal.contains("\"voice\""), "{refusal}");
}

#[test]
fn t99_a_client_of_the_last_legacy_revision_is_asked_in_the_server_s_words() {
    for params in [
        r#"{"mode":"form","message":"Which size?","requestedSchema":{"type":"object","properties":{"s":{"type":"string","oneOf":[{"const":"S","title":"Small"}]},"c":{"type":"array","items":{"type":"string","enum":["a"]}}}}}"#,
        r#"{"mode":"url","message":"m","url":"https://h/"}"#,
    ] {
        assert_eq!(
            question("2025-11-25", "elicitation/create", params),
            Ok(None)
        );
    }
    for version in LEGACY {
        assert_eq!(question(version, "roots/list", "{}"), Ok(None));
        let params =
            r#"{"maxTokens":1,"messages":[{"role":"user","content":{"type":"text","text":"a"}}]}"#;
        assert_eq!(
            question(version, "sampling/createMessage", params),
            Ok(None)
        );
    }
}

#[test]
fn sampling_messages_of_several_blocks_are_several_messages() {
    let (text, image) = (
        json!({"type": "text", "text": "a"}),
        json!({"type": "image"}),
    );
    let usage = json!({"type": "tool_use", "id": "1", "name": "n", "input": {}});
    let params = json!({"maxTokens": 1, "messages": [
        {"role": "user", "content": [text, image], "_meta": {"a": 1}},
        {"role": "assistant", "content": [usage]},
        {"role": "user", "content": text},
        {"role": "user", "content": []},
        {"role": "nobody", "content": [text]}]});
    assert_eq!(
        asked("2025-11-25", "sampling/createMessage", &params),
        Ok(params.clone())
    );
    let expected = json!({"maxTokens": 1, "messages": [
        {"role": "user", "content": text, "_meta": {"a": 1}},
        {"role": "user", "content": image},
        {"role": "assistant", "content": {"type": "text", "text": usage.to_string()}},
        {"role": "user", "content": text},
        {"role": "user", "content": {"type": "text", "text": ""}},
        {"role": "nobody", "content": [text]}]});
    assert_eq!(
        asked("2025-06-18", "sampling/createMessage", &params),
        Ok(expected)
    );
}

#[test]
fn sampling_content_is_what_the_revision_knows() {
    let asked_with = |version, block: &Value| {
        let params = json!({"messages": [{"role": "user", "content": block}]});
        let new = asked(version, "sampling/createMessage", &params).unwrap();
        new["messages"][0]["content"].clone()
    };
    for (kind, since) in [
        ("image", "2024-11-05"),
        ("audio", "2025-03-26"),
        ("tool_use", "2025-11-25"),
        ("tool_result", "2025-11-25"),
        ("resource", "9"),
        ("x", "9"),
    ] {
        for version in LEGACY {
            let block = json!({"type": kind});
            let text = json!({"type": "text", "text": block.to_string()});
            let expected = if version >= since { &block } else { &text };
            assert_eq!(asked_with(version, &block), *expected, "{version} {kind}");
        }
    }
}

#[test]
fn tools_and_tool_results_of_a_sampling_request_are_read_like_others() {
    let params = json!({
        "tools": [{"name": "n", "inputSchema": {"type": "object", "properties": {"a": true}},
            "outputSchema": {"type": "array"}}],
        "messages": [{"role": "user", "content": [{"type": "tool_result", "toolUseId": "1",
            "content": [{"type": "x"}], "structuredContent": [1]}]}]});
    let new = asked("2025-11-25", "sampling/createMessage", &params).unwrap();
    let tool = &new["tools"][0];
    assert_eq!(tool["inputSchema"]["properties"], json!({"a": {}}));
    assert_eq!(
        tool["outputSchema"]["properties"]["result"],
        json!({"type": "array"})
    );
    let result = &new["messages"][0]["content"][0];
    assert_eq!(result["content"][0]["text"], "{\"type\":\"x\"}");
    assert_eq!(result["structuredContent"], json!({"result": [1]}));
}

#[test]
fn older_servers_get_one_block() {
    let (text, image) = (r#"{"type":"text","text":"a"}"#, r#"{"type":"image"}"#);
    for (content, expected) in [
        (format!("[{image}]"), image),
        (format!("[ {image} , {text}, {{}} ]"), text),
        (format!("[{image},{image}]"), image),
        ("[]".to_owned(), r#"{"type":"text","text":""}"#),
    ] {
        let result = format!(r#"{{"role":"assistant", "content":{content},"model":"m"}}"#);
        let expected = format!(r#"{{"role":"assistant", "content":{expected},"model":"m"}}"#);
        for version in ["2024-11-05", "2025-06-18"] {
            let new = answer(version, "sampling/createMessage", &result);
            assert_eq!(new.as_ref(), Some(&expected));
        }
        assert_eq!(
            answer("2025-11-25", "sampling/createMessage", &result),
            None
        );
        assert_eq!(answer("2025-06-18", "elicitation/create", &result), None);
    }
    let single = format!(r#"{{"role":"assistant","content":{text},"model":"m"}}"#);
    assert_eq!(
        answer("2025-06-18", "sampling/createMessage", &single),
        None
    );
}

#[test]
fn modern_clients_read_everything() {
    let version = "2026-07-28";
    let list = r#"{"tools":[{"name":"t","outputSchema":true}]}"#;
    assert_eq!(tools(version, list, &mut Wrapped::default()), None);
    let result = r#"{"content":[{"type":"x"}],"structuredContent":1}"#;
    assert_eq!(call_result(version, "t", &noted(), result), None);
    let prompt = r#"{"messages":[{"role":"user","content":{"type":"x"}}]}"#;
    assert_eq!(prompt_result(version, prompt), None);
    assert_eq!(
        question(version, "sampling/createMessage", prompt),
        Ok(None)
    );
}
