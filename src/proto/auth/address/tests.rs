//! Addresses that documents name, by scheme, host and way of writing.

use super::*;

const METADATA: Kind = Kind::MetadataInvalid;
const INSECURE: Kind = Kind::InsecureUrl;
const BLOCKED: Kind = Kind::BlockedAddress;

fn policy(server: &str, reach: Reach) -> AddressPolicy {
    AddressPolicy {
        server: Arc::new(Url::parse(server).unwrap()),
        reach,
        allow_private: false,
    }
}

fn public() -> AddressPolicy {
    policy("https://mcp.example/mcp", Reach::Public)
}

fn local() -> AddressPolicy {
    policy("http://localhost:3000/mcp", Reach::Loopback)
}

fn kind(policy: &AddressPolicy, text: &str) -> Option<Kind> {
    policy.parse("field", text).err().map(|failure| {
        assert!(failure.text.contains("field"), "{}", failure.text);
        assert!(
            failure.text.chars().count() < EXCERPT_CHARS + 200,
            "{}",
            failure.text
        );
        assert_eq!(failure.executed, Executed::No);
        failure.kind
    })
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a20_https_everywhere_and_http_on_loopback_alone() {
    for text in [
        "https://as.example/",
        "HTTPS://AS.example:8443/a%2Fb?x=1",
        "https://[2606:4700::1]/token",
        "https://8.8.8.8/",
    ] {
        assert_eq!(kind(&public(), text), None, "{text}");
        assert_eq!(kind(&local(), text), None, "{text}");
    }
    for text in [
        "http://localhost/",
        "http://localhost:9000/x",
        "http://127.0.0.1/",
        "http://127.8.9.10:1/",
        "http://[::1]:8080/",
        // The parser reads all of these as 127.0.0.1.
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
    ] {
        assert_eq!(kind(&local(), text), None, "{text}");
        assert_eq!(kind(&public(), text), Some(BLOCKED), "{text}");
    }
    for text in [
        "http://as.example/",
        "http://localhost.evil.test/",
        "http://127.0.0.1.evil.test/",
        "http://evil.localhost/",
        "http://localhost./",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::]/",
        "http://10.0.0.1/",
    ] {
        for policy in [public(), local()] {
            assert_eq!(kind(&policy, text), Some(INSECURE), "{text}");
        }
    }
}

#[test]
fn a20_plain_http_stays_on_the_users_own_origin() {
    let plain = policy("http://mcp.example:8080/mcp", Reach::Public);
    assert_eq!(kind(&plain, "http://mcp.example:8080/authorize"), None);
    assert_eq!(kind(&plain, "http://MCP.example:8080/"), None);
    assert_eq!(kind(&plain, "http://mcp.example/"), Some(INSECURE));
    assert_eq!(kind(&plain, "http://as.example:8080/"), Some(INSECURE));
    // Nor is https given up.
    assert_eq!(kind(&public(), "http://mcp.example/"), Some(INSECURE));
    assert_eq!(kind(&public(), "http://mcp.example:443/"), Some(INSECURE));
}

#[test]
fn a20_other_schemes_are_refused_by_name() {
    for text in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "ftp://as.example/",
        "ws://as.example/",
        "vbscript:x",
    ] {
        assert_eq!(kind(&public(), text), Some(INSECURE), "{text}");
    }
}

#[test]
fn a14_only_plain_absolute_addresses_are_taken() {
    for text in [
        "",
        "as.example",
        "/token",
        "//as.example/token",
        "https:",
        "https:as.example",
        "https:/as.example",
        "https:\\\\as.example",
        "https://as.example\\@evil.test/",
        " https://as.example/",
        "https://as.example/ ",
        "https://as.example/a b",
        "https://as.exa\nmple/",
        "https://as.example/\tx",
        "https://user@as.example/",
        "https://user:pw@as.example/",
        "https://:pw@as.example/",
        "https://as.example/#",
        "https://as.example/#top",
        "https://[::1/",
        "https://as.example:99999/",
    ] {
        assert_eq!(kind(&public(), text), Some(METADATA), "{text}");
    }
}

#[test]
fn addresses_in_errors_show_no_secret_and_no_escape() {
    for text in [
        "http://as.example/a?code=canary",
        "https://as.example/?x=canary#canary",
        "https://me:canary@as.example/",
        "canary@[",
        "https://[\u{1b}]canary@",
        "javascript:canary",
        "\u{1b}]8;;x\u{202e}?canary",
    ] {
        let failure = public().parse("field", text).unwrap_err();
        assert!(
            !failure.text.contains("canary") && !failure.text.contains(['\u{1b}', '\u{202e}']),
            "{}",
            failure.text
        );
    }
}

#[test]
fn a21_literal_addresses_out_of_bounds_are_blocked() {
    for text in [
        "https://192.168.0.1/",
        "https://10.1.2.3/",
        "https://172.31.0.1/",
        "https://100.64.0.1/",
        "https://169.254.1.1/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://app.localhost/",
        "https://LOCALHOST./",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        // Octal, hexadecimal and decimal spellings.
        "https://0300.0250.0.1/",
        "https://0xc0a80001/",
        "https://3232235521/",
        "https://192.168.1/",
    ] {
        assert_eq!(kind(&public(), text), Some(BLOCKED), "{text}");
        let open = AddressPolicy {
            allow_private: true,
            ..public()
        };
        assert_eq!(kind(&open, text), None, "{text}");
    }
    let text = public().parse("token_endpoint", "https://192.168.0.1/t");
    let text = text.unwrap_err().text;
    assert!(
        text.contains("token_endpoint")
            && text.contains("192.168.0.1")
            && text.contains("--allow-private-network"),
        "{text}"
    );
}

#[test]
fn a21_a_server_may_name_its_own_kind_or_wider() {
    let inner = policy("https://mcp.corp.example/mcp", Reach::Private);
    assert_eq!(kind(&inner, "https://10.0.0.1/"), None);
    assert_eq!(kind(&inner, "https://8.8.8.8/"), None);
    assert_eq!(kind(&inner, "https://127.0.0.1/"), Some(BLOCKED));
    assert_eq!(kind(&inner, "http://localhost/"), Some(BLOCKED));
    for text in ["https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/"] {
        assert_eq!(kind(&local(), text), None, "{text}");
    }
}

#[test]
fn a21_the_servers_own_host_is_allowed_wherever_it_is() {
    let own = policy("https://10.0.0.5:8443/mcp", Reach::Public);
    assert_eq!(kind(&own, "https://10.0.0.5/as"), None);
    assert_eq!(kind(&own, "https://10.0.0.6/as"), Some(BLOCKED));
    let v6 = policy("https://[fd00::5]/mcp", Reach::Public);
    assert_eq!(kind(&v6, "https://[fd00::5]:9/as"), None);
    assert!(v6.allows("fd00::5", ip("fd00::5")));
    assert!(public().allows("MCP.example.", ip("10.0.0.1")));
    assert!(!public().allows("as.example", ip("10.0.0.1")));
    assert!(!public().allows("evil.mcp.example", ip("10.0.0.1")));
}

#[test]
fn a21_metadata_services_are_never_asked() {
    for text in [
        "https://169.254.169.254/",
        "https://0xa9fea9fe/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:a9fe:a9fe::1]/",
        "https://[fd00:ec2::254]/",
    ] {
        for mut policy in [
            public(),
            local(),
            policy("https://169.254.169.254/mcp", Reach::Private),
            policy("https://[fd00:ec2::254]/mcp", Reach::Private),
        ] {
            policy.allow_private = true;
            assert_eq!(kind(&policy, text), Some(BLOCKED), "{text}");
        }
    }
    let text = local().parse("x", "https://169.254.169.254/").unwrap_err();
    assert!(
        !text.text.contains("--allow-private-network"),
        "{}",
        text.text
    );
}

#[test]
fn a20_localhost_is_this_machine_or_nothing() {
    for mut policy in [local(), public()] {
        policy.allow_private = true;
        assert!(policy.allows("localhost", ip("127.0.0.1")));
        assert!(policy.allows("localhost", ip("::1")));
        for elsewhere in ["8.8.8.8", "10.0.0.1", "fd00::1"] {
            assert!(!policy.allows("localhost", ip(elsewhere)), "{elsewhere}");
            assert!(!policy.allows("LocalHost.", ip(elsewhere)), "{elsewhere}");
            assert!(!policy.allows("a.localhost", ip(elsewhere)), "{elsewhere}");
        }
    }
    let text = blocked("localhost", ip("8.8.8.8")).text;
    assert!(text.contains("not this machine"), "{text}");
}

#[test]
fn a21_reach_of_addresses() {
    let public = [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.0.0.1",
        "128.0.0.1",
        "169.253.0.1",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860::8888",
        "2001:200::1",
        "3ffe::1",
        "3fff:1000::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ];
    let private = [
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "169.254.0.1",
        "172.16.0.0",
        "172.31.255.255",
        "192.168.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:1ff::1",
        "2001:db8::1",
        "3fff:fff::1",
        "100::1",
        "64:ff9b:1::1",
        "5f00::1",
        "::ffff:192.168.0.1",
        "::192.168.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
    ];
    let loopback = [
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
    ];
    for (texts, expected) in [
        (public.as_slice(), Reach::Public),
        (&private, Reach::Private),
        (&loopback, Reach::Loopback),
    ] {
        for text in texts {
            assert_eq!(reach(ip(text)), expected, "{text}");
        }
    }
    assert!(Reach::Public < Reach::Private && Reach::Private < Reach::Loopback);
}

#[test]
fn a22_every_answer_of_a_resolver_is_judged_by_itself() {
    let answers = [
        "8.8.8.8",
        "127.0.0.1",
        "10.0.0.1",
        "2606:4700::1",
        "fd00::1",
    ];
    let allowed = answers.map(|answer| public().allows("as.example", ip(answer)));
    assert_eq!(allowed, [true, false, false, true, false]);
    assert!(
        answers
            .iter()
            .all(|answer| local().allows("as.example", ip(answer)))
    );
}

#[test]
fn loopback_is_what_the_host_literally_says() {
    let is = |text: &str| is_loopback(&Url::parse(text).unwrap());
    for text in [
        "http://localhost:1/",
        "http://LOCALHOST/",
        "http://127.1/",
        "http://[::1]/",
    ] {
        assert!(is(text), "{text}");
    }
    for text in [
        "http://localhost.evil.test/",
        "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/",
        "http://a.localhost/",
        "data:x",
    ] {
        assert!(!is(text), "{text}");
    }
}
