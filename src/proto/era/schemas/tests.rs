//! Where references and boolean schemas stand, and where something only looks like one.

use serde_json::{Value, json};

use super::*;

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn inner(schema: &str) -> Value {
    let outer = value(&wrapped(schema).unwrap());
    assert_eq!(outer["type"], "object");
    assert_eq!(outer["required"], json!(["result"]));
    outer["properties"]["result"].clone()
}

#[test]
fn schemas_of_objects_and_what_is_no_schema_stay() {
    for schema in [
        r#"{"type":"object"}"#,
        r##"{"$ref":"#/$defs/a","ty\u0070e":"obj\u0065ct"}"##,
        "null",
        "[]",
        "\"true\"",
        "7",
        "",
    ] {
        assert_eq!(wrapped(schema), None, "{schema}");
    }
}

#[test]
fn any_other_schema_is_the_result_of_an_object() {
    assert_eq!(
        wrapped(r#"{ "type":"array" , "maxItems":1.0e2 }"#).as_deref(),
        Some(
            r#"{"type":"object","properties":{"result":{ "type":"array" , "maxItems":1.0e2 }},"required":["result"]}"#
        )
    );
    for schema in [r#"{"type":["object"]}"#, r#"{"anyOf":[{"type":"object"}]}"#] {
        assert_eq!(inner(schema), value(schema));
    }
    assert_eq!(inner("{}"), json!({}));
    assert_eq!(inner(" true "), json!({}));
    assert_eq!(inner("false"), json!({"not": {}}));
}

#[test]
fn t119_references_follow_the_schema_to_its_new_place() {
    for (before, after) in [
        ("#", "#/properties/result"),
        ("#/$defs/a", "#/properties/result/$defs/a"),
        ("#/", "#/properties/result/"),
        ("#name", "#name"),
        ("other.json#/$defs/a", "other.json#/$defs/a"),
        ("", ""),
    ] {
        for keyword in ["$ref", "$dynamicRef"] {
            let schema = json!({"items": {keyword: before}, "$defs": {"a": {}}});
            let expected = json!({"items": {keyword: after}, "$defs": {"a": {}}});
            assert_eq!(inner(&schema.to_string()), expected);
        }
    }
    // However the reference and its keyword are spelled.
    for spelled in [r##"{"$ref":"#\/a"}"##, r#"{"\u0024ref":"\u0023\u002fa"}"#] {
        assert_eq!(inner(spelled), json!({"$ref": "#/properties/result/a"}));
    }
}

#[test]
fn data_is_not_searched_but_names_are_free() {
    let reference = json!({"$ref": "#/$defs/a"});
    let moved = json!({"$ref": "#/properties/result/$defs/a"});
    for data in ["const", "enum", "default", "examples"] {
        let schema = json!({"type": "array", data: [reference]});
        assert_eq!(inner(&schema.to_string()), schema);
        for named in [
            "properties",
            "patternProperties",
            "$defs",
            "definitions",
            "dependentSchemas",
            "dependencies",
        ] {
            let schema = json!({"items": {named: {data: reference}}});
            let expected = json!({"items": {named: {data: moved}}});
            assert_eq!(inner(&schema.to_string()), expected);
        }
    }
    let schema = json!({"properties": {"$ref": {"const": "#/x"}, "$id": {"$ref": "#"}}});
    let expected =
        json!({"properties": {"$ref": {"const": "#/x"}, "$id": {"$ref": "#/properties/result"}}});
    assert_eq!(inner(&schema.to_string()), expected);
}

#[test]
fn references_with_another_base_stay() {
    let schema = json!({"$id": "https://h/s", "anyOf": [{"$ref": "#/$defs/a"}]});
    assert_eq!(inner(&schema.to_string()), schema);
    // The identifier may come after the references that it changes.
    let text =
        r##"{"anyOf":[{"$ref":"#"},{"items":[{"$ref":"#/a"}],"$id":"https://h/s"},{"$ref":"#"}]}"##;
    let expected = r##"{"anyOf":[{"$ref":"#/properties/result"},{"items":[{"$ref":"#/a"}],"$id":"https://h/s"},{"$ref":"#/properties/result"}]}"##;
    assert_eq!(inner(text), value(expected));
    // A fragment is an anchor and no base.
    let text = r##"{"$id":"#here","items":{"$ref":"#"}}"##;
    assert_eq!(inner(text)["items"]["$ref"], "#/properties/result");
}

#[test]
fn the_dialect_moves_to_the_new_root() {
    let draft = "http://json-schema.org/draft-07/schema#";
    let schema = json!({"$schema": draft, "type": "array", "items": {"$ref": "#"}});
    let outer = value(&wrapped(&schema.to_string()).unwrap());
    assert_eq!(outer["$schema"], draft);
    let expected = json!({"type": "array", "items": {"$ref": "#/properties/result"}});
    assert_eq!(outer["properties"]["result"], expected);
}

#[test]
fn t119_boolean_schemas_of_properties_are_objects_at_any_depth() {
    let schema = r#"{"type":"object", "properties":{ "a" : true,"b":false,"true":{"items":{"properties":{"c":true}}}}}"#;
    assert_eq!(
        without_booleans(schema).as_deref(),
        Some(
            r#"{"type":"object", "properties":{ "a" : {},"b":{"not":{}},"true":{"items":{"properties":{"c":{}}}}}}"#
        )
    );
    let nested =
        r#"{"allOf":[{"if":{"properties":{"a":true}}}],"$defs":{"x":{"properties":{"a":false}}}}"#;
    let expected = r#"{"allOf":[{"if":{"properties":{"a":{}}}}],"$defs":{"x":{"properties":{"a":{"not":{}}}}}}"#;
    assert_eq!(without_booleans(nested).as_deref(), Some(expected));
}

#[test]
fn booleans_that_are_no_schemas_of_properties_stay() {
    for schema in [
        r#"{"type":"object","properties":{"a":{"type":"string"}}}"#,
        r#"{"additionalProperties":false,"uniqueItems":true,"properties":{"a":{"default":true,"items":false}}}"#,
        r#"{"properties":{"a":{"const":{"properties":{"b":true}}},"b":"true","c":["true",true]}}"#,
        r#"{"x-form":{"properties":{"hidden":true}},"enum":[{"properties":{"a":true}}]}"#,
        r#"{"$defs":{"properties":true}}"#,
        "true",
        "[true]",
    ] {
        assert_eq!(without_booleans(schema), None, "{schema}");
    }
}

#[test]
fn the_deepest_schema_that_is_passed_on_is_searched() {
    let nested = |levels: usize, innermost: &str| {
        let depth = levels - 1;
        format!(
            "{}{innermost}{}",
            r#"{"items":"#.repeat(depth),
            "}".repeat(depth)
        )
    };
    let deep = nested(json::DEPTH_LIMIT, r##"{"$ref":"#"}"##);
    assert!(!json::depth_exceeds(deep.as_bytes(), json::DEPTH_LIMIT));
    let moved = nested(json::DEPTH_LIMIT, r##"{"$ref":"#/properties/result"}"##);
    assert!(wrapped(&deep).unwrap().contains(&moved));
    let deep = nested(json::DEPTH_LIMIT - 1, r#"{"properties":{"a":true}}"#);
    let expected = nested(json::DEPTH_LIMIT - 1, r#"{"properties":{"a":{}}}"#);
    assert_eq!(without_booleans(&deep), Some(expected));
}

#[test]
fn hostile_nesting_does_not_overflow_the_stack() {
    let deep = 1_000_000;
    let schema = format!(
        r##"{{"$ref":"#","items":{}true{}}}"##,
        r#"{"properties":"#.repeat(deep),
        "}".repeat(deep)
    );
    assert!(wrapped(&schema).is_some());
    assert_eq!(without_booleans(&schema), None);
}

#[test]
fn hostile_lists_of_references_cost_one_pass() {
    let many = format!(
        r#"{{"anyOf":[{}]}}"#,
        vec![r##"{"$ref":"#"}"##; 200_000].join(",")
    );
    let new = wrapped(&many).unwrap();
    assert_eq!(new.matches("#/properties/result").count(), 200_000);
}

#[test]
fn tools_are_noted_and_forgotten() {
    let mut tools = Wrapped::default();
    assert!(!tools.contains("a"));
    assert!(tools.note("a", true) && tools.note("a", true) && tools.contains("a"));
    assert!(tools.note("b", false) && !tools.contains("b"));
    assert!(tools.note("a", false) && !tools.contains("a"));
    assert_eq!(tools.bytes, 0);
}

#[test]
fn hostile_names_are_noted_within_a_limit() {
    let mut tools = Wrapped::default();
    assert!(!tools.note(&"x".repeat(WRAPPED_BYTES), true));
    let noted = (0..100_000).filter(|n| tools.note(&n.to_string(), true));
    assert!(noted.count() < WRAPPED_BYTES / NAME_BYTES);
    assert!(tools.bytes <= WRAPPED_BYTES);
    // What is noted stays noted, and room comes back.
    assert!(tools.contains("0") && tools.note("0", true));
    assert!(!tools.note("none", true));
    assert!(tools.note("0", false) && tools.note("1x", true));
}
