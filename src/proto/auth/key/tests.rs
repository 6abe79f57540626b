//! Names and ports of npm `mcp-remote` 0.15.1, noted down from runs of that program.

use super::*;

const U: &str = "https://example.com/mcp";

/// What is given besides the URL.
#[derive(Default)]
struct Given {
    resource: Option<&'static str>,
    params: &'static [(&'static str, &'static str)],
    headers: &'static [(&'static str, &'static str)],
    client_metadata_url: Option<&'static str>,
    token_endpoint: Option<&'static str>,
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

#[track_caller]
fn check(url: &str, given: &Given, key: &str, port: u16) {
    let (authorize_params, headers) = (owned(given.params), owned(given.headers));
    let parts = Parts {
        url,
        resource: given.resource,
        authorize_params: &authorize_params,
        headers: &headers,
        client_metadata_url: given.client_metadata_url,
        token_endpoint: given.token_endpoint,
        profile: None,
    };
    assert_eq!(store_key(&parts), key);
    assert_eq!(derived_port(key), port);
}

#[track_caller]
fn with_headers(headers: &'static [(&'static str, &'static str)], key: &str, port: u16) {
    let given = Given {
        headers,
        ..Given::default()
    };
    check(U, &given, key, port);
}

#[track_caller]
fn with_params(params: &'static [(&'static str, &'static str)], key: &str, port: u16) {
    let given = Given {
        params,
        ..Given::default()
    };
    check(U, &given, key, port);
}

#[test]
fn f01_the_url_counts_as_it_was_typed() {
    for (url, key, port) in [
        (U, "8724945d3c4865fe12d6890203193588", 37931),
        (
            "https://example.com/mcp/",
            "5b04a940b306792cf6abc47d6bba55f7",
            26635,
        ),
        (
            "https://example.com",
            "c984d06aafbecf6bc55569f964148ea3",
            9107,
        ),
        (
            "https://example.com/",
            "182ccedb33a9e03fbf1079b209da1a31",
            9523,
        ),
        (
            "https://EXAMPLE.com/mcp",
            "39559fc5d535f05df5be614688856b6a",
            18012,
        ),
        (
            "https://example.com:443/mcp",
            "f0a1c82bc6671129554f8c2be48df3c4",
            19120,
        ),
        (
            "https://example.com/mcp?a=1&b=2",
            "75528b678ce038a8184e9131ff6270d5",
            33369,
        ),
        (
            "https://example.com/mcp#f",
            "b6f82e91b6054894ca828b18f33cb9a9",
            4359,
        ),
        (
            "https://example.com/é",
            "4f84a472496ed6a903146a372c0bb22b",
            23691,
        ),
        (
            "https://remote.mcp.server/sse",
            "2499d8b26827bb8c0b6efe76f75fcbe2",
            12704,
        ),
        (
            "http://localhost:3000/mcp",
            "b6615e5dbf97b22683f87865ad8c00e0",
            4208,
        ),
        (
            "http://127.0.0.1:3000/mcp",
            "17b244e3d408a03337239f65a72c293c",
            9401,
        ),
    ] {
        check(url, &Given::default(), key, port);
    }
}

#[test]
fn f01_a_resource_is_the_second_part() {
    let given = Given {
        resource: Some("https://tenant1.atlassian.net/"),
        ..Given::default()
    };
    check(U, &given, "f84afef1fb1461982e73d1f274afd23d", 21081);
}

#[test]
fn f01_headers_count_by_name_and_template() {
    with_headers(
        &[("Authorization", "Bearer abc")],
        "0c67414ba1dcacb188ee98121b77543f",
        6510,
    );
    with_headers(
        &[("authorization", "Bearer abc")],
        "a6088d45f74931db704cfb523918a1ba",
        45839,
    );
    with_headers(
        &[("Authorization", "Bearer ${TOK}")],
        "abd06144d775d5e01ed2af5231728979",
        47319,
    );
    with_headers(
        &[("X-Q", "a\"b\\c\té/ü")],
        "8576e34ef0639345950883f0ed12378e",
        37501,
    );
}

#[test]
fn f01_headers_count_in_one_order() {
    for headers in [
        &[("X-B", "2"), ("X-A", "1"), ("Authorization", "t")],
        &[("Authorization", "t"), ("X-A", "1"), ("X-B", "2")],
    ] {
        with_headers(headers, "12f1ab24100d1e85990f8599975a65ce", 8184);
    }
    with_headers(
        &[
            ("b", "1"),
            ("A", "2"),
            ("a", "3"),
            ("B", "4"),
            ("_c", "5"),
            ("10", "x"),
            ("9", "y"),
        ],
        "f2e83530c499e92c6d363224bb9e76a9",
        19703,
    );
}

#[test]
fn f01_the_last_header_of_a_name_counts() {
    with_headers(
        &[("X-A", "1"), ("X-A", "2")],
        "5734b36b751e1174760b6c6051ad73fa",
        25659,
    );
    with_headers(
        &[("X-A", "1"), ("x-a", "2")],
        "1288004a27cdf4ed2c1a3afa6336075b",
        8079,
    );
}

#[test]
fn f01_headers_from_a_file_count_like_others() {
    for headers in [
        &[
            ("X-B", "2"),
            ("Authorization", "Bearer ${TOK}"),
            ("X-C", "trailing"),
        ] as &'static [_],
        &[
            ("X-B", "9"),
            ("X-B", "2"),
            ("Authorization", "Bearer ${TOK}"),
            ("X-C", "trailing"),
        ],
    ] {
        with_headers(headers, "b4df7d87d46b564924da6507aad24036", 3822);
    }
    with_headers(
        &[
            ("X-B", "2"),
            ("Authorization", "Bearer ${TOK}"),
            ("X-C", "trailing"),
            ("X-B", "9"),
        ],
        "b4681acdeaa6ed4ee65e4b9c3c56bb36",
        3703,
    );
}

#[test]
fn f01_authorize_parameters_count_in_one_order() {
    with_params(
        &[("audience", "https://api.example.com")],
        "e7ca73f01f6c994856c1f1dd3dd4d208",
        16857,
    );
    for params in [
        &[("prompt", "consent"), ("access_type", "offline")],
        &[("access_type", "offline"), ("prompt", "consent")],
    ] {
        with_params(params, "701c35094af23546b98b52efcc22e522", 32035);
    }
    with_params(&[("a", "b=c")], "8a2e79b750e64c317e8957fc0c343ae9", 38709);
    with_params(&[("k", " v ")], "9ffbcefe7e60d0f2f0cf3a41471f35ee", 44290);
}

#[test]
fn f01_every_part_has_its_place() {
    let given = || Given {
        resource: Some("https://r.example/"),
        headers: &[("X-A", "1")],
        ..Given::default()
    };
    check(U, &given(), "b748fc19f1bb4c1e5dd05b5620f10973", 4439);
    let with_params = || Given {
        params: &[("p", "1")],
        ..given()
    };
    check(U, &with_params(), "da1fcdeb293d4d924d5e43b80982b007", 13358);
    let all = Given {
        client_metadata_url: Some("https://client.example.com/meta.json"),
        token_endpoint: Some("https://auth.example.com/oauth/token"),
        ..with_params()
    };
    check(U, &all, "8ab77e033e7091031244ec9f06827a24", 38846);
    let document = Given {
        client_metadata_url: Some("https://client.example.com/meta.json"),
        ..Given::default()
    };
    check(U, &document, "a79ac2cb679e79a0d831d67e9dd7bacd", 46241);
    let endpoint = Given {
        token_endpoint: Some("https://auth.example.com/oauth/token"),
        ..Given::default()
    };
    check(U, &endpoint, "5092036793f4830727ee04379ac687ae", 23961);
    let query = Given {
        token_endpoint: Some("https://auth.example.com/oauth/token?x=1"),
        ..Given::default()
    };
    check(U, &query, "15700be7d5f1656d7fa55c47f33cba54", 8823);
}

#[test]
fn f28_a_profile_has_its_own_name() {
    let named = |profile| {
        store_key(&Parts {
            url: U,
            profile,
            ..Parts::default()
        })
    };
    assert_eq!(named(None), "8724945d3c4865fe12d6890203193588");
    let (work, home) = (named(Some("work")), named(Some("home")));
    assert!(work != home && work != named(None) && home != named(None));
    let typed = store_key(&Parts {
        url: "https://example.com/mcp|profile:work",
        ..Parts::default()
    });
    assert_eq!(work, typed, "the profile is the last part");
}

#[test]
fn ports_stay_in_their_range_whatever_the_key() {
    assert_eq!(derived_port("0000"), 3335);
    assert_eq!(derived_port("b2f7"), 49150);
    assert_eq!(derived_port("b2f8"), 3335);
    for odd in ["", "zz", "éé", "+123"] {
        assert!((3335..=49150).contains(&derived_port(odd)), "{odd}");
    }
}
