//! `install` and `uninstall`: what clients' files hold, and that it works.
//!
//! In: real files of each client before and after, the command that they hold, what is printed.
//! Out: how a text is edited (`proto::clients`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcp_bridge::proto::clients::edit;
use mcp_bridge::proto::clients::entry::Found;
use mcp_bridge::proto::clients::entry::{Server, Shape};
use mcp_bridge::proto::clients::places::{Folders, System, places};
use mcp_bridge::proto::clients::{Client, Scope, mcp_remote};
use serde_json::json;

use crate::support::{Bridge, Home, Legacy, rpc};

const URL: &str = "https://mcp.example.com/mcp";

/// A home with a project in it.
struct Desk {
    home: Arc<Home>,
}

/// What a command printed, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn fails(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        assert!(self.err.contains(words), "{}", self.err);
        self
    }

    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.out.contains(words), "{}", self.out);
        self
    }

    #[track_caller]
    fn says_nothing_of(self, words: &str) -> Self {
        assert!(!self.out.contains(words), "{}", self.out);
        assert!(!self.err.contains(words), "{}", self.err);
        self
    }
}

/// A command under way.
struct Running {
    bridge: Bridge,
    out: PathBuf,
}

impl Running {
    #[track_caller]
    fn ended(mut self) -> Said {
        self.bridge.close_stdin();
        let ended = self.bridge.ended();
        Said {
            code: ended.status.code(),
            out: fs::read_to_string(&self.out).unwrap(),
            err: ended.stderr,
        }
    }
}

impl Desk {
    fn new() -> Self {
        let home = Arc::new(Home::new());
        fs::create_dir(home.path().join("project")).unwrap();
        fs::create_dir(home.path().join("out")).unwrap();
        Self { home }
    }

    /// Folders as the variables below name them.
    fn folders(&self) -> Folders {
        let at = |name: &str| Some(self.home.path().join(name));
        Folders {
            home: self.home.path().to_owned(),
            project: self.home.path().join("project"),
            xdg_config_home: at("config"),
            app_data: at("roaming"),
            local_app_data: at("local"),
            ..Folders::default()
        }
    }

    fn place(&self, shape: Shape) -> PathBuf {
        let system = if cfg!(target_os = "macos") {
            System::MacOs
        } else {
            System::Unix
        };
        let places = places(shape.client, shape.scope, system, &self.folders());
        places.into_iter().next().unwrap()
    }

    /// Puts a file in the client's place.
    fn put(&self, shape: Shape, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.place(shape);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Starts a command in the project's folder.
    #[track_caller]
    fn start(&self, words: &[&str]) -> Running {
        let folder = self.home.path();
        let number = fs::read_dir(folder.join("out")).unwrap().count();
        let out = folder.join("out").join(number.to_string());
        let shell = format!("cd project && exec \"$0\" \"$@\" >'{}'", out.display());
        fs::write(&out, "").unwrap();
        let bridge = Bridge::command(words)
            .home(&self.home)
            .env("XDG_CONFIG_HOME", folder.join("config"))
            .env("APPDATA", folder.join("roaming"))
            .env("LOCALAPPDATA", folder.join("local"))
            .under(["/bin/sh", "-c", &shell])
            .start();
        Running { bridge, out }
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Said {
        self.start(words).ended()
    }

    /// Every file but our own and what commands printed, with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with("out") || path.ends_with(".mcp-auth") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = fs::read(&path).unwrap();
                    found.insert(path, content);
                }
            }
        }
        found
    }
}

const fn of(client: Client) -> Shape {
    Shape {
        client,
        scope: Scope::User,
    }
}

fn scope_args(shape: Shape) -> &'static [&'static str] {
    match shape.scope {
        Scope::User => &[],
        Scope::Project => &["--scope", "project"],
    }
}

/// Name, place and content of every file under `fixtures/clients`.
fn fixtures() -> Vec<(String, Shape, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/clients");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut clients = Client::ALL.into_iter();
        let Some(client) = clients.find(|client| name.starts_with(client.name())) else {
            continue;
        };
        let is_project = name.ends_with("-project") || name.ends_with("-workspace");
        let scope = if is_project {
            Scope::Project
        } else {
            Scope::User
        };
        let shape = Shape { client, scope };
        found.push((name, shape, fs::read_to_string(path).unwrap()));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    for client in Client::ALL {
        let of_client = found.iter().filter(|(_, shape, _)| shape.client == client);
        assert!(of_client.count() >= 2, "{client:?}");
    }
    found
}

#[track_caller]
fn entries(path: &Path, shape: Shape) -> Vec<Found> {
    edit::list(&fs::read_to_string(path).unwrap(), shape).unwrap()
}

#[track_caller]
fn server(path: &Path, shape: Shape, name: &str) -> Server {
    let entries = entries(path, shape);
    let found = entries.into_iter().find(|found| found.name == name);
    let found = found.unwrap_or_else(|| panic!("{name} in {}", path.display()));
    found.server.unwrap()
}

/// Starts exactly what an entry says, and talks to it.
#[track_caller]
fn works(server: &Server, home: &Arc<Home>) {
    let program = Path::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    let command = Path::new(&server.command);
    assert!(command.is_absolute(), "{server:?}");
    assert_eq!(
        command.canonicalize().unwrap(),
        program.canonicalize().unwrap()
    );
    let mut launch = Bridge::command(&server.args).home(home);
    for (name, value) in &server.env {
        launch = launch.env(name, value);
    }
    let mut bridge = launch.start();
    bridge.handshake();
    let response = bridge.request("tools/call", rpc::echo_params("hello"));
    assert_eq!(response["result"]["content"][0]["text"], "hello");
    bridge.finish();
}

/// Everything that an editor or a system may have made of a text.
fn spellings(text: &str) -> Vec<String> {
    let unix = text.replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    vec![
        text.to_owned(),
        format!("\u{feff}{windows}"),
        unix.trim_end().to_owned(),
        windows,
    ]
}

// ----- install, start, uninstall -----

#[test]
fn every_client_gets_a_working_entry_and_its_file_back() {
    let remote = Legacy::sessions().start();
    for (name, shape, content) in fixtures() {
        let client = shape.client.name();
        for (number, text) in spellings(&content).into_iter().enumerate() {
            let desk = Desk::new();
            let path = desk.put(shape, &text);
            let before = entries(&path, shape);
            let url = remote.url();
            let words = [&["install", client, "new-one", &url], scope_args(shape)].concat();
            desk.run(&words).ok().says("added \"new-one\"").says("+");

            let mut after = entries(&path, shape);
            let new = after.pop().unwrap();
            assert_eq!(new.name, "new-one", "{name}");
            assert_eq!(after, before, "{name}: the others are as they were");
            if number == 0 {
                works(&new.server.unwrap(), &desk.home);
            }

            desk.run(&["uninstall", "new-one"])
                .ok()
                .says("took \"new-one\" out");
            let text_now = fs::read(&path).unwrap();
            assert_eq!(text_now, text.as_bytes(), "{name}, spelling {number}");
        }
    }
}

#[test]
fn on_a_clean_home_every_client_gets_a_working_entry_and_nothing_is_left() {
    let remote = Legacy::sessions().start();
    for client in Client::ALL {
        let desk = Desk::new();
        let url = remote.url();
        desk.run(&["install", client.name(), "mine", &url])
            .ok()
            .says("Next: ");
        let path = desk.place(of(client));
        works(&server(&path, of(client), "mine"), &desk.home);
        desk.run(&["uninstall", "mine"])
            .ok()
            .says("which was made for it");
        assert_eq!(desk.files(), BTreeMap::new(), "{client:?}");
        let mut left: Vec<_> = fs::read_dir(desk.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".mcp-auth", "out", "project"], "{client:?}");
    }
}

#[test]
fn options_reach_the_server_through_the_entry() {
    let remote = Legacy::sessions().start();
    let desk = Desk::new();
    let url = remote.url();
    desk.home.write("project/headers.txt", "X-From-File: yes\n");
    let line = [
        "install",
        "cursor",
        "--header",
        "X-Plain: harmless",
        "mine",
        &url,
        "--header",
        "Authorization: Bearer ${TOKEN}",
        "--header-file",
        "headers.txt",
        "--ignore-tool",
        "none*",
    ];
    let said = desk.run(&line).ok();
    assert!(said.out.contains("set TOKEN for Cursor"), "{}", said.out);
    let path = desk.place(of(Client::Cursor));
    let mut entry = server(&path, of(Client::Cursor), "mine");
    assert_eq!(entry.args[0], url);
    let file = desk.home.path().join("project/headers.txt");
    assert!(
        entry.args.contains(&file.to_str().unwrap().to_owned()),
        "{:?}",
        entry.args
    );
    entry.env.push(("TOKEN".to_owned(), "value".to_owned()));
    works(&entry, &desk.home);
    let call = remote.wait_call("tools/call");
    for (name, value) in [
        ("authorization", "Bearer value"),
        ("x-plain", "harmless"),
        ("x-from-file", "yes"),
    ] {
        assert_eq!(call.header(name).as_deref(), Some(value));
    }
}

#[test]
fn codex_passes_on_what_the_entry_mentions() {
    let desk = Desk::new();
    let line = [
        "install",
        "codex-cli",
        "mine",
        URL,
        "--header=X-Key: ${MY_KEY}",
    ];
    desk.run(&line)
        .ok()
        .says("+env_vars = [\"MY_KEY\"]")
        .says("set MY_KEY in the shell");
    let path = desk.place(of(Client::CodexCli));
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("\nenv_vars = [\"MY_KEY\"]\n"), "{text}");
    desk.run(&["uninstall", "mine"]).ok();
    assert_eq!(desk.files(), BTreeMap::new());
}

// ----- from mcp-remote -----

#[test]
fn entries_of_mcp_remote_run_this_program_and_come_back() {
    let remote = Legacy::sessions().start();
    let mut count = 0;
    for (name, shape, content) in fixtures() {
        let runs = |found: &Found| mcp_remote::arguments(found.server.as_ref()?);
        let old = edit::list(&content, shape).unwrap();
        let Some((entry, args)) = old
            .iter()
            .find_map(|found| Some((&found.name, runs(found)?)))
        else {
            continue;
        };
        count += 1;
        let url = args.iter().find(|arg| arg.contains("://")).unwrap();
        let content = content.replace(url, &remote.url());
        for (number, text) in spellings(&content).into_iter().enumerate() {
            let desk = Desk::new();
            let path = desk.put(shape, &text);
            let before = server(&path, shape, entry);
            let client = shape.client.name();
            desk.run(&["install", "--from-mcp-remote", client])
                .ok()
                .says("runs mcp-bridge instead of mcp-remote");
            let after = server(&path, shape, entry);
            assert_eq!(after.env, before.env, "{name}");
            let at = args.iter().position(|arg| arg == url).unwrap();
            assert_eq!(after.args[at..][1..], args[at..][1..], "{name}");
            if number == 0 {
                works(&after, &desk.home);
            }
            // Once more changes nothing.
            let once = desk.files();
            desk.run(&["install", "--from-mcp-remote", client]).ok();
            assert_eq!(desk.files(), once, "{name}");
            desk.run(&["uninstall", entry])
                .ok()
                .says("back to what it was");
            assert_eq!(
                fs::read(&path).unwrap(),
                text.as_bytes(),
                "{name}, {number}"
            );
        }
    }
    assert!(count >= Client::ALL.len(), "{count}");
}

#[test]
fn without_a_client_they_are_shown_and_with_all_each_is_rewritten() {
    let desk = Desk::new();
    let fixtures = fixtures();
    for client in [Client::Cursor, Client::Zed, Client::CodexCli] {
        let (_, _, content) = fixtures
            .iter()
            .find(|(_, shape, _)| shape.client == client)
            .unwrap();
        desk.put(of(client), content);
    }
    let project = Shape {
        client: Client::ClaudeCode,
        scope: Scope::Project,
    };
    desk.put(project, r#"{"mcpServers": {"here": {"command": "npx", "args": ["mcp-remote", "https://x.example/"]}}}"#);
    let before = desk.files();
    let said = desk.run(&["install", "--from-mcp-remote"]).ok();
    for words in [
        "Cursor: ",
        "Zed: ",
        "Codex CLI: ",
        "Claude Code (this project): ",
        "--all",
    ] {
        assert!(said.out.contains(words), "{}", said.out);
    }
    assert_eq!(desk.files(), before);
    desk.run(&["install", "--from-mcp-remote", "--all", "--scope", "user"])
        .ok();
    let path = desk.place(project);
    assert_eq!(before[&path], fs::read(&path).unwrap());
    desk.run(&["install", "--from-mcp-remote", "--all"])
        .ok()
        .says("\"here\"");
    let now = desk.files();
    for path in before.keys() {
        assert_ne!(before[path], now[path], "{}", path.display());
    }
    desk.run(&["install", "--from-mcp-remote", "--all"])
        .ok()
        .says("No entry runs mcp-remote");
    assert_eq!(desk.files(), now);
}

#[test]
fn servers_of_single_projects_of_claude_code_are_mentioned() {
    let desk = Desk::new();
    let (_, shape, content) = fixtures().remove(
        fixtures()
            .iter()
            .position(|(name, ..)| name == "claude-code-user")
            .unwrap(),
    );
    desk.put(shape, content);
    desk.run(&["install", "--from-mcp-remote", "claude-code"])
        .ok()
        .says("claude mcp remove --scope local NAME");
    // Those alone; and what somebody once wrote about it is no entry.
    let text = json!({
        "projects": {
            "/home/me/one": {
                "history": [{"display": "npx mcp-remote https://x.example/"}],
                "mcpServers": {
                    "here": {"command": "npx", "args": ["mcp-remote", "https://canary.example/"]},
                    "other": {"command": "other"}
                }
            },
            "/home/me/two": {"mcpServers": null},
            "/home/me/three": 3
        }
    });
    let desk = Desk::new();
    let path = desk.put(shape, text.to_string());
    let said = desk
        .run(&["install", "--from-mcp-remote", "claude-code"])
        .ok()
        .says("\"here\" of /home/me/one")
        .says("No other entry runs mcp-remote")
        .says_nothing_of("canary");
    assert!(!said.out.contains("\"other\""), "{}", said.out);
    assert_eq!(fs::read_to_string(path).unwrap(), text.to_string());
    desk.put(
        shape,
        r#"{"projects": {"/a": {"history": [{"display": "mcp-remote"}]}}}"#,
    );
    desk.run(&["install", "--from-mcp-remote", "claude-code"])
        .ok()
        .says("No entry runs mcp-remote")
        .says_nothing_of("claude mcp");
}

#[test]
fn every_example_is_what_its_client_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for (file, client) in [
        ("claude_desktop_config.json", Client::ClaudeDesktop),
        ("claude-code.mcp.json", Client::ClaudeCode),
        ("cursor.mcp.json", Client::Cursor),
        ("vscode.mcp.json", Client::VsCode),
        ("windsurf.mcp_config.json", Client::Windsurf),
        ("zed.settings.json", Client::Zed),
        ("gemini.settings.json", Client::GeminiCli),
        ("codex.config.toml", Client::CodexCli),
    ] {
        assert!(readme.contains(file), "{file}");
        assert!(readme.contains(client.name()), "{client:?}");
        let entry = server(&folder.join(file), of(client), "example");
        assert!(entry.command.ends_with("/mcp-bridge"), "{file}");
        assert_eq!(entry.args, [URL], "{file}");
    }
}

#[test]
fn what_cannot_be_taken_over_stays_and_says_why() {
    let desk = Desk::new();
    let text = json!({"mcpServers": {
        "bad": {"command": "npx", "args": ["mcp-remote", URL, "--transport", "carrier-pigeon"]},
        "odd": {"command": "npx", "args": ["mcp-remote", URL, "--clean", "--resource", "urn:a", "--resource", "urn:b"]},
        "secret": {
            "command": "npx",
            "args": ["mcp-remote", URL, "--header", "Authorization: Bearer canary-1"],
            "env": {"KEY": "canary-2"}
        },
        "client": {"command": "npx", "args": ["-p", "mcp-remote", "mcp-remote-client", URL]}
    }});
    let shape = of(Client::Windsurf);
    let path = desk.put(shape, serde_json::to_string_pretty(&text).unwrap());
    let before = |name| {
        let found = edit::list(&text.to_string(), shape).unwrap();
        found
            .into_iter()
            .find(|found| found.name == name)
            .unwrap()
            .server
            .unwrap()
    };
    let said = desk
        .run(&["install", "--from-mcp-remote", "windsurf"])
        .fails(1, "1 of the entries could not be rewritten")
        .says("\"bad\" stays as it is: --transport must be one of")
        .says("ignores it as well: --clean, the second --resource")
        .says("--header holds the value of Authorization, as before")
        .says_nothing_of("canary");
    assert!(!said.out.contains("\"client\" "), "{}", said.out);
    for name in ["bad", "client"] {
        assert_eq!(server(&path, shape, name), before(name));
    }
    let odd = server(&path, shape, "odd");
    assert_eq!(odd.args, [URL, "--resource", "urn:a"]);
    let secret = server(&path, shape, "secret");
    assert_eq!(secret.args, before("secret").args[1..]);
    assert_eq!(secret.env, before("secret").env);
}

// ----- what stays as it is -----

#[test]
fn dry_runs_write_nothing() {
    let desk = Desk::new();
    let shape = of(Client::Cursor);
    let text = r#"{"mcpServers": {"a": {"command": "npx", "args": ["mcp-remote", "https://x.example/"]}}}"#;
    desk.put(shape, text);
    let before = desk.files();
    for words in [
        &["install", "cursor", URL][..],
        &["install", "zed", URL],
        &["install", "--from-mcp-remote", "--all"],
    ] {
        let words = [words, &["--dry-run"]].concat();
        desk.run(&words).ok().says("nothing was written").says("@@");
        assert_eq!(desk.files(), before, "{words:?}");
        assert!(!desk.home.config_dir().exists(), "{words:?}");
    }
    desk.run(&["install", "cursor", URL]).ok();
    let before = desk.files();
    desk.run(&["uninstall", "example", "--dry-run"])
        .ok()
        .says("would take \"example\" out");
    assert_eq!(desk.files(), before);
    desk.run(&["uninstall", "example"]).ok();
}

#[test]
fn files_that_cannot_be_understood_are_left_untouched() {
    for (content, words) in [
        (
            &b"{\n  \"mcpServers\": {\n    \"a\" 1\n  }\n}\n"[..],
            "line 3, column",
        ),
        (b"{\"mcpServers\": {}", "line 1, column"),
        (b"[]", "line 1, column 1"),
        (b"{\"mcpServers\": []}", "\"mcpServers\" is not an object"),
        (b"{\"a\": \"\xff\"}", "not valid UTF-8 (line 1, column 8)"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
    ] {
        let desk = Desk::new();
        let shape = of(Client::ClaudeDesktop);
        let path = desk.put(shape, content);
        let before = desk.files();
        let file = path.display().to_string();
        for line in [
            &["install", "claude-desktop", URL][..],
            &["install", "--from-mcp-remote", "claude-desktop"],
            &["uninstall", "example"],
        ] {
            let said = desk.run(line).fails(1, words);
            assert!(said.err.contains(&file), "{}", said.err);
            assert!(said.err.contains("left as it is"), "{}", said.err);
        }
        assert_eq!(desk.files(), before);
    }
    let desk = Desk::new();
    let path = desk.put(of(Client::CodexCli), "[mcp_servers\nx = 1\n");
    desk.run(&["install", "codex-cli", URL])
        .fails(1, "line 1, column");
    assert_eq!(fs::read_to_string(path).unwrap(), "[mcp_servers\nx = 1\n");
}

#[test]
fn an_unreadable_file_does_not_keep_the_others_from_being_rewritten() {
    let desk = Desk::new();
    let entry = r#"{"mcpServers": {"a": {"command": "npx", "args": ["mcp-remote", "https://x.example/"]}}}"#;
    let broken = desk.put(of(Client::ClaudeDesktop), "{");
    desk.put(of(Client::GeminiCli), entry);
    let said = desk
        .run(&["install", "--from-mcp-remote", "--all"])
        .fails(1, "claude_desktop_config");
    assert!(said.out.contains("\"a\" runs mcp-bridge"), "{}", said.out);
    desk.run(&["uninstall", "a"]).ok();
    assert_eq!(
        fs::read_to_string(desk.place(of(Client::GeminiCli))).unwrap(),
        entry
    );
    assert_eq!(fs::read_to_string(broken).unwrap(), "{");
}

#[test]
fn f20_secrets_are_not_written_anywhere() {
    let shape = of(Client::VsCode);
    for line in [
        &["--header", "Authorization: Bearer canary-0123456789"][..],
        &["--header=X-Api-Key: canary"],
        &[
            "--static-oauth-client-info",
            r#"{"client_id": "x", "client_secret": "canary"}"#,
        ],
        &[
            "--enterprise-idp",
            r#"{"client_id": "x", "issuer": "https://i.example", "id_token": "canary"}"#,
        ],
        &["--proxy", "http://me:canary@127.0.0.1:1"],
        &["--authorize-param", "token=canary"],
    ] {
        let desk = Desk::new();
        desk.put(shape, "{}");
        let before = desk.files();
        let words = [&["install", "vscode", URL], line].concat();
        let option = line[0].split('=').next().unwrap();
        let said = desk.run(&words).fails(2, option).says_nothing_of("canary");
        assert!(said.err.contains("FILE"), "{}", said.err);
        assert_eq!(desk.files(), before);
    }
    let desk = Desk::new();
    for url in [
        "https://me:canary@x.example/",
        "https://x.example/?api_key=canary",
    ] {
        desk.run(&["install", "vscode", url])
            .fails(2, "the address")
            .says_nothing_of("canary");
    }
    assert!(desk.files().is_empty());
}

#[test]
fn f20_secrets_of_other_entries_are_not_shown() {
    let desk = Desk::new();
    let shape = of(Client::Cursor);
    let text = "{\n  // canary\n  \"mcpServers\": {\n    \"other\": {\n      \"command\": \"npx\",\n      \
                \"args\": [\"-k\", \"canary\"],\n      \"env\": {\"KEY\": \"canary\"}\n    }\n  },\n  \
                \"k\": \"canary\"\n}\n";
    let path = desk.put(shape, text);
    for words in [
        &["install", "cursor", "mine", URL][..],
        &["install", "cursor", "mine", URL, "--debug"],
        &["uninstall", "mine"],
    ] {
        desk.run(words)
            .ok()
            .says("\"mine\"")
            .says_nothing_of("canary");
    }
    assert_eq!(fs::read_to_string(path).unwrap(), text);
    let journal = desk.home.config_dir().join("mcp-bridge/installs.json");
    assert_eq!(fs::metadata(journal).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn links_stay_links_and_permissions_stay() {
    let desk = Desk::new();
    let shape = of(Client::ClaudeCode);
    let dotfiles = desk.home.write("dotfiles/claude.json", "{}\n");
    fs::set_permissions(&dotfiles, fs::Permissions::from_mode(0o640)).unwrap();
    let path = desk.place(shape);
    symlink(&dotfiles, &path).unwrap();
    desk.run(&["install", "claude-code", "mine", URL]).ok();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::metadata(&dotfiles).unwrap().mode() & 0o777, 0o640);
    assert_eq!(server(&dotfiles, shape, "mine").args, [URL]);
    desk.run(&["uninstall", "mine"]).ok();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&dotfiles).unwrap(), "{}\n");
}

#[test]
fn what_is_read_only_is_not_written() {
    let desk = Desk::new();
    let path = desk.put(of(Client::Cursor), "{}\n");
    let folder = path.parent().unwrap();
    for (closed, mode) in [(path.as_path(), 0o444), (folder, 0o555)] {
        let open = fs::metadata(closed).unwrap().permissions();
        fs::set_permissions(closed, fs::Permissions::from_mode(mode)).unwrap();
        desk.run(&["install", "cursor", URL]).fails(1, "read-only");
        fs::set_permissions(closed, open).unwrap();
        assert_eq!(desk.files().len(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
    }
    // What was not done is not put back.
    desk.run(&["uninstall", "example"])
        .fails(1, "there is no entry \"example\"");
}

// ----- names -----

#[test]
fn an_entry_of_the_same_name_is_updated_only_if_it_is_ours() {
    let desk = Desk::new();
    let shape = of(Client::GeminiCli);
    let text = r#"{"mcpServers": {
  "npm": {"command": "npx", "args": ["-y", "mcp-remote", "https://x.example/"]},
  "web": {"httpUrl": "https://x.example/"},
  "theirs": {"command": "theirs"}
}}"#;
    let path = desk.put(shape, text);
    for (name, words) in [
        ("npm", "install --from-mcp-remote gemini-cli"),
        ("web", "starts no program"),
        ("theirs", "install gemini-cli NAME URL"),
    ] {
        desk.run(&["install", "gemini-cli", name, URL])
            .fails(1, words);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    desk.run(&["install", "gemini-cli", URL]).ok();
    let first = fs::read_to_string(&path).unwrap();
    desk.run(&["install", "gemini-cli", URL])
        .ok()
        .says("already, as it should be");
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    // A name that was made up does not lead to another server's entry.
    let other = "https://mcp.example.com/other";
    desk.run(&["install", "gemini-cli", other])
        .fails(1, "for another address");
    desk.run(&["install", "gemini-cli", URL, "--debug"])
        .ok()
        .says("updated \"example\"");
    assert_eq!(server(&path, shape, "example").args, [URL, "--debug"]);
    desk.run(&["install", "gemini-cli", "example", other])
        .ok()
        .says("updated");
    assert_eq!(server(&path, shape, "example").args, [other]);
    desk.run(&["uninstall", "example"]).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn uninstall_takes_out_what_runs_this_program_and_nothing_else() {
    let desk = Desk::new();
    let text = r#"{"mcpServers": {"mine": {"command": "/opt/mcp-bridge", "args": ["https://x.example/"]}, "theirs": {"command": "theirs"}}}"#;
    let cursor = desk.put(of(Client::Cursor), text);
    let windsurf = desk.put(of(Client::Windsurf), text);
    desk.run(&["uninstall", "theirs"])
        .fails(1, "runs another program");
    desk.run(&["uninstall", "none"])
        .fails(1, "entries that run mcp-bridge: \"mine\"");
    desk.run(&["uninstall", "mine", "--scope", "project"])
        .fails(1, "there is no entry");
    desk.run(&["uninstall", "mine", "--client", "cursor"]).ok();
    assert_eq!(fs::read_to_string(&windsurf).unwrap(), text);
    desk.run(&["install", "cursor", "mine", URL]).ok();
    desk.run(&["uninstall", "mine"])
        .ok()
        .says("Cursor: ")
        .says("Windsurf: ");
    for (path, client) in [(cursor, Client::Cursor), (windsurf, Client::Windsurf)] {
        let names: Vec<String> = entries(&path, of(client))
            .into_iter()
            .map(|found| found.name)
            .collect();
        assert_eq!(names, ["theirs"]);
    }
}

#[test]
fn edits_elsewhere_in_the_file_stay() {
    let desk = Desk::new();
    let shape = of(Client::Cursor);
    let text = "{\n  \"mcpServers\": {\n    \"a\": {\"command\": \"npx\", \"args\": [\"mcp-remote\", \
                \"https://x.example/\"]}\n  },\n  \"theme\": \"dark\"\n}\n";
    let path = desk.put(shape, text);
    desk.run(&["install", "--from-mcp-remote", "cursor"]).ok();
    desk.run(&["install", "cursor", "mine", URL]).ok();
    let edited = fs::read_to_string(&path).unwrap().replace("dark", "light");
    fs::write(&path, format!("// mine\n{edited}")).unwrap();
    desk.run(&["uninstall", "a"]).ok();
    desk.run(&["uninstall", "mine"]).ok();
    let expected = format!("// mine\n{}", text.replace("dark", "light"));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn two_at_once_lose_nothing() {
    let desk = Desk::new();
    let shape = of(Client::Cursor);
    let path = desk.put(shape, "{}\n");
    let names: Vec<String> = (0..6).map(|number| format!("n{number}")).collect();
    let running: Vec<Running> = names
        .iter()
        .map(|name| desk.start(&["install", "cursor", name, URL]))
        .collect();
    for command in running {
        command.ended().ok();
    }
    let mut found: Vec<String> = entries(&path, shape)
        .into_iter()
        .map(|found| found.name)
        .collect();
    found.sort();
    assert_eq!(found, names);
    for name in &names {
        desk.run(&["uninstall", name]).ok();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
}
