use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::proto::json::DEPTH_LIMIT;

fn tool(name: &str, schema: &Value) -> Value {
    json!({"name": name, "inputSchema": schema})
}

fn properties(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn page(tools: &[Value]) -> String {
    json!({"tools": tools}).to_string()
}

/// What a list with this one tool makes of it.
fn learned(tool: &Value) -> (ParamHeaders, Learned) {
    let mut known = ParamHeaders::default();
    let learned = known.learn(&page(std::slice::from_ref(tool)));
    (known, learned)
}

/// Why a tool with this schema is left out.
fn reason(schema: &Value) -> Option<String> {
    let (_, learned) = learned(&tool("t", schema));
    assert_eq!(learned.result.is_some(), learned.left_out.len() == 1);
    learned.left_out.into_iter().next().map(|pair| pair.1)
}

fn fields(known: &ParamHeaders, params: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    known.add(params, &mut out);
    out.iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

/// The value of the one field of a tool whose property `p` is annotated.
fn field(kind: &str, value: &str) -> Option<String> {
    let schema = properties(&json!({"p": {"type": kind, "x-mcp-header": "P"}}));
    let (known, _) = learned(&tool("t", &schema));
    let params = format!(r#"{{"name":"t","arguments":{{"p":{value}}}}}"#);
    let found = fields(&known, &params);
    assert!(found.len() < 2);
    found.into_iter().next().map(|(name, value)| {
        assert_eq!(name, "mcp-param-p");
        value
    })
}

#[test]
fn t120_a_tool_with_a_repeated_header_is_left_out_of_its_page_and_named() {
    let mut known = ParamHeaders::default();
    let first = concat!(
        r#"{"resultType":"complete", "tools":[{"name":"a","n":1.0e2},"#,
        r#"{"name":"bad\u001b[31m","inputSchema":{"properties":{"#,
        r#""x":{"type":"string","x-mcp-header":"MyField"},"y":{"type":"string","x-mcp-header":"myfield"}}}},"#,
        r#"{"name":"b", "inputSchema":{ "type":"object" }}],"nextCursor":"2\/a","ttlMs":5.0}"#,
    );
    let expected = concat!(
        r#"{"resultType":"complete","tools":[{"name":"a","n":1.0e2},"#,
        r#"{"name":"b", "inputSchema":{ "type":"object" }}],"nextCursor":"2\/a","ttlMs":5.0}"#,
    );
    let learned = known.learn(first);
    assert_eq!(learned.result.as_deref(), Some(expected));
    let (name, reason) = &learned.left_out[0];
    assert_eq!((&**name, learned.left_out.len()), (r"bad\u{1b}[31m", 1));
    assert!(reason.contains("same name"), "{reason}");
    let second = known.learn(r#"{"tools":[{"name":"c"}]}"#);
    assert_eq!(second, Learned::default());
    for name in ["a", "b", "c", "bad\u{1b}[31m"] {
        assert!(known.knows(name), "{name}");
    }
    assert!(!known.knows("A") && !known.knows("d"));
}

#[test]
fn t121_values_of_annotated_properties_become_fields() {
    let schema = properties(&json!({
        "place": {"type": "object", "properties": {
            "name": {"type": "string", "x-mcp-header": "Place-Name"},
            "country": {"type": "string"},
        }},
        "flag": {"type": "boolean", "x-mcp-header": "Method"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "none": {"type": "string", "x-mcp-header": "None"},
    }));
    let (known, learned) = learned(&tool("t", &schema));
    assert_eq!(learned, Learned::default());
    let call = |name: &str| {
        format!(
            r#"{{"name":"t","arguments":{{"place":{{"name":{name},"country":"x"}},"flag":true,"count":7,"none":null}}}}"#
        )
    };
    for (name, expected) in [
        (r#""Grüße""#, "=?base64?R3LDvMOfZQ==?="),
        (r#"" a""#, "=?base64?IGE=?="),
        (r#""=?base64?x?=""#, "=?base64?PT9iYXNlNjQ/eD89?="),
        (r#""us-west1""#, "us-west1"),
        (r#""us\u002dwest1""#, "us-west1"),
    ] {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("mcp-param-count", "7"),
            pair("mcp-param-method", "true"),
            pair("mcp-param-place-name", expected),
        ];
        assert_eq!(fields(&known, &call(name)), expected, "{name}");
    }
}

#[test]
fn t164_a_call_after_a_list_carries_its_fields_and_one_before_it_none() {
    let mut known = ParamHeaders::default();
    let call = r#"{"name":"t","arguments":{"shard":7,"q":"x"},"_meta":{}}"#;
    assert_eq!(fields(&known, call), []);
    assert!(!known.knows("t"));
    let schema = properties(&json!({"shard": {"type": "integer", "x-mcp-header": "Shard"}}));
    let _ = known.learn(&page(&[tool("t", &schema)]));
    assert!(known.knows("t"));
    let mut out = vec![(
        HeaderName::from_static("mcp-method"),
        HeaderValue::from_static("tools/call"),
    )];
    known.add(call, &mut out);
    let names: Vec<_> = out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["mcp-method", "mcp-param-shard"]);
    assert_eq!(out[1].1, "7");
}

#[test]
fn values_become_text() {
    for (kind, value, expected) in [
        ("string", r#""""#, Some("=?base64??=")),
        ("string", r#""us west 1""#, Some("us west 1")),
        ("string", r#""a\r\nX: 1""#, Some("=?base64?YQ0KWDogMQ==?=")),
        ("string", r#""\tx""#, Some("=?base64?CXg=?=")),
        ("string", r#""\ud800""#, None),
        ("boolean", "false", Some("false")),
        ("integer", "-7", Some("-7")),
        ("integer", "42.0", Some("42")),
        ("integer", "1.2e3", Some("1200")),
        ("integer", "-0", Some("0")),
        ("integer", "9007199254740991", Some("9007199254740991")),
        ("integer", "-9007199254740991", Some("-9007199254740991")),
        ("integer", "9007199254740992", None),
        ("integer", "-9007199254740992", None),
        ("integer", "12345678901234567890", None),
        ("integer", "1e400", None),
        ("integer", "3.14159", None),
        // The server judges values of another type than the schema's.
        ("integer", r#""7""#, Some("7")),
        ("string", "null", None),
        ("string", "[1]", None),
        ("string", r#"{"a":1}"#, None),
    ] {
        assert_eq!(field(kind, value).as_deref(), expected, "{value}");
    }
}

#[test]
fn long_values_are_left_out() {
    let value = |length: usize| format!("\"{}\"", "x".repeat(length));
    assert!(field("string", &value(MIRROR_LIMIT)).is_some());
    assert_eq!(field("string", &value(MIRROR_LIMIT + 1)), None);
    let grows = format!("\"{}\"", "ä".repeat(MIRROR_LIMIT / 2));
    assert_eq!(field("string", &grows), None);
}

#[test]
fn parameters_that_name_no_known_tool_or_have_no_such_value_add_nothing() {
    let schema = properties(&json!({
        "p": {"type": "string", "x-mcp-header": "P"},
        "o": {"properties": {"q": {"type": "string", "x-mcp-header": "Q"}}},
    }));
    let (known, _) = learned(&tool("t", &schema));
    for params in [
        "",
        "[]",
        "{}",
        r#"{"name":"t"}"#,
        r#"{"name":"t","arguments":null}"#,
        r#"{"name":"t","arguments":[{"p":"x"}]}"#,
        r#"{"name":"t","arguments":"p"}"#,
        r#"{"name":"t","arguments":{"P":"x","o":"x"}}"#,
        r#"{"name":"t","arguments":{"o":[{"q":"x"}]}}"#,
        r#"{"name":"T","arguments":{"p":"x"}}"#,
        r#"{"name":"t","name":"t","arguments":{"p":"x"}}"#,
        r#"{"name":1,"arguments":{"p":"x"}}"#,
    ] {
        assert_eq!(fields(&known, params), [], "{params}");
    }
    let twice = r#"{"name":"t","arguments":{"p":"1","\u0070":"2"}}"#;
    assert_eq!(fields(&known, twice)[0].1, "2");
}

#[test]
fn names_that_no_field_can_have_are_invalid() {
    let schema = |name: Value| properties(&json!({"p": {"type": "string", "x-mcp-header": name}}));
    for name in [
        json!(""),
        json!("My Region"),
        json!(" Region"),
        json!("Region:Primary"),
        json!("Région"),
        json!("Region\t1"),
        json!("a\r\nX-Evil: 1"),
        json!("a\"b"),
        json!("x".repeat(FIELD_NAME_LIMIT + 1)),
        json!(7),
        json!(null),
        json!(["Region"]),
        json!({"name": "Region"}),
    ] {
        let reason = reason(&schema(name.clone())).unwrap_or_else(|| panic!("{name} passed"));
        assert!(reason.contains("not a name"), "{name}: {reason}");
    }
    for name in [
        "Region",
        "!#$%&'*+-.^_`|~09azAZ",
        &"x".repeat(FIELD_NAME_LIMIT),
    ] {
        assert_eq!(reason(&schema(json!(name))), None, "{name}");
    }
}

#[test]
fn only_strings_integers_and_booleans_are_annotated() {
    for (kind, valid) in [
        (json!("string"), true),
        (json!("integer"), true),
        (json!("boolean"), true),
        (json!("number"), false),
        (json!("object"), false),
        (json!("array"), false),
        (json!("null"), false),
        (json!(["string", "null"]), false),
        (json!("String"), false),
        (Value::Null, false),
    ] {
        let schema = properties(&json!({"p": {"type": kind, "x-mcp-header": "P"}}));
        let reason = reason(&schema);
        assert_eq!(reason.is_none(), valid, "{kind}");
    }
    let untyped = properties(&json!({"p": {"x-mcp-header": "P"}}));
    assert!(reason(&untyped).unwrap().contains("not string"));
}

#[test]
fn annotations_are_reached_by_properties_alone() {
    let annotated = json!({"type": "string", "x-mcp-header": "P"});
    let inner = properties(&json!({"p": annotated}));
    for schema in [
        annotated.clone(),
        properties(&json!({"a": {"type": "array", "items": annotated}})),
        properties(&json!({"a": {"type": "array", "prefixItems": [annotated]}})),
        properties(&json!({"a": {"contains": annotated}})),
        properties(&json!({"a": {"items": inner}})),
        properties(&json!([annotated])),
        json!({"oneOf": [inner]}),
        json!({"anyOf": [inner]}),
        json!({"allOf": [{"oneOf": [inner]}]}),
        json!({"not": inner}),
        json!({"if": inner}),
        json!({"then": inner}),
        json!({"else": inner}),
        json!({"$defs": {"d": inner}, "$ref": "#/$defs/d"}),
        json!({"definitions": {"properties": annotated}}),
        json!({"additionalProperties": annotated}),
        json!({"unevaluatedProperties": inner}),
        json!({"unevaluatedItems": inner}),
        json!({"propertyNames": annotated}),
        json!({"patternProperties": {"^p": annotated}}),
        json!({"dependentSchemas": {"p": inner}}),
        json!({"x-shapes": {"d": annotated}, "$ref": "#/x-shapes/d"}),
    ] {
        let reason = reason(&schema).unwrap_or_else(|| panic!("{schema} passed"));
        assert!(reason.contains("`properties` alone"), "{schema}: {reason}");
    }
}

#[test]
fn names_and_values_that_look_like_the_keyword_are_none() {
    for schema in [
        properties(&json!({"x-mcp-header": {"type": "string"}})),
        properties(&json!({"properties": {"type": "array"}})),
        json!({"$defs": {"x-mcp-header": {"type": "string"}}}),
        json!({"oneOf": [properties(&json!({"x-mcp-header": true}))]}),
        json!({"required": ["x-mcp-header"], "dependentRequired": {"x-mcp-header": ["a"]}}),
        json!({"default": {"x-mcp-header": 1}, "const": {"x-mcp-header": 1}}),
        json!({"enum": [{"x-mcp-header": 1}], "examples": [[{"x-mcp-header": 1}]]}),
        json!({"description": "x-mcp-header"}),
        json!({"X-Mcp-Header": "a b"}),
        json!("x-mcp-header"),
    ] {
        assert_eq!(reason(&schema), None, "{schema}");
        assert_eq!(without_annotations(&page(&[tool("t", &schema)])), None);
    }
    // A property may have the keyword's name and the annotation too.
    let schema = properties(&json!({
        "x-mcp-header": {"type": "string", "x-mcp-header": "A"},
        "properties": {"properties": {"type": {"type": "boolean", "x-mcp-header": "B"}}},
    }));
    let (known, _) = learned(&tool("t", &schema));
    let params = r#"{"name":"t","arguments":{"x-mcp-header":"1","properties":{"type":false}}}"#;
    let names: Vec<_> = fields(&known, params).into_iter().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        names,
        [pair("mcp-param-b", "false"), pair("mcp-param-a", "1")]
    );
}

#[test]
fn an_annotated_definition_that_gives_a_member_twice_is_left_out() {
    let annotated = r#"{"properties":{"p":{"type":"string","x-mcp-header":"P"}}}"#;
    let left_out = |tool: &str| {
        let learned = ParamHeaders::default().learn(&format!(r#"{{"tools":[{tool}]}}"#));
        learned.left_out.len() == 1
    };
    for tool in [
        format!(r#"{{"name":"t","inputSchema":{annotated},"inputSchema":{{}}}}"#),
        format!(r#"{{"name":"t","inputSchema":{{}},"input\u0053chema":{annotated}}}"#),
        format!(r#"{{"name":"t","name":"u","inputSchema":{annotated}}}"#),
        r#"{"name":"t","inputSchema":{"properties":{"p":{"type":"string","x-mcp-header":"P","x-mcp-heade\u0072":"Q"}}}}"#.into(),
        r#"{"name":"t","inputSchema":{"properties":{"p":{"type":"object","type":"string","x-mcp-header":"P"}}}}"#.into(),
        r#"{"name":"t","inputSchema":{"properties":{"p":{"type":"string","x-mcp-header":"P"},"p":{}}}}"#.into(),
        r#"{"name":"t","inputSchema":{"properties":{"p":{"type":"string","x-mcp-header":"P"}},"properties":{}}}"#.into(),
    ] {
        assert!(left_out(&tool), "{tool}");
    }
    for tool in [
        r#"{"name":"t","name":"t","inputSchema":{},"inputSchema":{"properties":{"x-mcp-header":{},"x-mcp-header":{}}}}"#,
        r#"{"name":"t","inputSchema":{"default":{"a":1,"a":2},"properties":{"p":{"type":"string","x-mcp-header":"P"}}}}"#,
    ] {
        assert!(!left_out(tool), "{tool}");
    }
}

#[test]
fn a_keyword_spelled_with_escapes_is_the_keyword() {
    let escaped = r#"{"tools":[{"name":"t","inputSchema":{"propert\u0069es":{"\u0070":{"type":"str\u0069ng","\u0078-mcp-header":"P\u0031"}}}}]}"#;
    let mut known = ParamHeaders::default();
    assert_eq!(known.learn(escaped), Learned::default());
    let found = fields(&known, r#"{"name":"t","arguments":{"p":"v"}}"#);
    assert_eq!(found, [("mcp-param-p1".to_owned(), "v".to_owned())]);
    let bare = r#"{"tools":[{"name":"t","inputSchema":{"propert\u0069es":{"\u0070":{"type":"str\u0069ng"}}}}]}"#;
    assert_eq!(without_annotations(escaped).as_deref(), Some(bare));
}

#[test]
fn the_last_list_counts() {
    let annotated = |header: &str| {
        tool(
            "t",
            &properties(&json!({"p": {"type": "string", "x-mcp-header": header}})),
        )
    };
    let names = |known: &ParamHeaders| -> Vec<String> {
        let found = fields(known, r#"{"name":"t","arguments":{"p":"v"}}"#);
        found.into_iter().map(|pair| pair.0).collect()
    };
    let mut known = ParamHeaders::default();
    let _ = known.learn(&page(&[annotated("A")]));
    let _ = known.learn(&page(&[json!({"name": "other"})]));
    assert_eq!(names(&known), ["mcp-param-a"]);
    let _ = known.learn(&page(&[annotated("B")]));
    assert_eq!(names(&known), ["mcp-param-b"]);
    for last in [json!({"name": "t"}), annotated("not a token")] {
        let _ = known.learn(&page(&[annotated("A")]));
        let _ = known.learn(&page(&[last]));
        assert!(known.knows("t"));
        assert_eq!(names(&known), [""; 0]);
    }
    assert_eq!((known.with_fields_bytes, known.without.len()), (0, 2));
    assert_eq!(
        known.without_bytes,
        "t".len() + "other".len() + 2 * ENTRY_BYTES
    );
}

#[test]
fn pages_that_are_none_change_nothing() {
    let mut known = ParamHeaders::default();
    for result in ["", "[]", "{}", r#"{"tools":{}}"#, r#"{"tools":null}"#] {
        assert_eq!(known.learn(result), Learned::default(), "{result}");
        assert_eq!(without_annotations(result), None, "{result}");
    }
    let odd = r#"{"tools":[1,null,"x-mcp-header",{},{"name":7},{"inputSchema":"x-mcp-header"}]}"#;
    assert_eq!(known.learn(odd), Learned::default());
    assert_eq!(without_annotations(odd), None);
}

#[test]
fn annotations_are_taken_out_and_all_else_stays() {
    for (schema, expected) in [
        (
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"n":{"default":1.0e2}}}"#,
            r#"{"properties":{"a":{"type":"string"},"n":{"default":1.0e2}}}"#,
        ),
        (r#"{"a":{"x-mcp-header":"A"}}"#, r#"{"a":{}}"#),
        (r#"{"x-mcp-header":"A","a":1}"#, r#"{"a":1}"#),
        (
            r#"{ "b":0 , "x-mcp-header" : [{"x-mcp-header":",}"}] , "a":1 }"#,
            r#"{ "b":0 ,  "a":1 }"#,
        ),
        (r#"{"b":[1,2] , "x-mcp-header":{} }"#, r#"{"b":[1,2]  }"#),
        (
            r#"{"b":",","x-mcp-header":1,"x-mcp-header":2}"#,
            r#"{"b":","}"#,
        ),
        (r#"{"x-mcp-header":1,"x-mcp-header":2}"#, "{}"),
        (
            r#"{"oneOf":[{"x-mcp-header":"A"},{"$defs":{"d":{"x-mcp-header":"B","t":1}}}]}"#,
            r#"{"oneOf":[{},{"$defs":{"d":{"t":1}}}]}"#,
        ),
    ] {
        let page = |schema: &str| {
            format!(
                r#"{{"nextCursor":"\/","tools":[{{"name":"p","n":[ ]}},{{"name":"t","inputSchema":{schema},"z":1.0}}]}}"#
            )
        };
        let found = without_annotations(&page(schema));
        assert_eq!(found, Some(page(expected)), "{schema}");
        assert_eq!(without_annotations(&page(expected)), None);
    }
}

#[test]
fn hostile_depth_neither_overflows_the_stack_nor_takes_long() {
    let nested = |depth: usize, open: &str, inner: &str, close: &str| {
        format!(
            r#"{{"tools":[{{"name":"t","inputSchema":{}{inner}{}}}]}}"#,
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let annotated = r#"{"type":"string","x-mcp-header":"P"}"#;
    for (open, close) in [
        (r#"{"properties":{"a":"#, "}}"),
        (r#"{"items":"#, "}"),
        (r#"{"allOf":["#, "]}"),
        (r#"{"default":{"x-mcp-header":"#, "}}"),
        ("[", "]"),
    ] {
        for depth in [DEPTH_LIMIT / 2, 20 * DEPTH_LIMIT] {
            let page = nested(depth, open, annotated, close);
            let learned = ParamHeaders::default().learn(&page);
            let data = open.contains("default");
            assert_eq!(learned.left_out.is_empty(), data, "{open}");
            assert_eq!(without_annotations(&page).is_none(), data, "{open}");
        }
    }
    for (depth, left_out) in [(PATH_DEPTH, 0), (PATH_DEPTH + 1, 1)] {
        let page = nested(depth, r#"{"properties":{"a":"#, annotated, "}}");
        let mut known = ParamHeaders::default();
        assert_eq!(known.learn(&page).left_out.len(), left_out);
        let arguments = format!("{}\"v\"{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let params = format!(r#"{{"name":"t","arguments":{arguments}}}"#);
        assert_eq!(fields(&known, &params).len(), 1 - left_out);
    }
}

#[test]
fn a_tool_has_only_so_many_fields_and_so_long_paths() {
    let many = |count: usize, key: &str| {
        let properties: serde_json::Map<_, _> = (0..count)
            .map(|n| {
                let annotated = json!({"type": "string", "x-mcp-header": format!("F{n}")});
                (format!("{key}{n:03}"), annotated)
            })
            .collect();
        reason(&json!({"properties": properties}))
    };
    assert_eq!(many(FIELDS, ""), None);
    assert!(many(FIELDS + 1, "").unwrap().contains("more x-mcp-header"));
    assert_eq!(many(2, &"k".repeat(PATHS_BYTES / 2 - 3)), None);
    assert!(many(2, &"k".repeat(PATHS_BYTES / 2 - 2)).is_some());
}

#[test]
fn hostile_lists_are_remembered_within_limits() {
    let mut known = ParamHeaders::default();
    let mut tools = Vec::new();
    for n in 0..100_000 {
        tools.push(if n % 5 == 0 {
            format!(
                r#"{{"name":"{n}","inputSchema":{{"properties":{{"p":{{"type":"string","x-mcp-header":"P"}}}}}}}}"#
            )
        } else {
            format!(r#"{{"name":"{n}"}}"#)
        });
    }
    let long = "x".repeat(LEARNED_BYTES);
    tools.push(format!(r#"{{"name":"{long}"}}"#));
    let page = format!("{{\"tools\":{}}}", object::array(&tools));
    assert_eq!(known.learn(&page), Learned::default());
    assert!(known.knows("99995") && known.knows("99999") && !known.knows(&long));
    assert!(!known.knows("0") && !known.knows("1"));
    assert!(known.with_fields_bytes <= LEARNED_BYTES && known.without_bytes <= LEARNED_BYTES);
    let of_fields = known.with_fields.iter();
    let counted: usize = of_fields
        .map(|(name, fields)| name.len() + fields.bytes())
        .sum();
    assert_eq!(counted, known.with_fields_bytes);
    let counted: usize = known
        .without
        .iter()
        .map(|name| name.len() + ENTRY_BYTES)
        .sum();
    assert_eq!(counted, known.without_bytes);
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "x-mcp-header": "P"})),
        Just(json!({"x-mcp-header": "a b"})),
        "[ -~\n\\\\\"x]{0,6}".prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let key = prop_oneof![
            Just("properties".to_owned()),
            Just("items".to_owned()),
            Just("default".to_owned()),
            Just("x-mcp-header".to_owned()),
            "[a-c\"\\\\,{}]{0,3}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_but_visible_text_gets_into_a_field_and_it_can_be_read_back(text in any::<String>()) {
        let value = field("string", &Value::from(text.clone()).to_string()).unwrap();
        prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
        let read = inner.map_or(value.clone().into_bytes(), |inner| STANDARD.decode(inner).unwrap());
        prop_assert_eq!(read, text.into_bytes());
    }

    #[test]
    fn any_name_makes_a_field_of_that_name_or_is_invalid(name in any::<String>()) {
        let schema = properties(&json!({"p": {"type": "string", "x-mcp-header": name}}));
        let (known, learned) = learned(&tool("t", &schema));
        let found = fields(&known, r#"{"name":"t","arguments":{"p":"v"}}"#);
        let valid = !name.is_empty() && name.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
        });
        prop_assert_eq!(learned.left_out.is_empty(), valid);
        let expected = valid.then(|| format!("mcp-param-{}", name.to_ascii_lowercase()));
        prop_assert_eq!(found.first().map(|pair| pair.0.clone()), expected);
    }

    #[test]
    fn what_is_left_after_taking_annotations_out_has_none(schema in any_schema(), pretty in any::<bool>()) {
        let tool = tool("t", &schema);
        let page = if pretty { format!("{:#}", json!({"tools": [tool]})) } else { page(&[tool]) };
        let bare = without_annotations(&page);
        let text = bare.as_deref().unwrap_or(&page);
        prop_assert!(serde_json::from_str::<Value>(text).is_ok(), "{}", text);
        prop_assert_eq!(without_annotations(text), None);
        prop_assert_eq!(ParamHeaders::default().learn(text), Learned::default());
    }

    #[test]
    fn any_text_is_survived(text in "[{}\\[\\]\",:\\\\xu0-9 ]{0,40}") {
        let _ = annotations::scan(&text);
        let learned = ParamHeaders::default().learn(&format!(r#"{{"tools":[{text}]}}"#));
        prop_assert_eq!(learned.left_out.len(), 0);
    }
}
