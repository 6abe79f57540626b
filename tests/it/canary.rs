//! Every secret of a sign-in, in every way of signing in and with servers that quote what they were
//! sent: none of it is in what the program says, nor in what other processes see of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    AuthServer, AuthWorld, Bridge, Browser, Call, Decision, Door, Home, Launch, Launcher, Legacy,
    Person, Remote, Reply, Rules, Visit, links_in, rpc,
};

/// What the user brings along. No two are parts of each other.
const HEADER: &str = "cnry-header-1f6a0b77";
const QUERY: &str = "cnry-query-5e9b2c11";
const FOREIGN: &str = "cnry-foreign-90ab13cd";

/// What the authorization server adds.
const ID_TOKEN: &str = "cnry-id.eyJzdWIiOiJhbm5hIn0.cnry-signature";
const REGISTRATION: &str = "cnry-registration-access-token";
const CLIENT_URI: &str = "https://as.test/register/cnry-registration-address";

/// What machines bring along.
const CLIENT_SECRET: &str = "cnry-client/secret+77 of \"ours\"";
const IDP_SECRET: &str = "cnry-idp-secret-7e21";
const SUBJECT: &str = "cnry-subject.eyJzdWIiOiJhbm5hIn0.cnry-s";
const WORKLOAD: &str = "cnry-workload.eyJzdWIiOiJwb2QifQ.cnry-w";

/// All of those begin with this.
const ANY: &str = "cnry-";

/// The arguments that make the program talk, and a secret header.
fn talkative(launch: Launch, home: &Home) -> Launch {
    let log = home.path().join("bridge.log");
    launch
        .args(["--debug", "--header", "X-Key: ${SECRET}", "--log-file"])
        .args([log])
        .env("SECRET", HEADER)
        .env("GITHUB_TOKEN", FOREIGN)
        .env("MCP_BRIDGE_CLIENT_METADATA_NOTE", FOREIGN)
}

fn secret_rules(rules: &mut Rules) {
    rules.client_methods = vec!["client_secret_basic".to_owned()];
    rules.registration_edits = json!({
        "registration_access_token": REGISTRATION,
        "registration_client_uri": CLIENT_URI,
    });
    rules.token_edits = json!({"id_token": ID_TOKEN});
}

fn world(change: impl FnOnce(&mut Rules), door: impl FnOnce(&mut Door)) -> AuthWorld {
    let rules = |rules: &mut Rules| {
        secret_rules(rules);
        change(rules);
    };
    AuthWorld::with(Legacy::sessions(), rules, door)
}

fn url(world: &AuthWorld) -> String {
    world.remote.url_at(&format!("/mcp?key={QUERY}"))
}

/// Everything that was said, and nobody may hear.
struct Said {
    home: Arc<Home>,
    texts: Vec<(&'static str, String)>,
}

impl Said {
    fn of(home: &Arc<Home>) -> Self {
        Self {
            home: Arc::clone(home),
            texts: Vec::new(),
        }
    }

    /// Takes what a run said; what it says in the end, too.
    fn take(&mut self, mut bridge: Bridge, stdout: &[Value]) -> &mut Self {
        bridge.close_stdin();
        let ended = bridge.ended();
        let all = stdout.iter().chain(&ended.messages);
        self.add("stdout", all.map(Value::to_string).collect());
        self.add("stderr", ended.stderr)
    }

    /// Takes what a command printed, which need not be JSON.
    fn add(&mut self, place: &'static str, text: String) -> &mut Self {
        self.texts.push((place, text));
        self
    }

    /// No secret in any of it, but for the link that the person has to open: that one may be on
    /// stderr and stdout, and holds `state`. In the log file it may not be.
    #[track_caller]
    fn assert_clean(&self, secrets: &[String]) {
        let log = self.home.read("bridge.log");
        assert!(log.lines().count() > 2, "the log file is empty: {log}");
        assert!(links_in(&log).is_empty(), "a link is in the log:\n{log}");
        let log = ("log", log);
        let secrets: BTreeSet<&str> = secrets
            .iter()
            .map(String::as_str)
            .chain([ANY])
            .filter(|secret| secret.len() >= ANY.len())
            .collect();
        for (place, text) in self.texts.iter().chain([&log]) {
            let mut text = text.clone();
            for link in links_in(&text) {
                text = text.replace(&link, "[link]");
            }
            for secret in &secrets {
                for form in [(*secret).to_owned(), encoded(secret), base64(secret)] {
                    assert!(!text.contains(&form), "{form} is in {place}:\n{text}");
                }
            }
        }
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD_NO_PAD.encode(text)
}

/// Everything that one request held, as a careless server quotes it.
fn quoted(visit: &Visit) -> String {
    let mut parts = vec![visit.call.text()];
    parts.extend(visit.call.header("authorization"));
    parts.extend(visit.basic().map(|(_, secret)| secret));
    parts.extend(visit.form.iter().map(|(_, value)| value.clone()));
    parts.extend(visit.call.header("x-key"));
    parts.join(" ")
}

type Careless = fn(&str) -> Reply;

/// Answers to a POST that hold what was sent, where words are expected and where none are.
const CARELESS: &[(&str, Careless)] = &[
    ("description", |sent| {
        Reply::json(&json!({"error": "invalid_grant", "error_description": sent})).with_status(400)
    }),
    ("description at its end", |sent| {
        // The words are cut where they get too long: not in the middle of a secret.
        let words = format!("{}{sent}", "x".repeat(280));
        Reply::json(&json!({"error": "invalid_grant", "error_description": words})).with_status(400)
    }),
    ("code", |sent| {
        Reply::json(&json!({"error": sent, "error_description": "no"})).with_status(400)
    }),
    ("success that is none", |sent| {
        Reply::json(&json!({"error": "invalid_grant", "error_description": sent}))
    }),
    ("slashes", |sent| {
        let text = json!({"error": "invalid_grant", "error_description": sent}).to_string();
        Reply::json_text(text.replace('/', r"\/")).with_status(401)
    }),
    ("form", |sent| {
        let text = format!(
            "error=bad_verification_code&error_description={}",
            encoded(sent)
        );
        Reply::text(200, text).header("content-type", "application/x-www-form-urlencoded")
    }),
    ("page", |sent| {
        Reply::html(403, format!("<title>{sent}</title>{sent}"))
    }),
    ("text", |sent| Reply::text(400, sent.to_owned())),
    ("trouble", |sent| Reply::text(500, sent.to_owned())),
    ("no object", |sent| Reply::json(&json!([sent]))),
    ("token type", |sent| {
        Reply::json(&json!({"access_token": "cnry-token", "token_type": sent}))
    }),
    ("unusable token", |sent| {
        Reply::json(&json!({"access_token": format!("{sent}\u{7}"), "token_type": "Bearer"}))
    }),
    ("unusable life", |sent| {
        Reply::json(&json!({"access_token": "cnry-token", "expires_in": sent}))
    }),
    ("redirect", |sent| {
        Reply::redirect(
            307,
            &format!("https://cnry-user:cnry-pass@a.test/?x={}", encoded(sent)),
        )
    }),
    ("coding", |sent| {
        let word = sent.split_whitespace().next_back().unwrap_or_default();
        let word: String = word.chars().filter(char::is_ascii_graphic).collect();
        Reply::text(400, "x").header("content-encoding", &word)
    }),
    ("no http", |sent| Reply::raw(format!("{sent}\r\n\r\n"))),
];

/// Initializes; the response, whatever it is.
fn initialize(bridge: &Bridge) -> Value {
    bridge.send(&rpc::initialize("init", rpc::VERSION));
    bridge.response("init")
}

#[track_caller]
fn assert_failed(response: &Value) {
    assert_eq!(response["error"]["code"], -31000, "{response}");
}

#[track_caller]
fn assert_worked(response: &Value) {
    assert!(response.get("result").is_some(), "{response}");
}

/// What other processes see of this one.
#[track_caller]
fn assert_unseen(bridge: &Bridge, secrets: &[String]) {
    let shown = fs::read(format!("/proc/{}/cmdline", bridge.id())).unwrap_or_default();
    let shown = String::from_utf8_lossy(&shown);
    for secret in secrets.iter().map(String::as_str).chain([HEADER]) {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

/// What a launcher was given: the link, and nothing else that is secret.
#[track_caller]
fn assert_launched_clean(launcher: &Launcher, secrets: &[String]) {
    for start in launcher.starts() {
        let environment = format!("{:?}", start.environment);
        for secret in secrets.iter().map(String::as_str).chain([HEADER]) {
            assert!(!environment.contains(secret), "{secret}: {environment}");
        }
        assert_eq!(start.arguments.len(), 1, "{start:?}");
        let ours = |name: &&String| name.starts_with("MCP_") || *name == "SECRET";
        assert_eq!(start.environment.keys().find(ours), None, "{environment}");
        // The link holds `state`, and no other secret.
        for secret in secrets
            .iter()
            .filter(|secret| !start.link().contains(&format!("state={secret}")))
        {
            assert!(
                !start.link().contains(secret.as_str()),
                "{secret}: {start:?}"
            );
        }
        // The stub itself has its stdout in a file while it takes notes.
        for number in [0, 2] {
            assert_eq!(start.descriptors[&number], "/dev/null", "{start:?}");
        }
        let ours = |target: &&String| target.starts_with("socket:") || target.starts_with("pipe:");
        assert_eq!(start.descriptors.values().find(ours), None, "{start:?}");
    }
}

#[test]
fn f22_f26_a_whole_life_shows_no_secret() {
    let world = world(
        |rules| rules.granted_scope = None,
        |door| {
            door.challenge_scope = Some("read".to_owned());
            door.scopes
                .insert("add".to_owned(), "read write".to_owned());
        },
    );
    let url = url(&world);
    let mut bridge = talkative(world.bridge_to(&url).args(["--use-id-token"]), &world.home);
    bridge = bridge.env("MCP_BRIDGE_CLIENT_NOTE", FOREIGN);
    let mut said = Said::of(&world.home);
    // The ID token is what is sent, and this server knows nothing of that: it refuses.
    let bridge = bridge.start();
    let refused = initialize(&bridge);
    assert_failed(&refused);
    assert_unseen(&bridge, &world.auth.secrets());
    said.take(bridge, &[refused]);

    let mut bridge = talkative(world.bridge_to(&url), &world.home).start();
    let mut stdout = vec![bridge.handshake()];
    stdout.push(bridge.request("tools/call", rpc::echo_params("hello")));
    assert_worked(&stdout[1]);
    let asked = world.auth.authorize_requests().len();
    let more = json!({"name": "add", "arguments": {"a": 1, "b": 2}});
    stdout.push(bridge.request("tools/call", more));
    assert_worked(&stdout[2]);
    assert!(world.auth.authorize_requests().len() > asked, "no step-up");
    world.auth.end_access_tokens();
    stdout.push(bridge.request("tools/call", rpc::echo_params("again")));
    assert_worked(&stdout[3]);
    assert!(!world.auth.grants("refresh_token").is_empty());
    assert_unseen(&bridge, &world.auth.secrets());
    said.take(bridge, &stdout);

    for command in [vec!["status"], vec!["status", "--json"]] {
        said.printed(&world, &command);
    }
    let stored = files(&world.home.config_dir());
    assert!(
        stored
            .iter()
            .any(|(_, text)| text.contains(&world.auth.last_token()))
    );
    let header = "X-Key: ${SECRET}";
    said.printed(
        &world,
        &["logout", &url, "--forget-client", "--header", header],
    );
    said.printed(&world, &["logout", "--all", "--forget-client"]);
    let secrets = world.auth.secrets();
    assert!(secrets.len() > 10, "{secrets:?}");
    for (path, text) in files(&world.home.config_dir()) {
        for secret in secrets.iter().map(String::as_str).chain([REGISTRATION]) {
            assert!(
                !text.contains(secret),
                "{secret} is still in {path}: {text}"
            );
        }
    }
    assert_launched_clean(&world.launcher, &secrets);
    assert_eq!(
        world
            .launcher
            .pages()
            .iter()
            .filter(|page| page.status == 0)
            .count(),
        0
    );
    said.assert_clean(&secrets);
}

impl Said {
    /// Takes what a command says, on both of its outputs.
    fn printed(&mut self, world: &AuthWorld, words: &[&str]) {
        let log = world.home.path().join("bridge.log");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .args(words)
            .env_clear()
            .env("HOME", world.home.path())
            .env("MCP_REMOTE_CONFIG_DIR", world.home.config_dir())
            .env("MCP_BRIDGE_DEBUG", "1")
            .env("MCP_BRIDGE_LOG_FILE", log)
            .env("SECRET", HEADER)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            text(&output.stderr)
        );
        self.add("stdout", text(&output.stdout));
        self.add("stderr", text(&output.stderr));
    }
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = fs::read(&path).unwrap_or_default();
            found.push((
                path.display().to_string(),
                String::from_utf8_lossy(&text).into_owned(),
            ));
        }
    }
    found
}

#[test]
fn f22_a_code_that_is_quoted_is_not_shown() {
    for (kind, careless) in CARELESS {
        let world = world(|_| {}, |_| {});
        world.auth.on("/token", |visit| careless(&quoted(visit)));
        let bridge = talkative(world.bridge_to(&url(&world)), &world.home).start();
        let failed = initialize(&bridge);
        assert_failed(&failed);
        let mut said = Said::of(&world.home);
        said.take(bridge, &[failed]);
        said.printed(&world, &["status", "--json"]);
        assert!(
            !world.auth.grants("authorization_code").is_empty(),
            "{kind}"
        );
        said.assert_clean(&world.auth.secrets());
    }
}

#[test]
fn f22_a_refresh_token_that_is_quoted_is_not_shown() {
    // The others are taken for trouble, and tried again for a while.
    for (kind, careless) in &CARELESS[..6] {
        let world = world(|_| {}, |_| {});
        let mut bridge = talkative(world.bridge_to(&url(&world)), &world.home).start();
        let mut stdout = vec![bridge.handshake()];
        world.auth.on("/token", |visit| careless(&quoted(visit)));
        world.auth.end_access_tokens();
        stdout.push(bridge.request("tools/call", rpc::echo_params("x")));
        assert_failed(&stdout[1]);
        let mut said = Said::of(&world.home);
        said.take(bridge, &stdout);
        assert!(!world.auth.grants("refresh_token").is_empty(), "{kind}");
        said.assert_clean(&world.auth.secrets());
    }
}

#[test]
fn f22_a_registration_that_is_quoted_is_not_shown() {
    for (_, careless) in CARELESS {
        let world = world(|_| {}, |_| {});
        world.auth.on("/register", |visit| careless(&quoted(visit)));
        let metadata = json!({"software_statement": "cnry-software.statement.jwt"}).to_string();
        let launch = world
            .bridge_to(&url(&world))
            .env("MCP_BRIDGE_STATIC_OAUTH_CLIENT_METADATA", metadata);
        world.auth.lenient();
        let bridge = talkative(launch, &world.home).start();
        let failed = initialize(&bridge);
        assert_failed(&failed);
        let mut said = Said::of(&world.home);
        said.take(bridge, &[failed]);
        said.assert_clean(&world.auth.secrets());
    }
}

/// The way back through the browser: the server puts what it knows into its words.
#[test]
fn f22_a_refusal_in_the_browser_shows_no_secret() {
    type Back = fn(&str, &str) -> String;
    let ways: [Back; 4] = [
        |state, _| format!("error=access_denied&error_description=no+{state}&state={state}"),
        |state, _| format!("error={state}&error_uri=https://as.test/{state}&state={state}"),
        |state, _| {
            format!(
                "code=cnry-code-1&error=server_error&error_description=cnry-code-1&state={state}"
            )
        },
        |state, _| {
            format!("code=cnry-code-1&state={state}&iss=https://as.test/{state}/cnry-code-1")
        },
    ];
    for way in ways {
        let world = world(|_| {}, |_| {});
        world.auth.on("/authorize", move |visit| {
            let state = visit.get("state").unwrap_or_default();
            let redirect = visit.get("redirect_uri").unwrap_or_default();
            let issuer = visit.call.header("host").unwrap_or_default();
            let mut query = way(state, &issuer);
            if !query.contains("iss=") {
                query = format!("{query}&iss=http://{issuer}");
            }
            Reply::redirect(302, &format!("{redirect}?{query}"))
        });
        let bridge = talkative(world.bridge_to(&url(&world)), &world.home).start();
        let failed = initialize(&bridge);
        assert_failed(&failed);
        let mut said = Said::of(&world.home);
        said.take(bridge, &[failed]);
        for page in world.launcher.pages() {
            if page.url.contains("/oauth/callback") {
                said.add("page", page.body);
            }
        }
        said.assert_clean(&world.auth.secrets());
    }
}

/// A server that names an authorization server, and quotes what it refuses.
fn careless_remote(
    auth: &AuthServer,
    refuse: impl Fn(&Call, &str) -> Reply + Send + Sync + 'static,
) -> Remote {
    let issuer = auth.issuer();
    Remote::serve(move |call| {
        let host = call.header("host").unwrap_or_default();
        if call
            .path
            .starts_with("/.well-known/oauth-protected-resource")
        {
            return Reply::json(&json!({
                "resource": format!("http://{host}/mcp"),
                "authorization_servers": [issuer],
            }));
        }
        match call.header("authorization") {
            None => Reply::status(401).header("www-authenticate", "Bearer"),
            Some(token) => {
                let token = token.trim_start_matches("Bearer ");
                let key = call.header("x-key").unwrap_or_default();
                refuse(call, &format!("{token} {key}"))
            }
        }
    })
}

#[test]
fn f22_challenges_and_bodies_that_quote_the_token_do_not_show_it() {
    type Refuse = fn(&Call, &str) -> Reply;
    let ways: [Refuse; 6] = [
        |_, sent| {
            let field = format!("Bearer error=\"invalid_token\", error_description=\"{sent}\"");
            Reply::text(401, sent.to_owned()).header("www-authenticate", &field)
        },
        |_, sent| {
            let field =
                format!("Bearer error=\"insufficient_scope\", error_description=\"{sent}\"");
            Reply::text(403, sent.to_owned()).header("www-authenticate", &field)
        },
        |_, sent| {
            let (token, _) = sent.split_once(' ').unwrap();
            let field = format!("Bearer error=\"insufficient_scope\", scope=\"{token}\"");
            Reply::status(403).header("www-authenticate", &field)
        },
        |_, sent| {
            let (token, _) = sent.split_once(' ').unwrap();
            let field =
                format!("Bearer error={token}, resource_metadata=http://127.0.0.1:1/{token}");
            Reply::status(401).header("www-authenticate", &field)
        },
        |_, sent| Reply::json(&json!({"error": {"message": sent}})).with_status(500),
        |_, sent| {
            let (token, _) = sent.split_once(' ').unwrap();
            Reply::text(400, "x").header("content-encoding", token)
        },
    ];
    for way in ways {
        let auth = AuthServer::with(secret_rules);
        let remote = careless_remote(&auth, way);
        let home = Arc::new(Home::new());
        let launcher = Launcher::new(Browser::Follows);
        let launch = launcher.on(Bridge::to(&remote.url_at(&format!("/mcp?key={QUERY}"))));
        let launch = talkative(launch.home(&home), &home).args(["--transport", "http-only"]);
        let bridge = launch.start();
        let failed = initialize(&bridge);
        assert_failed(&failed);
        let mut said = Said::of(&home);
        said.take(bridge, &[failed]);
        // No token went into an address: not into that of a metadata document, not into a scope.
        let token = auth.last_token();
        for call in remote.calls() {
            let address = format!("{}?{}", call.path, call.query.unwrap_or_default());
            assert!(!address.contains(&token), "{address}");
        }
        for visit in auth.authorize_requests() {
            assert!(!format!("{:?}", visit.form).contains(&token), "{visit:?}");
        }
        said.assert_clean(&auth.secrets());
    }
}

#[test]
fn f22_signing_in_on_another_device_shows_no_secret() {
    for decision in [Decision::Approve, Decision::Deny] {
        let world = world(
            |rules| {
                rules.device_flow = true;
                rules.decision = decision;
            },
            |_| {},
        );
        world.auth.lenient();
        let launch = world.bridge_to(&url(&world)).args(["--device-code"]);
        let mut bridge = talkative(launch, &world.home).start();
        let mut stdout = vec![initialize(&bridge)];
        if decision == Decision::Approve {
            bridge.send(&rpc::initialized());
            stdout.push(bridge.request("tools/call", rpc::echo_params("x")));
            assert_worked(&stdout[1]);
        } else {
            assert_failed(&stdout[0]);
        }
        let mut said = Said::of(&world.home);
        said.take(bridge, &stdout);
        said.assert_clean(&world.auth.secrets());
    }
    for (_, careless) in &CARELESS[..6] {
        for endpoint in ["/device", "/token"] {
            let world = world(|rules| rules.device_flow = true, |_| {});
            world.auth.lenient();
            world.auth.on(endpoint, |visit| careless(&quoted(visit)));
            let launch = world.bridge_to(&url(&world)).args(["--device-code"]);
            let launch = launch.args(["--auth-timeout", "1", "--initialize-wait", "1"]);
            let bridge = talkative(launch, &world.home).start();
            let answer = initialize(&bridge);
            let mut said = Said::of(&world.home);
            world.auth.wait_visit(endpoint, 1);
            said.take_now(bridge, &[answer]);
            said.assert_clean(&world.auth.secrets());
        }
    }
}

impl Said {
    /// As [`take`](Self::take), of a run that would go on for a while: it is ended by a signal.
    fn take_now(&mut self, mut bridge: Bridge, stdout: &[Value]) -> &mut Self {
        bridge.signal(rustix::process::Signal::TERM);
        let ended = bridge.ended();
        let all = stdout.iter().chain(&ended.messages);
        self.add("stdout", all.map(Value::to_string).collect());
        self.add("stderr", ended.stderr)
    }
}

/// One way in which a machine signs in: who it is, and the arguments for it.
struct Machine {
    name: &'static str,
    world: AuthWorld,
    idp: Option<AuthServer>,
    launch: Launch,
}

fn machine(name: &'static str) -> Machine {
    let world = world(|rules| rules.assertions = vec![WORKLOAD.to_owned()], |_| {});
    let home = &world.home;
    let launch = world.bridge_to(&url(&world));
    let info = |value: &Value| home.write("client.json", value.to_string());
    let mut idp = None;
    let client_info = |value: &Value| format!("@{}", info(value).display());
    let launch = match name {
        "basic" | "post" => {
            let method = format!("client_secret_{name}");
            world
                .auth
                .add_client("robot", Some((CLIENT_SECRET, &method)));
            world
                .auth
                .rules(|rules| rules.client_methods = vec![method.clone()]);
            let client = json!({
                "client_id": "robot",
                "client_secret": CLIENT_SECRET,
                "token_endpoint_auth_method": method,
            });
            launch
                .args(["--client-credentials", "--static-oauth-client-info"])
                .args([client_info(&client)])
        }
        "jwt" => {
            let key = world.auth.add_key_client("robot");
            world
                .auth
                .rules(|rules| rules.client_methods = vec!["private_key_jwt".to_owned()]);
            let client = json!({
                "client_id": "robot",
                "private_key_pem": key,
                "token_endpoint_auth_method": "private_key_jwt",
            });
            launch
                .args(["--client-credentials", "--static-oauth-client-info"])
                .args([client_info(&client)])
        }
        "workload" => {
            let token = home.write("workload.jwt", WORKLOAD);
            launch.args(["--workload-jwt".to_owned(), format!("@{}", token.display())])
        }
        _ => {
            let provider =
                AuthServer::with(|rules| rules.subject_tokens = vec![SUBJECT.to_owned()]);
            provider.add_client("desk", Some((IDP_SECRET, "client_secret_basic")));
            world.auth.trust(&provider);
            world
                .auth
                .add_client("robot", Some((CLIENT_SECRET, "client_secret_basic")));
            let client = json!({"client_id": "robot", "client_secret": CLIENT_SECRET});
            let asked = json!({
                "token_endpoint": format!("{}/token", provider.origin()),
                "client_id": "desk",
                "client_secret": IDP_SECRET,
                "id_token": SUBJECT,
            });
            let asked = home.write("idp.json", asked.to_string());
            idp = Some(provider);
            launch
                .args([
                    "--enterprise-idp".to_owned(),
                    format!("@{}", asked.display()),
                ])
                .args([
                    "--static-oauth-client-info".to_owned(),
                    client_info(&client),
                ])
        }
    };
    let launch = talkative(launch, &world.home);
    Machine {
        name,
        world,
        idp,
        launch,
    }
}

/// The lines of the private key, where there is one.
fn key_lines(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(home.path().join("client.json")).unwrap_or_default();
    let client: Value = serde_json::from_str(&text).unwrap_or_default();
    let key = client["private_key_pem"].as_str().unwrap_or_default();
    let lines = key
        .lines()
        .filter(|line| line.len() > 20 && !line.starts_with("--"));
    lines.map(str::to_owned).collect()
}

const MACHINES: [&str; 5] = ["basic", "post", "jwt", "workload", "enterprise"];

impl Machine {
    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.world.auth.secrets();
        secrets.extend(self.idp.iter().flat_map(AuthServer::secrets));
        secrets
    }
}

#[test]
fn e13_f22_machines_that_sign_in_show_no_secret_and_keep_no_assertion() {
    for name in MACHINES {
        let Machine {
            world, idp, launch, ..
        } = machine(name);
        let mut bridge = launch.start();
        let mut stdout = vec![initialize(&bridge)];
        assert_worked(&stdout[0]);
        bridge.send(&rpc::initialized());
        world.auth.end_access_tokens();
        stdout.push(bridge.request("tools/call", rpc::echo_params("x")));
        assert_worked(&stdout[1]);
        let mut secrets = world.auth.secrets();
        secrets.extend(idp.iter().flat_map(AuthServer::secrets));
        secrets.extend(key_lines(&world.home));
        assert_unseen(&bridge, &secrets);
        let mut said = Said::of(&world.home);
        said.take(bridge, &stdout);
        said.printed(&world, &["status", "--json"]);
        said.assert_clean(&secrets);
        let lasting = [
            CLIENT_SECRET,
            IDP_SECRET,
            SUBJECT,
            WORKLOAD,
            "id-jag",
            "PRIVATE KEY",
        ];
        for (path, text) in files(&world.home.config_dir()) {
            for secret in lasting {
                assert!(
                    !text.contains(secret),
                    "{name}: {secret} is in {path}: {text}"
                );
            }
        }
    }
}

#[test]
fn e13_f22_what_machines_send_is_not_shown_when_it_is_quoted() {
    for name in MACHINES {
        for (kind, careless) in &CARELESS[..6] {
            let machine = machine(name);
            // The enterprise's first step, and everybody's last one.
            let quoting = machine.idp.as_ref().unwrap_or(&machine.world.auth);
            quoting.on("/token", |visit| careless(&quoted(visit)));
            quoting.lenient();
            let secrets = machine.secrets();
            let Machine {
                world,
                idp,
                launch,
                name,
            } = machine;
            let bridge = launch.start();
            let failed = initialize(&bridge);
            assert_failed(&failed);
            let mut said = Said::of(&world.home);
            said.take(bridge, &[failed]);
            let visits = idp.as_ref().unwrap_or(&world.auth).count("/token");
            assert!(visits > 0, "{name}, {kind}");
            said.assert_clean(&secrets);
            said.assert_clean(&world.auth.secrets());
        }
    }
}

#[test]
fn f22_a_pasted_address_is_not_shown() {
    let world = world(|_| {}, |_| {}).browser(Browser::Missing);
    let url = url(&world);
    let errors = world.home.path().join("stderr");
    let mut login = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args([
            "login",
            &url,
            "--no-browser",
            "--debug",
            "--log-file",
            "bridge.log",
        ])
        .env_clear()
        .env("HOME", world.home.path())
        .env("MCP_REMOTE_CONFIG_DIR", world.home.config_dir())
        .current_dir(world.home.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let mut stdin = login.stdin.take().unwrap();
    let wait = |suits: &dyn Fn(&str) -> bool| {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let text = world.home.read("stderr");
            if suits(&text) {
                return text;
            }
            assert!(Instant::now() < until, "{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let link = links_in(&wait(&|text| {
        text.contains("&state=") && text.ends_with('\n')
    }))
    .remove(0);
    let page = Person::new().get(&url::Url::parse(&link).unwrap());
    let address = page.header("location").unwrap();
    let (_, state) = address.split_once("state=").unwrap();
    let state = state.split('&').next().unwrap();
    // A wrong one first, with the true code in it.
    let wrong = address.replace(state, "cnry-another-state-0123456789");
    writeln!(stdin, "{wrong}").unwrap();
    wait(&|text| text.contains("`state`"));
    writeln!(stdin, "{address}").unwrap();
    let output = login.wait_with_output().unwrap();
    assert!(output.status.success());
    let mut said = Said::of(&world.home);
    said.add("stdout", String::from_utf8(output.stdout).unwrap());
    said.add("stderr", world.home.read("stderr"));
    said.assert_clean(&world.auth.secrets());
    assert_eq!(world.auth.tokens_issued(), 1);
}

#[test]
fn d03_d29_no_token_is_in_an_address_and_none_of_others_is_sent() {
    let world = world(|_| {}, |_| {});
    let names = [
        "GITHUB_TOKEN",
        "ACCESS_TOKEN",
        "OPENAI_API_KEY",
        "NPM_TOKEN",
        "OAUTH_TOKEN",
    ];
    let launch = talkative(world.bridge_to(&url(&world)), &world.home);
    let launch = names
        .into_iter()
        .fold(launch, |launch, name| launch.env(name, FOREIGN));
    let mut bridge = launch.start();
    let mut answers = vec![bridge.handshake()];
    answers.push(bridge.request("tools/list", json!({})));
    answers.push(bridge.request("tools/call", rpc::echo_params("x")));
    bridge.finish();
    let secrets = world.auth.secrets();
    let visits = world.auth.visits();
    let calls = visits.iter().map(|visit| &visit.call).cloned();
    for call in world.remote.calls().into_iter().chain(calls) {
        let everything = format!(
            "{:?} {:?} {} {}",
            call.query,
            call.headers,
            call.path,
            call.text()
        );
        assert!(!everything.contains(FOREIGN), "{everything}");
        if call.path != "/authorize" {
            for secret in &secrets {
                let address = format!("{}?{}", call.path, call.query.clone().unwrap_or_default());
                assert!(!address.contains(secret.as_str()), "{secret}: {address}");
            }
        }
    }
    for answer in answers {
        for secret in secrets.iter().map(String::as_str).chain([FOREIGN, HEADER]) {
            assert!(!answer.to_string().contains(secret), "{secret}: {answer}");
        }
    }
}

#[test]
fn d35_a_token_that_no_header_can_carry_is_refused_unseen() {
    for token in [
        "cnry-a b",
        "cnry-a\r\nX-Injected: 1",
        "cnry-ü",
        "cnry-a\u{0}",
        "",
    ] {
        let world = world(|_| {}, |_| {});
        world
            .auth
            .rules(|rules| rules.token_edits = json!({"access_token": token}));
        let bridge = talkative(world.bridge_to(&url(&world)), &world.home).start();
        let failed = initialize(&bridge);
        assert_eq!(
            failed["error"]["data"]["kind"], "token_response_invalid",
            "{failed}"
        );
        let mut said = Said::of(&world.home);
        said.take(bridge, &[failed]);
        said.assert_clean(&world.auth.secrets());
        assert_eq!(world.guard.admitted(), 0);
    }
}

/// Names of members that hold secrets: a type that has one does not print it.
const SECRET_MEMBERS: &[&str] = &[
    "access",
    "access_token",
    "refresh",
    "refresh_token",
    "id_token",
    "device_code",
    "verifier",
    "code_verifier",
    "state",
    "secret",
    "client_secret",
    "initial_access_token",
    "registration_access_token",
    "assertion",
    "subject",
    "private_key",
    "private_key_pem",
    "dpop_key",
    "proof",
    "authorization",
    "cookie",
    "cookies",
    "session",
    "password",
    "link",
    "pasted",
    "target",
    "query",
    "location",
    "authorize_params",
    "client_metadata",
    "header",
    "headers",
];

/// Types that print what they hold.
const OPEN: &[&str] = &[
    "String", "str", "Vec<u8>", "Bytes", "Url", "Value>", "Value,", "Path",
];

/// Members of those names that hold no secret, each for its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("Suspicion", "refresh", "a hash of the token"),
    ("State", "subject", "who signed in"),
    ("Names", "subject", "the name in a certificate"),
];

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let own = text.split("\nmod tests {").next().unwrap();
            found.push((path.display().to_string(), own.to_owned()));
        }
    }
}

/// The types that derive a printable form: name and lines of the body.
fn printable(source: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut lines = source.lines();
    let mut derives = false;
    while let Some(line) = lines.next() {
        let text = line.trim();
        if text.starts_with("#[derive(") {
            derives = text.contains("Debug");
        }
        let words: Vec<&str> = text.split([' ', '<', '{', '(', ';']).collect();
        let Some(at) = words
            .iter()
            .position(|word| ["struct", "enum"].contains(word))
        else {
            continue;
        };
        if text.starts_with("//") || !std::mem::take(&mut derives) {
            continue;
        }
        let name = words.get(at + 1).copied().unwrap_or_default().to_owned();
        let mut body = Vec::new();
        if text.ends_with('{') {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            body.extend(
                lines
                    .by_ref()
                    .take_while(|line| **line != end)
                    .map(|line| line.trim().to_owned()),
            );
        }
        found.push((name, body));
    }
    found
}

#[test]
fn f21_no_type_with_a_secret_member_derives_a_printable_form() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, source) in &files {
        for (name, body) in printable(source) {
            seen += 1;
            for line in body.iter().filter(|line| !line.starts_with("//")) {
                let line = line.rsplit("pub ").next().unwrap();
                let Some((member, kind)) = line.split_once(": ") else {
                    continue;
                };
                let member = member.rsplit(' ').next().unwrap();
                let secret = SECRET_MEMBERS.contains(&member);
                let open = OPEN.iter().any(|it| kind.contains(it)) && !kind.contains("HeaderValue");
                let excepted = EXCEPTIONS
                    .iter()
                    .any(|it| (it.0, it.1) == (name.as_str(), member));
                if secret && open && !excepted {
                    wrong.push(format!("{path}: {name}.{member}: {kind}"));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} types were found");
    assert_eq!(wrong, [""; 0]);
    // The search itself works.
    let planted = "#[derive(Clone, Debug)]\npub struct Bad {\n    pub refresh: String,\n}\n";
    assert_eq!(
        printable(planted),
        [("Bad".to_owned(), vec!["pub refresh: String,".to_owned()])]
    );
}

/// A debug form that nobody prints cannot show anything.
#[test]
fn f21_the_program_prints_no_debug_forms() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    // Words of our own enums.
    let allowed = ["text::sanitize(scope, 300),", "scope: {} ({:?})"];
    let mut wrong = Vec::new();
    for (path, source) in &files {
        for line in source.lines().map(str::trim) {
            let prints = line.contains(":?}") || line.contains(":#?}") || line.contains("dbg!");
            if prints && !line.starts_with("//") && !allowed.iter().any(|it| line.contains(it)) {
                wrong.push(format!("{path}: {line}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// Other processes of the same user cannot look into this one, and it leaves no core behind.
#[cfg(target_os = "linux")]
#[test]
fn f24_its_memory_is_not_written_to_disk() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let world = world(|_| {}, |_| {});
    let mut launch = world.headless();
    if rustix::process::geteuid().is_root() {
        // Root sees everything, so somebody else runs it here.
        launch = launch.under(["/usr/bin/setpriv", "--reuid=65534", "--clear-groups"]);
        fs::set_permissions(world.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut bridge = launch.start();
    bridge.send(&rpc::initialize(1, rpc::VERSION));
    crate::support::wait_link(&bridge, 1);
    let limits = fs::read_to_string(format!("/proc/{}/limits", bridge.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let soft = core.unwrap().split_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "{limits}");
    let environ = fs::metadata(format!("/proc/{}/environ", bridge.id())).unwrap();
    assert_eq!(environ.uid(), 0, "its memory is open to other processes");
    bridge.signal(rustix::process::Signal::TERM);
    bridge.wait_exit();
}
