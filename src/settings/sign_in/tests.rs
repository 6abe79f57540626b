//! How the options about signing in go together.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::super::{LogoutSettings, StatusSettings, Target};
use super::*;
use crate::cli::Parsed;
use crate::proto::auth::settings::{Enterprise, Source};

const URL: &str = "https://example.com/mcp";
const CLIENT: &str = r#"--static-oauth-client-info={"client_id":"me","client_secret":"canary"}"#;

fn lookup(env: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
    let env: Vec<(String, String)> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    move |wanted| {
        env.iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| OsString::from(value))
    }
}

fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Parsed, Failure> {
    let args = std::iter::once("mcp-bridge").chain(args.iter().copied());
    Parsed::read(args.map(OsString::from), &lookup(env))
}

type All = (super::super::Settings, Vec<Notice>);

fn resolve_with(args: &[&str], env: &[(&str, &str)]) -> Result<All, Failure> {
    match parse(&[&[URL], args].concat(), env)? {
        Parsed::Run(cli) => super::super::Settings::resolve(&cli, &lookup(env)),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn resolve(args: &[&str]) -> Settings {
    let (settings, _) = resolve_with(args, &[]).unwrap();
    settings.sign_in.unwrap()
}

#[track_caller]
fn warnings(args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let (_, notices) = resolve_with(args, env).unwrap();
    let loud = |notice: Notice| (notice.level == Level::Warn).then_some(notice.text);
    notices.into_iter().filter_map(loud).collect()
}

/// What is said about a mistake: never a value.
#[track_caller]
fn refusal(args: &[&str]) -> String {
    let failure = resolve_with(args, &[]).unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    let text = failure.to_string();
    assert!(!text.contains("canary"), "{text}");
    text
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests make the files they read"
    )]
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn plain_settings() {
    let settings = resolve(&[]);
    assert_eq!(settings.server.as_str(), URL);
    assert!(matches!(settings.grant, Grant::Browser));
    assert_eq!(settings.host, "localhost");
    assert_eq!(settings.callback_path, "/oauth/callback");
    assert_eq!(settings.timeout, Duration::from_secs(300));
    assert_eq!(settings.resource, Resource::Discovered);
    assert!(settings.client_metadata.is_empty() && settings.given_client.is_none());
    assert!(settings.callback_port.is_none() && settings.success_url.is_none());

    let settings = resolve(&[
        "3334",
        "--host=127.0.0.1",
        "--callback-path=/back",
        "--auth-timeout=60s",
        "--no-browser",
        "--use-id-token",
        "--allow-missing-pkce",
        "--allow-private-network",
        "--expect-issuer= https://id.example.com ",
        "--auth-success-url=https://example.com/done",
    ]);
    assert_eq!(settings.callback_port, Some(3334));
    assert_eq!(
        (settings.host.as_str(), settings.callback_path.as_str()),
        ("127.0.0.1", "/back")
    );
    assert_eq!(settings.timeout, Duration::from_secs(60));
    assert!(settings.no_browser && settings.use_id_token);
    assert!(settings.allow_missing_pkce && settings.allow_private_network);
    assert_eq!(
        settings.expected_issuer.as_deref(),
        Some("https://id.example.com")
    );
    assert_eq!(
        settings.success_url.unwrap().as_str(),
        "https://example.com/done"
    );
}

/// File F of the vectors: what `mcp-remote` 0.15.1 makes of these arguments was recorded.
const HEADER_FILE: &str =
    "# c\nX-B: 2\r\nAuthorization: Bearer ${TOK}\n\nX-A :bad\n   X-C:   trailing  \n";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn f28_the_name_in_the_store_is_that_of_mcp_remote() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "headers", HEADER_FILE);
    let resource = "--resource=https://tenant1.atlassian.net/";
    for (url, args, key) in [
        (URL, &[][..], "8724945d3c4865fe12d6890203193588"),
        (URL, &["3334"], "8724945d3c4865fe12d6890203193588"),
        (
            "https://example.com/mcp/",
            &[],
            "5b04a940b306792cf6abc47d6bba55f7",
        ),
        (
            "https://example.com",
            &[],
            "c984d06aafbecf6bc55569f964148ea3",
        ),
        (
            "https://EXAMPLE.com/mcp",
            &[],
            "39559fc5d535f05df5be614688856b6a",
        ),
        (
            "https://example.com:443/mcp",
            &[],
            "f0a1c82bc6671129554f8c2be48df3c4",
        ),
        (
            "https://example.com/mcp?a=1&b=2",
            &[],
            "75528b678ce038a8184e9131ff6270d5",
        ),
        (
            "https://example.com/mcp#f",
            &[],
            "b6f82e91b6054894ca828b18f33cb9a9",
        ),
        (
            "https://example.com/é",
            &[],
            "4f84a472496ed6a903146a372c0bb22b",
        ),
        (URL, &[resource], "f84afef1fb1461982e73d1f274afd23d"),
        (
            URL,
            &["--resource= https://tenant1.atlassian.net/ "],
            "f84afef1fb1461982e73d1f274afd23d",
        ),
        (URL, &["--resource="], "8724945d3c4865fe12d6890203193588"),
        (
            URL,
            &[resource, "--disable-resource-parameter"],
            "8724945d3c4865fe12d6890203193588",
        ),
        (
            URL,
            &["--header=Authorization: Bearer abc"],
            "0c67414ba1dcacb188ee98121b77543f",
        ),
        (
            URL,
            &["--header=Authorization:Bearer abc"],
            "0c67414ba1dcacb188ee98121b77543f",
        ),
        (
            URL,
            &["--header=Authorization: Bearer ${TOK}"],
            "abd06144d775d5e01ed2af5231728979",
        ),
        (
            URL,
            &["--header=X-A: 1", "--header=X-A: 2"],
            "5734b36b751e1174760b6c6051ad73fa",
        ),
        (
            URL,
            &["--header=X-A: 1", "--header=x-a: 2"],
            "1288004a27cdf4ed2c1a3afa6336075b",
        ),
        (
            URL,
            &[
                "--header=b: 1",
                "--header=A: 2",
                "--header=a: 3",
                "--header=B: 4",
                "--header=_c: 5",
                "--header=10: x",
                "--header=9: y",
            ],
            "f2e83530c499e92c6d363224bb9e76a9",
        ),
        (
            URL,
            &["--header=X-Q: a\"b\\c\té/ü"],
            "8576e34ef0639345950883f0ed12378e",
        ),
        (
            URL,
            &["--header-file", &file],
            "b4df7d87d46b564924da6507aad24036",
        ),
        (
            URL,
            &["--header=X-B: 9", "--header-file", &file],
            "b4df7d87d46b564924da6507aad24036",
        ),
        (
            URL,
            &["--header-file", &file, "--header=X-B: 9"],
            "b4681acdeaa6ed4ee65e4b9c3c56bb36",
        ),
        (
            URL,
            &["--authorize-param=audience=https://api.example.com"],
            "e7ca73f01f6c994856c1f1dd3dd4d208",
        ),
        (
            URL,
            &[
                "--authorize-param=prompt=consent",
                "--authorize-param=access_type=offline",
            ],
            "701c35094af23546b98b52efcc22e522",
        ),
        (
            URL,
            &["--authorize-param=a=b=c"],
            "8a2e79b750e64c317e8957fc0c343ae9",
        ),
        (
            URL,
            &["--authorize-param=a=x", "--authorize-param=a=b=c"],
            "8a2e79b750e64c317e8957fc0c343ae9",
        ),
        (
            URL,
            &["--authorize-param= k = v "],
            "9ffbcefe7e60d0f2f0cf3a41471f35ee",
        ),
        (
            URL,
            &["--client-metadata-url= https://client.example.com/meta.json "],
            "a79ac2cb679e79a0d831d67e9dd7bacd",
        ),
        (
            URL,
            &[
                "--client-credentials",
                CLIENT,
                "--token-endpoint= HTTPS://AUTH.example.com:443/oauth/token?x=1 ",
            ],
            "15700be7d5f1656d7fa55c47f33cba54",
        ),
        (
            URL,
            &[
                "--resource=https://r.example/",
                "--authorize-param=p=1",
                "--header=X-A: 1",
                "--client-metadata-url=https://client.example.com/meta.json",
                "--client-credentials",
                CLIENT,
                "--token-endpoint=https://auth.example.com/oauth/token",
            ],
            "8ab77e033e7091031244ec9f06827a24",
        ),
        (
            URL,
            &[
                "--host=127.0.0.1",
                "--callback-path=/x",
                "--transport=sse-only",
                "--protocol=auto",
                CLIENT,
                "--static-oauth-client-metadata={}",
                "--device-code",
                "--use-id-token",
                "--no-browser",
            ],
            "8724945d3c4865fe12d6890203193588",
        ),
    ] {
        let all = [&[url], args].concat();
        let Parsed::Run(cli) = parse(&all, &[]).unwrap() else {
            panic!()
        };
        for env in [&[][..], &[("TOK", "canary")]] {
            let (settings, _) = super::super::Settings::resolve(&cli, &lookup(env)).unwrap();
            assert_eq!(settings.key, key, "{all:?}");
            if let Some(sign_in) = settings.sign_in {
                assert_eq!(sign_in.key, key);
            }
        }
    }
}

#[test]
fn f28_profiles_are_sign_ins_of_their_own() {
    let key = |args: &[&str]| resolve(args).key;
    let all = [key(&[]), key(&["--profile=work"]), key(&["--profile=Work"])];
    assert!(
        all[0] != all[1] && all[1] != all[2] && all[0] != all[2],
        "{all:?}"
    );
    assert_eq!(key(&["--profile=work"]), all[1]);
}

#[test]
fn d05_an_authorization_header_is_used_instead_of_a_sign_in() {
    for args in [
        &["--header=authorization: Bearer canary"][..],
        &["--header=Authorization: ${TOK}"],
        &["--header-command=Authorization: echo canary"],
    ] {
        let (settings, _) = resolve_with(args, &[("TOK", "canary")]).unwrap();
        assert!(settings.sign_in.is_none(), "{args:?}");
    }
    let (settings, _) = resolve_with(&["--header=X-Authorization: canary"], &[]).unwrap();
    assert!(settings.sign_in.is_some());

    let header = "--header=Authorization: canary";
    let said = warnings(
        &[
            header,
            "--auth-timeout=5",
            "--device-code",
            "--initialize-wait=1",
        ],
        &[],
    );
    assert_eq!(said.len(), 1, "{said:?}");
    for word in [
        "your own Authorization header",
        "--auth-timeout",
        "--device-code",
    ] {
        assert!(said[0].contains(word), "{said:?}");
    }
    assert!(
        !said[0].contains("initialize-wait") && !said[0].contains("canary"),
        "{said:?}"
    );
    assert!(warnings(&[header], &[]).is_empty());
}

#[test]
fn b24_client_metadata_is_an_object_without_a_client_id() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"client_name": "Me ${TOK}", "scope": "a b", "redirect_uris": ["http://localhost:1/x"]}"#;
    let file = format!(
        "@{}",
        write(folder.path(), "metadata.json", &format!("\u{feff}{text}"))
    );
    for given in [text, &file] {
        let settings = resolve(&["--static-oauth-client-metadata", given]);
        // No variable is replaced here.
        assert_eq!(settings.client_metadata["client_name"], "Me ${TOK}");
        assert_eq!(settings.client_metadata["scope"], "a b");
    }
    for (given, words) in [
        (
            r#"["canary"]"#,
            "--static-oauth-client-metadata must be a JSON object",
        ),
        (r#""canary""#, "must be a JSON object"),
        (
            "{\n \"canary\": canary}",
            "is not valid JSON (line 2, column 12)",
        ),
        (r#"{"client_id":"canary"}"#, "--static-oauth-client-info"),
        (r#"{"scope":["canary"]}"#, "scope must be a string"),
        (
            r#"{"redirect_uris":"canary"}"#,
            "redirect_uris must be a list of strings",
        ),
        ("", "is not valid JSON"),
        ("@", "there is no file name after @"),
        (
            "@/no/such/file.json",
            "--static-oauth-client-metadata /no/such/file.json: ",
        ),
    ] {
        let text = refusal(&["--static-oauth-client-metadata", given]);
        assert!(text.contains(words), "{given}: {text}");
        assert!(text.contains("--static-oauth-client-"), "{given}: {text}");
    }
}

#[test]
fn b02_a_client_comes_from_json_a_file_or_variables() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"client_id": "${ID}", "client_secret": "${SECRET}", "issuer": "https://id.example.com",
        "token_endpoint_auth_method": "client_secret_post", "redirect_uris": ["http://localhost:1/x"],
        "scope": "a b", "grant_types": ["authorization_code"], "x": 1}"#;
    let file = format!("@{}", write(folder.path(), "info.json", text));
    let env = [
        ("ID", "me"),
        ("SECRET", r#"ca"na\ry${ID}"#),
        ("WHOLE", r#"{"client_id":"me","client_secret":"canary"}"#),
        ("LIST", r#"["http://localhost:2/y"]"#),
        ("EMPTY", ""),
    ];
    let client = |given: &str| {
        let (settings, notices) =
            resolve_with(&["--static-oauth-client-info", given], &env).unwrap();
        assert!(notices.iter().all(|notice| !notice.text.contains("na\\ry")));
        assert!(
            notices.iter().all(|notice| notice.level != Level::Warn),
            "{notices:?}"
        );
        settings.sign_in.unwrap().given_client.unwrap()
    };
    for given in [text, &file] {
        let client = client(given);
        assert_eq!(client.id, "me");
        assert_eq!(client.secret.unwrap().reveal(), r#"ca"na\ry${ID}"#);
        assert_eq!(client.issuer.as_deref(), Some("https://id.example.com"));
        assert_eq!(client.auth_method.as_deref(), Some("client_secret_post"));
        assert_eq!(client.redirect_uris, ["http://localhost:1/x"]);
        assert_eq!(client.scope.as_deref(), Some("a b"));
    }
    assert_eq!(client("${WHOLE}").secret.unwrap().reveal(), "canary");
    let listed = client(r#"{"client_id":"${ID}","redirect_uris":${LIST}}"#);
    assert_eq!(listed.redirect_uris, ["http://localhost:2/y"]);
    assert_eq!(
        client(r#"{"client_id":"a","client_secret":"","issuer":null}"#).secret,
        None
    );
    assert_eq!(
        client(r#"{"client_id":"a","client_secret":"${EMPTY}"}"#).secret,
        None
    );

    let (settings, _) = resolve_with(&["--static-oauth-client-info", text], &env).unwrap();
    assert_eq!(settings.secret_variables, ["ID", "SECRET"]);
}

#[test]
fn b02_a_wrong_client_is_refused_unquoted() {
    for (given, words) in [
        (r#"{"client_secret":"canary"}"#, "client_id is missing"),
        (r#"{"client_id":""}"#, "client_id is missing"),
        (r#"{"client_id":7}"#, "client_id must be a string"),
        (
            r#"{"client_id":"a","client_secret":["canary"]}"#,
            "client_secret must be a string",
        ),
        (
            r#"{"client_id":"a","token_endpoint_auth_method":"canary"}"#,
            "token_endpoint_auth_method must be one of none, client_secret_basic",
        ),
        (
            r#"{"client_id":"a","token_endpoint_auth_method":"client_secret_post"}"#,
            "client_secret is missing",
        ),
        (
            r#"{"client_id":"a","token_endpoint_auth_method":"private_key_jwt","client_secret":"canary"}"#,
            "private_key_pem is missing",
        ),
        (
            r#"{"client_id":"a","token_endpoint_auth_signing_alg":"HS256"}"#,
            "token_endpoint_auth_signing_alg must be one of RS256, ES256, EdDSA",
        ),
        (
            r#"{"client_id":"a","issuer":"canary"}"#,
            "issuer is not a URL",
        ),
        (
            r#"{"client_id":"a","redirect_uris":["canary",1]}"#,
            "redirect_uris must be a list",
        ),
        (
            r#"{"client_id":"a","private_key_pem":"@/no/such/key.pem"}"#,
            "private_key_pem /no/such/key.pem: ",
        ),
        (
            "{\"client_id\":\"canary}",
            "is not valid JSON (line 1, column ",
        ),
        ("{'client_id':'canary'}", "write @FILE"),
        ("[]", "must be a JSON object"),
        ("@/no/such/info.json", "/no/such/info.json: "),
    ] {
        let text = refusal(&["--static-oauth-client-info", given]);
        assert!(
            text.contains("--static-oauth-client-info"),
            "{given}: {text}"
        );
        assert!(text.contains(words), "{given}: {text}");
    }
}

/// A key for ES256, PKCS#8 in PEM.
fn private_key() -> String {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    key.replace("\r\n", "\n")
}

#[test]
fn r07_a_private_key_that_cannot_sign_is_refused_unquoted() {
    let key = private_key().replace('\n', "\\n");
    for (member, words) in [
        (r#""private_key_pem":"canary""#.to_owned(), "private_key_pem "),
        (
            r#""private_key_pem":"-----BEGIN EC PRIVATE KEY-----\nY2FuYXJ5\n-----END EC PRIVATE KEY-----""#
                .to_owned(),
            "openssl pkcs8",
        ),
        (
            format!(r#""private_key_pem":"{key}","token_endpoint_auth_signing_alg":"RS256""#),
            "is good for ES256",
        ),
    ] {
        let given = format!(r#"--static-oauth-client-info={{"client_id":"a",{member}}}"#);
        let text = refusal(&[&given]);
        assert!(text.contains("--static-oauth-client-info: private_key_pem"), "{text}");
        assert!(text.contains(words) && !text.contains("Y2Fu"), "{text}");
    }
}

#[test]
fn a_private_key_comes_in_lines_or_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let pem = &private_key();
    let file = format!("@{}", write(folder.path(), "key.pem", pem));
    let joined = pem.replace('\n', "\\n");
    let env = [
        ("KEY", pem.as_str()),
        ("JOINED", joined.as_str()),
        ("AT", file.as_str()),
    ];
    for value in [
        joined.clone(),
        "${KEY}".into(),
        "${JOINED}".into(),
        "${AT}".into(),
        file.replace('\\', "\\\\"),
    ] {
        let given = format!(
            r#"{{"client_id":"a","private_key_pem":"{value}","kid":"k","token_endpoint_auth_signing_alg":"ES256"}}"#
        );
        let args = ["--static-oauth-client-info", &given, "--client-credentials"];
        let (settings, _) = resolve_with(&args, &env).unwrap();
        let client = settings.sign_in.unwrap().given_client.unwrap();
        assert_eq!(client.private_key.unwrap().reveal(), pem, "{value}");
        assert_eq!(client.key_id.as_deref(), Some("k"));
        assert_eq!(client.signing_alg.as_deref(), Some("ES256"));
    }
}

#[test]
fn f20_a_secret_on_the_command_line_is_mentioned_once() {
    let folder = tempfile::tempdir().unwrap();
    let literal = r#"{"client_id":"a","client_secret":"canary"}"#;
    let file = format!("@{}", write(folder.path(), "info.json", literal));
    let name = "--static-oauth-client-info";
    let said = warnings(&[name, literal], &[]);
    assert_eq!(said.len(), 1, "{said:?}");
    for word in [
        name,
        "client_secret",
        "@FILE",
        "${VAR}",
        "MCP_BRIDGE_STATIC_OAUTH_CLIENT_INFO",
    ] {
        assert!(said[0].contains(word), "{said:?}");
    }
    assert!(!said[0].contains("canary"));
    let key = private_key().replace('\n', "\\n");
    let key = format!(r#"{{"client_id":"a","private_key_pem":"{key}","client_secret":"canary"}}"#);
    assert_eq!(warnings(&[name, &key], &[]).len(), 1);

    let env = [("S", "canary"), ("W", literal)];
    for hidden in [
        file.as_str(),
        r#"{"client_id":"a","client_secret":"${S}"}"#,
        r#"{"client_id":"a"}"#,
        "${W}",
    ] {
        assert!(warnings(&[name, hidden], &env).is_empty(), "{hidden}");
    }
    let by_variable = [("MCP_BRIDGE_STATIC_OAUTH_CLIENT_INFO", literal)];
    assert!(warnings(&[], &by_variable).is_empty());
    let toml = format!("static-oauth-client-info = '{literal}'\n");
    let config = write(folder.path(), "bridge.toml", &toml);
    assert!(warnings(&["--config", &config], &[]).is_empty());

    let idp = r#"{"issuer":"https://id.example.com","client_id":"a","id_token":"canary"}"#;
    let client = r#"--static-oauth-client-info={"client_id":"a"}"#;
    let said = warnings(&["--enterprise-idp", idp, client], &[]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("--enterprise-idp holds id_token"),
        "{said:?}"
    );
}

#[test]
fn f20_a_variable_that_is_missing_is_named() {
    let said = warnings(
        &[r#"--static-oauth-client-info={"client_id":"${NOT_THERE}"}"#],
        &[],
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("NOT_THERE"), "{said:?}");
    assert!(said[0].contains("--static-oauth-client-info"), "{said:?}");
}

#[test]
fn c08_the_resource_is_replaced_or_left_out() {
    for (given, sent) in [
        ("https://h.example", "https://h.example/"),
        (" https://h.example/a?b ", "https://h.example/a?b"),
        ("urn:x:y", "urn:x:y"),
        ("api://app", "api://app"),
    ] {
        let settings = resolve(&["--resource", given]);
        assert_eq!(settings.resource, Resource::Fixed(sent.into()));
    }
    for args in [
        &["--resource="][..],
        &["--resource=  "],
        &["--disable-resource-parameter"],
    ] {
        assert_eq!(resolve(args).resource, Resource::Off, "{args:?}");
        let (_, notices) = resolve_with(args, &[]).unwrap();
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].text.contains("RFC 8707"), "{notices:?}");
    }
    let both = [
        "--disable-resource-parameter",
        "--resource=https://h.example/",
    ];
    assert_eq!(resolve(&both).resource, Resource::Off);
    assert!(warnings(&both, &[])[0].contains("--resource has no effect"));
    for given in ["canary", "https://h.example/#canary", "//h.example/canary"] {
        assert!(
            refusal(&["--resource", given]).contains("--resource must "),
            "{given}"
        );
    }
}

#[test]
fn c14_what_the_program_sets_itself_is_refused() {
    for key in [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "state",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "client_secret",
        "request",
        "request_uri",
    ] {
        for key in [key.to_owned(), key.to_uppercase(), format!(" {key} ")] {
            let text = refusal(&[
                "--authorize-param=fine=1",
                &format!("--authorize-param={key}=canary"),
            ]);
            assert!(text.contains("--authorize-param (number 2)"), "{text}");
            assert!(text.contains(key.trim()), "{text}");
        }
    }
    for given in ["canary", "=canary", " =canary", ""] {
        let text = refusal(&[&format!("--authorize-param={given}")]);
        assert!(text.contains("must be KEY=VALUE"), "{given}: {text}");
    }
    let settings = resolve(&[
        "--authorize-param=prompt=login",
        "--authorize-param=scope=a b",
        "--authorize-param=prompt=consent",
        "--authorize-param=empty=",
    ]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let expected = [
        pair("scope", "a b"),
        pair("prompt", "consent"),
        pair("empty", ""),
    ];
    assert_eq!(settings.authorize_params, expected);
    let said = warnings(&["--authorize-param=Resource=canary"], &[]);
    assert!(
        said.len() == 1 && said[0].contains("--resource"),
        "{said:?}"
    );
}

#[test]
fn b04_a_metadata_url_is_refused_unless_it_can_be_a_client_id() {
    for given in [
        "https://c.example/meta.json",
        " https://c.example/a?b ",
        "https://c.example/a..b/.c",
    ] {
        let settings = resolve(&["--client-metadata-url", given]);
        assert_eq!(settings.client_metadata_url.as_deref(), Some(given.trim()));
    }
    for given in [
        "http://c.example/canary",
        "https://c.example",
        "https://c.example/",
        "https://u:canary@c.example/x",
        "https://c.example/x#canary",
        "https://c.example/../canary",
        "https://c.example/a/./canary",
        "https://c.example/a/%2E%2e/canary",
        "https://c.example/a\\..\\canary",
        "canary",
        "",
    ] {
        let text = refusal(&["--client-metadata-url", given]);
        assert!(
            text.contains("--client-metadata-url must be"),
            "{given}: {text}"
        );
    }
}

#[test]
fn addresses_are_checked() {
    let http = "http://h.example/done";
    assert!(
        refusal(&["--auth-success-url", http]).contains("--auth-success-url must begin with https")
    );
    let allowed = resolve(&["--auth-success-url", http, "--allow-http"]);
    assert_eq!(allowed.success_url.unwrap().as_str(), http);
    for url in [
        "http://localhost:1/x",
        "http://127.0.0.1/x",
        "http://[::1]:1/x",
    ] {
        assert!(resolve(&["--auth-success-url", url]).success_url.is_some());
    }
    for url in [
        "https://h/?canary",
        "https://h/#canary",
        "https://h/?",
        "https://canary@h/",
        "canary",
        "ftp://h/canary",
    ] {
        assert!(
            refusal(&["--auth-success-url", url]).contains("--auth-success-url "),
            "{url}"
        );
    }
    // --allow-http does not send credentials in the clear.
    for url in [
        "http://h.example/canary",
        "https://u:canary@h/",
        "https://h/#canary",
        "canary",
        "",
    ] {
        let args = [
            "--client-credentials",
            CLIENT,
            "--allow-http",
            "--token-endpoint",
            url,
        ];
        assert!(refusal(&args).contains("--token-endpoint "), "{url}");
    }
    for url in [
        "http://id.example",
        "https://id.example?canary",
        "https://id.example#canary",
        "canary",
    ] {
        assert!(
            refusal(&["--expect-issuer", url]).contains("--expect-issuer "),
            "{url}"
        );
    }
}

#[test]
fn r07_contradictions_are_named() {
    let idp = r#"--enterprise-idp={"issuer":"https://id.example","client_id":"a","command":["x"]}"#;
    let ways = [
        "--device-code",
        "--client-credentials",
        idp,
        "--workload-jwt=@token",
    ];
    for (at, first) in ways.iter().enumerate() {
        for second in &ways[at + 1..] {
            let text = refusal(&[first, second, CLIENT]);
            for way in [first, second] {
                let name = way.split('=').next().unwrap();
                assert!(text.contains(name), "{name}: {text}");
            }
            assert!(text.contains("exclude each other"), "{text}");
        }
    }
    let endpoint = "--token-endpoint=https://id.example/token";
    for args in [&[endpoint][..], &[endpoint, "--device-code"]] {
        let text = refusal(args);
        assert!(
            text.contains("--token-endpoint goes with --client-credentials"),
            "{text}"
        );
    }
    for client in [
        None,
        Some(r#"{"client_id":"canary"}"#),
        Some(r#"{"client_id":"a","client_secret":"canary","token_endpoint_auth_method":"none"}"#),
    ] {
        let info = client.map(|client| format!("--static-oauth-client-info={client}"));
        let args: Vec<&str> = ["--client-credentials"]
            .into_iter()
            .chain(info.as_deref())
            .collect();
        let text = refusal(&args);
        assert!(
            text.contains("--client-credentials needs a client"),
            "{text}"
        );
        assert!(text.contains("--static-oauth-client-info"), "{text}");
    }
    let text = resolve_with(
        &["--device-code"],
        &[("MCP_BRIDGE_CLIENT_CREDENTIALS", "1")],
    );
    assert!(text.unwrap_err().to_string().contains("exclude each other"));
}

#[test]
fn the_way_to_sign_in_is_chosen_by_the_user() {
    assert!(matches!(resolve(&["--device-code"]).grant, Grant::Device));
    let settings = resolve(&[
        "--client-credentials",
        CLIENT,
        "--token-endpoint=http://[::1]:1/t",
    ]);
    assert!(matches!(settings.grant, Grant::ClientCredentials));
    assert_eq!(
        settings.token_endpoint.unwrap().as_str(),
        "http://[::1]:1/t"
    );
}

fn enterprise(given: &str, env: &[(&str, &str)]) -> Enterprise {
    let args = ["--enterprise-idp", given, CLIENT];
    let (settings, _) = resolve_with(&args, env).unwrap();
    match settings.sign_in.unwrap().grant {
        Grant::Enterprise(enterprise) => enterprise,
        other => panic!("{other:?}"),
    }
}

#[test]
fn e10_the_identity_provider_is_read_whole() {
    let idp = enterprise(
        r#"{"issuer":"https://id.example/x","token_endpoint":"https://id.example/token","client_id":"a",
            "client_secret":"${S}","id_token":"${T}"}"#,
        &[("S", "secret\""), ("T", "token")],
    );
    assert_eq!(idp.issuer.as_deref(), Some("https://id.example/x"));
    assert_eq!(
        idp.token_endpoint.unwrap().as_str(),
        "https://id.example/token"
    );
    assert_eq!(idp.client_id, "a");
    assert_eq!(idp.client_secret.unwrap().reveal(), "secret\"");
    assert!(matches!(idp.subject, Source::Text(text) if text.reveal() == "token"));
    assert_eq!(
        idp.subject_type,
        "urn:ietf:params:oauth:token-type:id_token"
    );

    for (member, subject_type) in [
        (
            r#""refresh_token":"@f""#,
            "urn:ietf:params:oauth:token-type:refresh_token",
        ),
        (r#""saml":"@f""#, "urn:ietf:params:oauth:token-type:saml2"),
        (r#""id_token":"@f","subject_token_type":"urn:x""#, "urn:x"),
    ] {
        let given = format!(r#"{{"issuer":"https://id.example","client_id":"a",{member}}}"#);
        let idp = enterprise(&given, &[]);
        assert!(
            matches!(idp.subject, Source::File(path) if path == Path::new("f")),
            "{member}"
        );
        assert_eq!(idp.subject_type, subject_type);
    }
    let given =
        r#"{"token_endpoint":"https://id.example/t","client_id":"a","command":["gh","token"]}"#;
    let idp = enterprise(given, &[]);
    assert!(matches!(idp.subject, Source::Command(words) if words == ["gh", "token"]));
}

#[test]
fn e10_the_missing_piece_is_named() {
    for (given, words) in [
        (
            r#"{"issuer":"https://i.example","id_token":"canary"}"#,
            "client_id is missing",
        ),
        (
            r#"{"client_id":"a","id_token":"canary"}"#,
            "issuer and token_endpoint are missing",
        ),
        (
            r#"{"issuer":"https://i.example","client_id":"a"}"#,
            "exactly one of id_token, refresh_token, saml, command",
        ),
        (
            r#"{"issuer":"https://i.example","client_id":"a","id_token":"canary","saml":"canary"}"#,
            "exactly one of",
        ),
        (
            r#"{"issuer":"https://i.example","client_id":"a","command":[]}"#,
            "command must be a list",
        ),
        (
            r#"{"issuer":"https://i.example","client_id":"a","command":"canary"}"#,
            "command must be a list",
        ),
        (
            r#"{"issuer":"https://i.example","client_id":"a","id_tokn":"canary"}"#,
            "not known",
        ),
        (
            r#"{"issuer":"http://i.example","client_id":"a","id_token":"canary"}"#,
            "issuer must begin with https",
        ),
        (
            r#"{"issuer":"https://i.example","client_id":"a","id_token":"@"}"#,
            "no file name after @",
        ),
        ("canary", "is not valid JSON"),
        ("[]", "must be a JSON object"),
    ] {
        let text = refusal(&["--enterprise-idp", given, CLIENT]);
        assert!(
            text.contains("--enterprise-idp") && text.contains(words),
            "{given}: {text}"
        );
    }
    let idp = r#"{"issuer":"https://i.example","client_id":"a","command":["x"]}"#;
    let text = refusal(&["--enterprise-idp", idp]);
    assert!(text.contains("--client-metadata-url"), "{text}");
    let document = "--client-metadata-url=https://c.example/meta.json";
    assert!(matches!(
        resolve(&["--enterprise-idp", idp, document]).grant,
        Grant::Enterprise(_)
    ));
}

#[test]
fn e20_a_workloads_jwt_comes_from_a_file_or_a_program() {
    let source = |given: &str| match resolve(&["--workload-jwt", given]).grant {
        Grant::Workload(source) => source,
        other => panic!("{other:?}"),
    };
    // Read for each use, so it need not be there yet.
    assert!(
        matches!(source("@/var/run/token"), Source::File(path) if path == Path::new("/var/run/token"))
    );
    assert!(
        matches!(source(r#"["helper", "a b"]"#), Source::Command(words) if words == ["helper", "a b"])
    );
    for given in [
        "canary.canary.canary",
        "[]",
        r#"[""]"#,
        "[1]",
        r#"{"canary":1}"#,
        "",
        "@",
        r#"["canary""#,
    ] {
        let text = refusal(&["--workload-jwt", given]);
        assert!(text.contains("--workload-jwt"), "{given}: {text}");
    }
    assert!(refusal(&["--workload-jwt=canary"]).contains("write @FILE"));
}

#[test]
fn options_come_from_variables_and_the_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(
        folder.path(),
        "bridge.toml",
        "authorize-param = ['prompt=consent', 'a=1']\nprofile = 'work'\nauth-timeout = 60\ndevice-code = true\n",
    );
    let args = ["--config", &config, "--authorize-param=a=2"];
    let (settings, _) = resolve_with(&args, &[("MCP_BRIDGE_AUTH_TIMEOUT", "90s")]).unwrap();
    let settings = settings.sign_in.unwrap();
    assert_eq!(settings.timeout, Duration::from_secs(90));
    assert!(matches!(settings.grant, Grant::Device));
    let typed = resolve(&[
        "--profile=work",
        "--authorize-param=a=2",
        "--authorize-param=prompt=consent",
    ]);
    assert_eq!(settings.key, typed.key);
}

#[test]
fn commands_get_what_they_need() {
    let env = [("MCP_BRIDGE_CONFIG_DIR", "/store")];
    let login = |args: &[&str]| match parse(&[&["login", URL], args].concat(), &env) {
        Ok(Parsed::Login(cli)) => super::super::Settings::resolve_login(&cli, &lookup(&env)),
        other => panic!("{other:?}"),
    };
    let (settings, notices) = login(&["--profile=work"]).unwrap();
    assert_eq!(
        settings.sign_in.unwrap().key,
        resolve(&["--profile=work"]).key
    );
    assert_eq!(settings.store.base.as_deref(), Some(Path::new("/store")));
    assert!(notices.is_empty(), "{notices:?}");
    let failure = login(&["--header=Authorization: canary"]).unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    let text = failure.to_string();
    assert!(
        text.contains("your own Authorization header") && !text.contains("canary"),
        "{text}"
    );

    let logout = |args: &[&str]| match parse(&[&["logout"], args].concat(), &env) {
        Ok(Parsed::Logout(logout)) => LogoutSettings::resolve(&logout, &lookup(&env)),
        other => panic!("{other:?}"),
    };
    // What is stored is forgotten though a header has taken its place.
    for header in [&[][..], &["--header=Authorization: x"]] {
        let (settings, _) = logout(&[&[URL, "--forget-client"], header].concat()).unwrap();
        let Target::One(sign_in) = settings.target else {
            panic!()
        };
        assert_eq!(sign_in.server.as_str(), URL);
        assert!(settings.forget_client);
        assert_eq!(settings.store.base.as_deref(), Some(Path::new("/store")));
    }
    let (settings, notices) = logout(&["--all", "--allow-private-network", "--insecure"]).unwrap();
    assert!(matches!(settings.target, Target::All));
    assert!(settings.allow_private_network && !settings.forget_client);
    assert_eq!(settings.network.insecure_host, None);
    assert!(
        notices[0].text.contains("--insecure has no effect here"),
        "{notices:?}"
    );
    let text = logout(&["--all", URL]).unwrap_err().to_string();
    assert!(
        text.contains("--all and a URL exclude each other"),
        "{text}"
    );

    let Parsed::Status(status) = parse(&["status", "--json", "--store=files"], &env).unwrap()
    else {
        panic!()
    };
    let (settings, notices) = StatusSettings::resolve(&status, &lookup(&env)).unwrap();
    assert!(settings.json && !settings.store.keychain && notices.is_empty());
    assert_eq!(settings.store.base.as_deref(), Some(Path::new("/store")));
}

#[test]
fn the_wait_for_initialize_is_twenty_seconds_unless_said_otherwise() {
    let wait = |args: &[&str]| resolve_with(args, &[]).unwrap().0.bridge.initialize_wait;
    assert_eq!(wait(&[]), Duration::from_secs(20));
    assert_eq!(wait(&["--initialize-wait=0"]), Duration::ZERO);
    assert_eq!(
        wait(&["--initialize-wait", "1.5"]),
        Duration::from_millis(1500)
    );
}
