//! What `doctor` says about signing in.
//!
//! In: the looking itself, in this process, against authorization servers that are broken in one
//! way each. Out: the command around it (`doctor`), signing in (`sign_in`).

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mcp_bridge::cli::Parsed;
use mcp_bridge::edge::browser::Launcher;
use mcp_bridge::edge::http::client::HttpClient;
use mcp_bridge::edge::oauth::OauthHttp;
use mcp_bridge::edge::store::Store;
use mcp_bridge::proto::auth::challenge::Challenge as Wants;
use mcp_bridge::proto::auth::key::derived_port;
use mcp_bridge::proto::doctor::{Check, Mark};
use mcp_bridge::proto::failure::Kind;
use mcp_bridge::settings::Settings;
use mcp_bridge::sign_in::{NEWS_QUEUED, Parts, SignIn};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::sign_in::{PATIENCE, conversation, own_port};
use crate::support::{
    AuthServer, AuthWorld, Challenge, Guard, Home, Legacy, Place, Remote, Reply, Rules, auth_world,
};

const HEADER: &str = "--header \"Authorization: Bearer ${TOKEN}\"";
const CLIENT: &str = "--static-oauth-client-info '{\"client_id\": \"…\"}'";

/// Something that is looked at.
struct Patient {
    sign_in: Arc<SignIn>,
    key: String,
    shared: PathBuf,
    own: PathBuf,
}

/// The program's view of a server, with these options, at a desktop or not.
fn patient_at(home: &Home, url: &str, options: &[&str], display: bool) -> Patient {
    let base = home.config_dir();
    let config = base.clone();
    let env = move |name: &str| match name {
        "MCP_REMOTE_CONFIG_DIR" => Some(config.clone().into_os_string()),
        "CANARY" => Some(OsString::from("canary-variable")),
        _ => None,
    };
    let words = ["mcp-bridge", url]
        .into_iter()
        .chain(options.iter().copied());
    let parsed = Parsed::read(words.map(OsString::from), &env).unwrap();
    let Parsed::Run(cli) = parsed else {
        panic!("not the bridge");
    };
    let (settings, _) = Settings::resolve(&cli, &env).unwrap();
    let url = Arc::new(settings.url);
    let (_, headers) = watch::channel(Some(settings.exchange.headers));
    let desktop: Vec<(OsString, OsString)> = display
        .then(|| ("DISPLAY".into(), ":99".into()))
        .into_iter()
        .collect();
    let (news, _) = mpsc::channel(NEWS_QUEUED);
    let sign_in = SignIn::new(Parts {
        settings: settings.sign_in.unwrap(),
        http: OauthHttp::new(HttpClient::new(settings.network), headers),
        store: Store::open(settings.store.base),
        launcher: Launcher::new(Arc::clone(&url), desktop, &[]),
        news,
        spread: 0.0,
        by_hand: true,
        may_sign_in: false,
    });
    Patient {
        sign_in,
        key: settings.key,
        shared: base.join("mcp-remote-v1"),
        own: base.join("mcp-bridge"),
    }
}

fn patient(world: &AuthWorld, options: &[&str]) -> Patient {
    world.remote.may_stay_uncalled();
    patient_at(&world.home, &world.remote.url(), options, true)
}

impl Patient {
    /// Everything about signing in, after a refusal that says this.
    fn examined(&self, challenge: &Wants) -> Vec<Check> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let examining = self.sign_in.examine(challenge);
            tokio::time::timeout(PATIENCE, examining).await.unwrap()
        })
    }

    fn stored(&self) -> Vec<Check> {
        self.sign_in.examine_stored()
    }
}

fn examined(world: &AuthWorld, options: &[&str]) -> Vec<Check> {
    patient(world, options).examined(&Wants::default())
}

fn world_with(rules: impl FnOnce(&mut Rules)) -> AuthWorld {
    AuthWorld::with(Legacy::sessions(), rules, |_| {})
}

fn with_metadata(edits: Value) -> AuthWorld {
    world_with(|rules| rules.metadata_edits = edits)
}

/// The one check with this name.
#[track_caller]
fn one<'a>(checks: &'a [Check], id: &str) -> &'a Check {
    let found: Vec<_> = checks.iter().filter(|check| check.id == id).collect();
    assert_eq!(found.len(), 1, "{id}: {checks:#?}");
    found[0]
}

/// There is one bad check, this one, with this kind and option.
#[track_caller]
fn assert_bad<'a>(checks: &'a [Check], id: &str, kind: &str, flag: Option<&str>) -> &'a Check {
    let bad: Vec<_> = checks
        .iter()
        .filter(|check| check.mark == Mark::Bad)
        .collect();
    assert_eq!(bad.len(), 1, "{checks:#?}");
    assert_eq!(bad[0].id, id, "{checks:#?}");
    assert_eq!(bad[0].kind.map(Kind::as_str), Some(kind));
    assert_eq!(bad[0].flag.as_deref(), flag, "{:#?}", bad[0]);
    assert!(bad[0].advice.is_some());
    bad[0]
}

#[track_caller]
fn assert_no_bad(checks: &[Check]) {
    assert!(
        checks.iter().all(|check| check.mark != Mark::Bad),
        "{checks:#?}"
    );
}

/// Nothing was registered, stored or sent that a mere look does not need.
#[track_caller]
fn assert_only_looked(world: &AuthWorld) {
    let visits = world.auth.visits();
    assert_eq!(visits.len(), world.auth.count("metadata"), "{visits:#?}");
    assert!(!world.home.config_dir().exists());
    assert_eq!(world.launcher.count(), 0);
}

// ----- what a sign-in needs -----

#[test]
fn a_server_where_all_is_well_gets_good_lines_alone() {
    let world = auth_world();
    let checks = examined(&world, &[]);
    let ids: Vec<_> = checks.iter().map(|check| check.id).collect();
    assert_eq!(
        ids,
        [
            "resource-metadata",
            "server-metadata",
            "issuer",
            "pkce",
            "scope",
            "client",
            "callback",
            "browser"
        ]
    );
    for check in &checks {
        assert_eq!(check.mark, Mark::Good, "{check:#?}");
        assert_eq!(
            (&check.advice, &check.flag, check.kind),
            (&None, &None, None)
        );
        let is_document = check.id.ends_with("-metadata");
        assert_eq!(check.millis.is_some(), is_document, "{check:#?}");
    }
    assert!(one(&checks, "issuer").text.contains(&world.auth.issuer()));
    assert!(one(&checks, "client").text.contains("/register"));
    let address = &one(&checks, "callback").text;
    assert!(address.contains("http://localhost:"), "{address}");
    assert_only_looked(&world);
}

#[test]
fn a_place_that_holds_no_document_is_not_bad() {
    let world = auth_world();
    world.guard.door(|door| {
        door.challenge = Challenge::Bare;
        door.metadata = Place::Root;
    });
    let checks = examined(&world, &[]);
    assert_no_bad(&checks);
    let resource: Vec<_> = checks
        .iter()
        .filter(|check| check.id == "resource-metadata")
        .collect();
    assert_eq!(resource.len(), 2, "{checks:#?}");
    assert!(resource.iter().all(|check| check.mark == Mark::Good));
    assert!(resource[1].text.contains("found"), "{resource:#?}");
}

#[test]
fn pkce_that_is_not_promised_is_bad_unless_it_is_allowed() {
    let world = with_metadata(json!({"code_challenge_methods_supported": null}));
    let checks = examined(&world, &[]);
    let flag = "--allow-missing-pkce";
    assert_bad(&checks, "pkce", "pkce_unsupported", Some(flag));
    let checks = examined(&world, &[flag]);
    assert_no_bad(&checks);
    assert_eq!(one(&checks, "pkce").mark, Mark::Warning);
    let world = with_metadata(json!({"code_challenge_methods_supported": ["plain"]}));
    let checks = examined(&world, &[flag]);
    assert_bad(&checks, "pkce", "pkce_unsupported", None);
}

#[test]
fn an_issuer_that_is_another_one_is_bad_unless_it_is_expected() {
    let world = with_metadata(json!({"issuer": "https://login.example"}));
    let checks = examined(&world, &[]);
    let flag = "--expect-issuer https://login.example";
    assert_bad(&checks, "issuer", "issuer_mismatch", Some(flag));
    let checks = examined(&world, &["--expect-issuer", "https://login.example"]);
    assert_no_bad(&checks);
    let world = auth_world();
    let checks = examined(&world, &["--expect-issuer", "https://login.example"]);
    assert_bad(&checks, "issuer", "issuer_mismatch", None);
}

#[test]
fn another_issuer_than_before_is_worth_a_look() {
    let world = auth_world();
    let patient = patient(&world, &[]);
    write(
        &patient.own,
        &format!("{}.json", patient.key),
        &json!({"issuer": "https://before.example"}).to_string(),
    );
    let checks = patient.examined(&Wants::default());
    assert_no_bad(&checks);
    let issuer = one(&checks, "issuer");
    assert_eq!(issuer.mark, Mark::Warning);
    assert_eq!(issuer.flag.as_deref(), Some("--login"));
    assert!(issuer.text.contains("https://before.example"), "{issuer:?}");
}

#[test]
fn a_server_that_registers_nobody_wants_a_client() {
    let world = world_with(|rules| rules.registration = false);
    let checks = examined(&world, &[]);
    let bad = assert_bad(&checks, "client", "no_registration_method", Some(CLIENT));
    assert!(bad.advice.as_ref().unwrap().contains("/oauth/callback"));
    let port = own_port();
    let info = json!({"client_id": "mine"}).to_string();
    let options = [&port, "--static-oauth-client-info", &info];
    assert_no_bad(&examined(&world, &options));
}

#[test]
fn a_client_for_another_issuer_is_bad() {
    let world = with_metadata(json!({"issuer": "https://login.example"}));
    let port = own_port();
    let info = json!({"client_id": "mine", "issuer": "https://other.example"}).to_string();
    let checks = examined(
        &world,
        &[
            &port,
            "--expect-issuer",
            "https://login.example",
            "--static-oauth-client-info",
            &info,
        ],
    );
    let flag = "--static-oauth-client-info '{\"client_id\": \"…\", \"issuer\": \"https://login.example\"}'";
    assert_bad(&checks, "client", "client_issuer_mismatch", Some(flag));
}

#[test]
fn a_key_that_signs_in_another_way_is_bad() {
    let edits = json!({
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
    });
    let world = with_metadata(edits);
    let pem = world.auth.add_key_client("mine");
    let info = json!({"client_id": "mine", "private_key_pem": pem}).to_string();
    let options = ["--client-credentials", "--static-oauth-client-info", &info];
    let checks = examined(&world, &options);
    assert_bad(&checks, "client", "metadata_invalid", None);
    assert!(!format!("{checks:?}").contains("PRIVATE"), "{checks:#?}");
}

#[test]
fn a_port_that_is_taken_is_bad_where_it_has_to_be_that_one() {
    let world = auth_world();
    let port = own_port();
    let holder = TcpListener::bind(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
    let checks = examined(&world, &[&port]);
    let bad = checks.iter().find(|check| check.mark == Mark::Bad).unwrap();
    let free = bad.flag.clone().unwrap();
    assert_bad(&checks, "callback", "callback_port_in_use", Some(&free));
    assert!(bad.text.contains(&port), "{bad:?}");
    assert_ne!(free, port);
    assert_no_bad(&examined(&world, &[&free]));
    drop(holder);
    assert_no_bad(&examined(&world, &[&port]));
}

#[test]
fn a_port_that_is_taken_is_worth_a_look_where_another_will_do() {
    let world = auth_world();
    let patient = patient(&world, &[]);
    let port = derived_port(&patient.key);
    // Whoever has it, it is taken.
    let _holder = TcpListener::bind(("127.0.0.1", port));
    let checks = patient.examined(&Wants::default());
    assert_no_bad(&checks);
    let callback = one(&checks, "callback");
    assert_eq!(callback.mark, Mark::Warning);
    let said = format!("port {port} is taken");
    assert!(callback.text.contains(&said), "{callback:?}");
    assert!(callback.text.contains("http://localhost:"), "{callback:?}");
}

#[test]
fn an_address_that_is_not_on_this_machine() {
    let world = auth_world();
    let checks = examined(&world, &["--host", "my-box.example"]);
    let flag = Some("--host localhost");
    assert_bad(&checks, "callback", "callback_port_in_use", flag);
    let metadata = json!({"redirect_uris": ["https://app.example/back?key=canary"]}).to_string();
    let checks = examined(&world, &["--static-oauth-client-metadata", &metadata]);
    assert_no_bad(&checks);
    let callback = one(&checks, "callback");
    assert_eq!(callback.mark, Mark::Warning);
    let advice = callback.advice.as_ref().unwrap();
    assert!(advice.contains("mcp-bridge login URL"), "{advice}");
}

#[test]
fn a_machine_without_a_browser_has_other_ways() {
    for (device_flow, flag) in [(false, "--no-browser"), (true, "--device-code")] {
        let world = world_with(|rules| rules.device_flow = device_flow);
        world.remote.may_stay_uncalled();
        let patient = patient_at(&world.home, &world.remote.url(), &[], false);
        let checks = patient.examined(&Wants::default());
        assert_no_bad(&checks);
        // macOS and Windows have a desktop that shows in no variable.
        if cfg!(target_os = "linux") {
            let browser = one(&checks, "browser");
            assert_eq!(browser.mark, Mark::Warning);
            assert_eq!(browser.flag.as_deref(), Some(flag));
        }
        let checks = examined(&world, &["--no-browser"]);
        assert_eq!(one(&checks, "browser").mark, Mark::Good);
    }
}

#[test]
fn a_server_that_says_nothing_at_all() {
    let auth = AuthServer::start();
    let guard = Guard::of(&auth);
    guard.door(|door| {
        door.challenge = Challenge::Bare;
        door.metadata = Place::Nowhere;
    });
    let world = AuthWorld::around(Legacy::sessions(), auth, guard);
    let checks = examined(&world, &[]);
    assert_bad(&checks, "server-metadata", "discovery_failed", Some(HEADER));
    assert!(
        checks.iter().all(|check| check.id != "client"),
        "{checks:#?}"
    );
    world.remote.take_violations();
}

#[test]
fn a_server_of_old_times_has_its_default_addresses() {
    let auth = AuthServer::with(|rules| rules.documents.clear());
    let guard = Guard::hosting(&auth);
    guard.door(|door| {
        door.challenge = Challenge::Bare;
        door.metadata = Place::Nowhere;
    });
    let world = AuthWorld::around(Legacy::sessions(), auth, guard);
    let checks = examined(&world, &[]);
    assert_no_bad(&checks);
    let warned: Vec<_> = checks
        .iter()
        .filter(|check| check.mark == Mark::Warning)
        .collect();
    assert_eq!(warned.len(), 1, "{checks:#?}");
    assert_eq!(warned[0].id, "server-metadata");
    assert!(warned[0].text.contains("/authorize"), "{warned:?}");
    assert!(one(&checks, "client").text.contains("/register"));
    assert_eq!(world.auth.registrations().len(), 0);
    world.auth.take_violations();
}

#[test]
fn documents_that_cannot_be_used_or_fetched() {
    type Answer = fn() -> Reply;
    let cases: [(Answer, &str, Option<&str>); 4] = [
        (|| Reply::status(503), "discovery_unreachable", None),
        (|| Reply::status(404), "discovery_failed", Some(HEADER)),
        (|| Reply::json(&json!([1])), "metadata_invalid", None),
        (
            || Reply::redirect(302, "https://else.example/"),
            "redirect-refused",
            None,
        ),
    ];
    for (answer, kind, flag) in cases {
        let world = auth_world();
        world.auth.on("metadata", move |_| answer());
        let checks = examined(&world, &[]);
        assert_bad(&checks, "server-metadata", kind, flag);
        assert!(checks.iter().all(|check| check.id != "pkce"), "{checks:#?}");
    }
    let world = auth_world();
    let other = "https://victim.example/mcp".to_owned();
    world.guard.door(|door| door.resource = Some(other));
    let checks = examined(&world, &[]);
    let bad = assert_bad(&checks, "resource-metadata", "resource_mismatch", None);
    assert!(bad.text.contains("https://victim.example/mcp"), "{bad:?}");
}

#[test]
fn an_endpoint_that_is_missing_or_inside_another_network() {
    let world = with_metadata(json!({"token_endpoint": null}));
    assert_bad(
        &examined(&world, &[]),
        "server-metadata",
        "metadata_invalid",
        None,
    );
    let world = with_metadata(json!({"token_endpoint": "https://169.254.169.254/token"}));
    let checks = examined(&world, &[]);
    assert_bad(&checks, "server-metadata", "blocked_address", None);
}

#[test]
fn scopes_are_named_with_where_they_come_from() {
    let world = auth_world();
    let challenge = Wants {
        scope: Some("read write".to_owned()),
        ..Wants::default()
    };
    let checks = patient(&world, &[]).examined(&challenge);
    let scope = &one(&checks, "scope").text;
    assert!(scope.contains("read write"), "{scope}");
    assert!(scope.contains("refusal"), "{scope}");
    let checks = patient(&world, &["--authorize-param", "scope=mine"]).examined(&challenge);
    assert!(one(&checks, "scope").text.contains("mine"));
}

#[test]
fn tokens_that_have_to_be_bound_to_a_key() {
    let world = auth_world();
    let required = json!({"dpop_bound_access_tokens_required": true});
    world.guard.door(|door| door.metadata_edits = required);
    let checks = examined(&world, &[]);
    assert_eq!(one(&checks, "dpop").mark, Mark::Good);
    let world = with_metadata(json!({"dpop_signing_alg_values_supported": ["PS512"]}));
    let required = json!({"dpop_bound_access_tokens_required": true});
    world.guard.door(|door| door.metadata_edits = required);
    assert_bad(&examined(&world, &[]), "dpop", "dpop_unsupported", None);
}

// ----- other ways to sign in -----

#[test]
fn programs_need_no_browser() {
    let world = auth_world();
    let info = json!({"client_id": "robot", "client_secret": "canary"}).to_string();
    let options = ["--client-credentials", "--static-oauth-client-info", &info];
    let checks = examined(&world, &options);
    assert_no_bad(&checks);
    for absent in ["pkce", "callback", "browser"] {
        assert!(checks.iter().all(|check| check.id != absent), "{checks:#?}");
    }
    assert!(one(&checks, "token-endpoint").text.contains("/token"));
    let client = &one(&checks, "client").text;
    assert!(client.contains("client_secret_basic"), "{client}");
    assert!(!format!("{checks:?}").contains("canary"));
    assert_only_looked(&world);
    let world = world_with(|rules| rules.client_methods = vec!["client_secret_post".to_owned()]);
    let info = json!({
        "client_id": "robot",
        "client_secret": "canary",
        "token_endpoint_auth_method": "client_secret_basic",
    })
    .to_string();
    let options = ["--client-credentials", "--static-oauth-client-info", &info];
    assert_bad(
        &examined(&world, &options),
        "client",
        "client_rejected",
        None,
    );
}

#[test]
fn a_token_endpoint_of_the_users_needs_no_document() {
    let world = auth_world();
    let info = json!({"client_id": "robot", "client_secret": "canary"}).to_string();
    let endpoint = world.auth.url_at("/token");
    let checks = examined(
        &world,
        &[
            "--client-credentials",
            "--token-endpoint",
            &endpoint,
            "--static-oauth-client-info",
            &info,
        ],
    );
    assert_no_bad(&checks);
    assert!(one(&checks, "token-endpoint").text.contains(&endpoint));
    assert!(world.auth.visits().is_empty());
}

#[test]
fn another_device_needs_an_endpoint_for_it() {
    let world = world_with(|rules| rules.device_flow = true);
    let checks = examined(&world, &["--device-code"]);
    assert_no_bad(&checks);
    assert!(
        one(&checks, "device-authorization")
            .text
            .contains("/device")
    );
    assert_only_looked(&world);
    let checks = examined(&auth_world(), &["--device-code"]);
    assert_bad(&checks, "device-authorization", "metadata_invalid", None);
}

#[test]
fn tokens_from_elsewhere_have_to_be_there() {
    let world = auth_world();
    let file = world.home.write("jwt", "canary");
    let option = format!("@{}", file.display());
    let checks = examined(&world, &["--workload-jwt", &option]);
    assert_no_bad(&checks);
    assert_eq!(one(&checks, "subject-token").mark, Mark::Good);
    assert!(!format!("{checks:?}").contains("canary"));
    std::fs::remove_file(file).unwrap();
    let checks = examined(&world, &["--workload-jwt", &option]);
    assert_bad(&checks, "subject-token", "sign_in_required", None);
    let program = json!(["/bin/false", "canary"]).to_string();
    let checks = examined(&world, &["--workload-jwt", &program]);
    assert_no_bad(&checks);
}

#[test]
fn an_identity_provider_has_to_say_where_its_tokens_are() {
    let world = auth_world();
    let idp = AuthServer::start();
    let info = json!({"client_id": "mine"}).to_string();
    let provider = json!({
        "issuer": idp.issuer(), "client_id": "here", "client_secret": "canary", "id_token": "canary",
    })
    .to_string();
    let options = [
        "--enterprise-idp",
        &provider,
        "--static-oauth-client-info",
        &info,
    ];
    let checks = examined(&world, &options);
    assert_no_bad(&checks);
    assert!(one(&checks, "identity-provider").text.contains("/token"));
    idp.on("metadata", |_| Reply::status(404));
    let checks = examined(&world, &options);
    assert_bad(&checks, "identity-provider", "discovery_failed", None);
    assert!(!format!("{checks:?}").contains("canary"), "{checks:#?}");
    assert_eq!(idp.count("/token"), 0);
}

// ----- what is stored -----

/// Writes a file of the store as its programs do: for the user alone.
fn write(folder: &Path, name: &str, text: &str) {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// What is said of these tokens and this state.
fn with_stored(tokens: Option<&Value>, state: Option<&Value>) -> Vec<Check> {
    let home = Home::new();
    let url = "https://mcp.example/mcp?key=canary";
    let empty = patient_at(&home, url, &[], true);
    if let Some(tokens) = tokens {
        write(
            &empty.shared,
            &format!("{}_tokens.json", empty.key),
            &tokens.to_string(),
        );
    }
    if let Some(state) = state {
        write(
            &empty.own,
            &format!("{}.json", empty.key),
            &state.to_string(),
        );
    }
    let checks = patient_at(&home, url, &[], true).stored();
    assert!(!format!("{checks:?}").contains("canary"), "{checks:#?}");
    checks
}

const HOUR: u64 = 3_600_000;

#[test]
fn nobody_is_signed_in() {
    let checks = with_stored(None, None);
    assert_eq!(checks.len(), 1, "{checks:#?}");
    assert_eq!(one(&checks, "stored-sign-in").mark, Mark::Good);
}

#[test]
fn tokens_of_the_other_program() {
    let tokens = |expires_at: u64, refresh: Value| {
        json!({
            "access_token": "canary", "refresh_token": refresh, "expires_at": expires_at,
            "issuer": "https://as.example", "scope": "read",
        })
    };
    let checks = with_stored(
        Some(&tokens(now() + 2 * HOUR + 60_000, json!("canary"))),
        None,
    );
    assert_eq!(checks.len(), 1, "{checks:#?}");
    let stored = one(&checks, "stored-sign-in");
    assert_eq!(stored.mark, Mark::Good);
    for words in [
        "valid for 2 hours",
        "renewed by itself",
        "https://as.example",
        "mcp-remote",
    ] {
        assert!(stored.text.contains(words), "{words}: {stored:?}");
    }
    let checks = with_stored(Some(&tokens(now() - 2 * HOUR, json!("canary"))), None);
    assert_no_bad(&checks);
    let checks = with_stored(Some(&tokens(now() - 2 * HOUR, json!(null))), None);
    let bad = assert_bad(
        &checks,
        "stored-sign-in",
        "sign_in_required",
        Some("--login"),
    );
    assert!(
        bad.advice
            .as_ref()
            .unwrap()
            .contains("mcp-bridge login URL")
    );
}

#[test]
fn tokens_of_ours_name_the_account() {
    // {"alg":"none"}.{"sub":"42","email":"jo@example.com"}
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiIsImVtYWlsIjoiam9AZXhhbXBsZS5jb20ifQ.c2ln";
    let world = world_with(|rules| rules.token_edits = json!({"id_token": token}));
    conversation(world.bridge());
    let patient = patient(&world, &[]);
    let checks = patient.stored();
    assert_eq!(checks.len(), 1, "{checks:#?}");
    let stored = &one(&checks, "stored-sign-in").text;
    for words in [
        "as jo@example.com",
        &world.auth.issuer(),
        "written by mcp-bridge",
    ] {
        assert!(stored.contains(words), "{words}: {stored}");
    }
    let asked = world.auth.visits().len();
    let checks = patient.examined(&Wants::default());
    assert_no_bad(&checks);
    assert!(one(&checks, "client").text.contains("registered before"));
    let visits = world.auth.visits().split_off(asked);
    assert!(
        visits.iter().all(|visit| visit.endpoint == "metadata"),
        "{visits:#?}"
    );
    for secret in world.auth.secrets() {
        assert!(
            !format!("{checks:?}{stored}").contains(&secret),
            "{checks:#?}"
        );
    }
}

#[test]
fn a_renewal_that_nobody_knows_the_end_of() {
    let tokens = json!({"access_token": "a", "refresh_token": "abc", "expires_at": now() - HOUR});
    let fingerprint = "ba7816bf8f01cfea";
    for state in [
        json!({"refresh_in_doubt": fingerprint}),
        json!({"suspicious": {"refresh": fingerprint, "code": "invalid_grant"}}),
    ] {
        let checks = with_stored(Some(&tokens), Some(&state));
        assert_no_bad(&checks);
        let stored = one(&checks, "stored-sign-in");
        assert_eq!(
            (stored.mark, stored.flag.as_deref()),
            (Mark::Warning, Some("--login"))
        );
    }
}

#[test]
fn a_token_without_its_key() {
    let tokens = json!({"access_token": "canary", "token_type": "DPoP"});
    let checks = with_stored(Some(&tokens), None);
    assert_bad(&checks, "stored-sign-in", "store_corrupt", Some("--login"));
}

#[test]
fn what_went_wrong_before() {
    let state = json!({
        "last_error": {"kind": "authorization_denied", "text": "no; ask again", "at": now() - HOUR},
        "brake": {"opened": [now() - 2000, now() - 1000]},
        "pending": {"link": "https://as.example/?state=canary", "pid": 42, "since": now() - 60_000},
    });
    let checks = with_stored(None, Some(&state));
    assert_no_bad(&checks);
    let error = one(&checks, "last-error");
    assert_eq!(error.mark, Mark::Warning);
    assert!(
        error.text.contains("no [authorization_denied]"),
        "{error:?}"
    );
    assert_eq!(error.advice.as_deref(), Some("ask again"));
    assert_eq!(
        one(&checks, "sign-in-pause").flag.as_deref(),
        Some("--login")
    );
    assert!(one(&checks, "pending-sign-in").text.contains("42"));
    let old = json!({"pending": {"link": "canary", "pid": 42, "since": now() - HOUR}});
    assert_eq!(with_stored(None, Some(&old)).len(), 1);
}

#[test]
fn a_store_that_cannot_be_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let url = "https://mcp.example/mcp";
    let empty = patient_at(&home, url, &[], true);
    let name = format!("{}_tokens.json", empty.key);
    write(&empty.shared, &name, "{\"canary");
    let checks = patient_at(&home, url, &[], true).stored();
    assert_bad(&checks, "store", "store_corrupt", Some("--login"));
    assert!(!format!("{checks:?}").contains("canary"), "{checks:#?}");

    let open = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&empty.shared, mode).unwrap();
    };
    write(&empty.shared, &name, "{\"access_token\":\"a\"}");
    open(0o755);
    let checks = patient_at(&home, url, &[], true).stored();
    assert_no_bad(&checks);
    assert_eq!(one(&checks, "store").mark, Mark::Good, "it is closed again");
    open(0o777);
    let checks = patient_at(&home, url, &[], true).stored();
    let bad = assert_bad(&checks, "store", "store_insecure", None);
    assert!(bad.advice.as_ref().unwrap().contains("chmod"), "{bad:?}");
}

// ----- secrets -----

#[test]
fn no_line_holds_a_secret() {
    let world = world_with(|rules| {
        rules.registration = false;
        rules.metadata_edits = json!({
            "issuer": "https://login.example/?canary-query",
            "scopes_supported": ["canary-header"],
        });
    });
    let port = own_port();
    let info = json!({"client_id": "${CANARY}", "client_secret": "canary-secret"}).to_string();
    let challenge = Wants {
        scope: Some("canary-header".to_owned()),
        error_description: Some("canary-header".to_owned()),
        ..Wants::default()
    };
    let url = format!("{}?key=canary-query", world.remote.url());
    let options = [
        port.as_str(),
        "--header",
        "X-Api-Key: canary-header",
        "--static-oauth-client-info",
        &info,
        "--resource",
        "https://mcp.example/?canary-resource",
        "--authorize-param",
        "login_hint=canary-hint",
    ];
    world.remote.may_stay_uncalled();
    let patient = patient_at(&world.home, &url, &options, true);
    for metadata in [
        json!({"issuer": "https://login.example/?canary-query"}),
        json!({"token_endpoint": "https://me:canary@login.example/?canary"}),
        json!({"registration_endpoint": "http://login.example/canary-header"}),
        json!({"authorization_endpoint": "https://login.example/?canary-header"}),
        json!({}),
    ] {
        world.auth.rules(|rules| rules.metadata_edits = metadata);
        let mut checks = patient.examined(&challenge);
        checks.extend(patient.stored());
        assert!(!format!("{checks:?}").contains("canary"), "{checks:#?}");
    }
    for visit in world.auth.visits() {
        let said = format!("{:?} {:?}", visit.call.headers, visit.call.query);
        assert!(!said.contains("canary"), "{visit:?}");
    }
    world.remote.take_violations();
}

#[test]
fn a_hostile_server_fills_no_report() {
    let remote = Remote::serve(|call| {
        let origin = format!("http://{}", call.header("host").unwrap_or_default());
        if call.path.contains("oauth-protected-resource") {
            let servers: Vec<String> = (0..500)
                .map(|number| format!("{origin}/{number}"))
                .collect();
            return Reply::json(&json!({
                "resource": origin,
                "authorization_servers": servers,
                "scopes_supported": vec!["\u{1b}[2Jx".repeat(50); 500],
            }));
        }
        Reply::json(&json!({"issuer": "\u{1b}]0;x\u{7}".repeat(10_000)}))
    });
    let home = Home::new();
    let checks = patient_at(&home, &remote.url(), &[], true).examined(&Wants::default());
    assert!(checks.len() < 64, "{}", checks.len());
    let bad = checks.iter().filter(|check| check.mark == Mark::Bad);
    assert_eq!(bad.count(), 1, "{checks:#?}");
    for check in &checks {
        assert!(check.text.chars().count() < 2000, "{check:?}");
    }
}
