//! `pack`: the file it writes, and the program inside it, started as the manifest says.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use zip::ZipArchive;

use crate::support::{Home, Legacy, rpc};

/// Longest wait for a program to end. An unoptimised build takes its time to compress itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a program is started.
struct Start {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Start {
    /// Runs it with these lines as its input, until it ends.
    fn run(&self, home: &Home, input: &str) -> Output {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .env("HOME", home.path())
            .env("USERPROFILE", home.path())
            .env("MCP_REMOTE_CONFIG_DIR", home.config_dir())
            .envs(self.env.clone())
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in ["SystemRoot", "PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A program that does not read says why in what it prints.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let id = child.id();
        let (done, outcome) = mpsc::channel();
        std::thread::spawn(move || done.send(child.wait_with_output()));
        let output = outcome.recv_timeout(PATIENCE);
        let output = output.unwrap_or_else(|_| panic!("process {id} did not end"));
        output.expect("the output is read")
    }
}

fn pack(home: &Home, args: &[&str]) -> Output {
    let args = ["pack"].iter().chain(args).map(|&arg| arg.to_owned());
    let start = Start {
        program: env!("CARGO_BIN_EXE_mcp-bridge").to_owned(),
        args: args.collect(),
        env: Vec::new(),
    };
    start.run(home, "")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Unpacks a bundle, with the modes in it or, as Claude Desktop for macOS does, with the owner's
/// right to read and write alone.
fn unpack(bundle: &Path, folder: &Path, keeps_modes: bool) -> Value {
    let mut archive = ZipArchive::new(File::open(bundle).unwrap()).unwrap();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let path = folder.join(file.enclosed_name().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let packed = file.unix_mode().unwrap() & 0o777;
            let mode = if keeps_modes { packed } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = keeps_modes;
    }
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    serde_json::from_slice(&manifest).unwrap()
}

/// Replaces what a client replaces.
fn filled(text: &Value, folder: &Path, answers: &HashMap<&str, String>) -> String {
    let mut text = text.as_str().unwrap().to_owned();
    text = text.replace("${__dirname}", folder.to_str().unwrap());
    for (key, answer) in answers {
        text = text.replace(&format!("${{user_config.{key}}}"), answer);
    }
    text
}

/// The command of the manifest, as a client starts it.
fn launch(manifest: &Value, folder: &Path, answers: &HashMap<&str, String>) -> Start {
    let config = &manifest["server"]["mcp_config"];
    let fill = |text: &Value| filled(text, folder, answers);
    let env = config["env"].as_object().unwrap().iter();
    Start {
        program: fill(&config["command"]),
        args: config["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(fill)
            .collect(),
        env: env
            .map(|(name, value)| (name.clone(), fill(value)))
            .collect(),
    }
}

fn conversation() -> String {
    let lines = [
        rpc::initialize(1, rpc::VERSION),
        rpc::initialized(),
        rpc::echo(2, "hi"),
    ];
    lines.map(|line| line.to_string()).join("\n") + "\n"
}

#[test]
fn the_program_inside_works_as_the_manifest_says() {
    let (remote, home) = (Legacy::sessions().start(), Home::new());
    let url = remote.url();
    let header = "Authorization: Bearer ${EXAMPLE_TOKEN}";
    let packed = pack(
        &home,
        &[
            &*url,
            "--name",
            "My Wiki",
            "--header",
            header,
            "--header-file",
            "elsewhere",
            "-o",
            "wiki.mcpb",
        ],
    );
    let said = text(&packed.stdout);
    assert!(packed.status.success(), "{}", text(&packed.stderr));
    for wanted in [
        "wiki.mcpb",
        "My Wiki",
        "Example token",
        "Headers file",
        "double-click",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    let headers = home.write("headers.txt", "X-From-File: yes\n");
    let answers = HashMap::from([
        ("EXAMPLE_TOKEN", "canary-of-the-person".to_owned()),
        ("header_file", headers.to_str().unwrap().to_owned()),
    ]);
    for (number, keeps_modes) in [true, false].into_iter().enumerate() {
        let folder = home.path().join(format!("Claude Extensions {number}"));
        let manifest = unpack(&home.path().join("wiki.mcpb"), &folder, keeps_modes);
        let start = launch(&manifest, &folder, &answers);
        assert!(!start.args.join(" ").contains("canary"));
        let output = start.run(&home, &conversation());
        let (lines, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}");
        assert!(lines.contains("ready-made"), "{lines}\n{said}");
        assert!(lines.contains(r#""text":"hi""#), "{lines}\n{said}");
        let calls = remote.calls_of("tools/call");
        assert_eq!(calls.len(), number + 1);
        let header = |name| calls[number].header(name);
        assert_eq!(
            header("authorization").as_deref(),
            Some("Bearer canary-of-the-person")
        );
        assert_eq!(header("x-from-file").as_deref(), Some("yes"));
    }
}

#[test]
fn what_cannot_be_packed_leaves_no_file_and_quotes_no_secret() {
    let home = Home::new();
    let url = "https://mcp.example.com/mcp";
    for (args, code, wanted) in [
        (
            &["--header", "Authorization: Bearer canary"][..],
            2,
            "--header-file",
        ),
        (&["--header", "X-Home: ${HOME}"], 2, "another name"),
        (&["-o", "server.zip"], 2, "server.mcpb"),
        (&["-o", "no/such/server.mcpb"], 1, "make the folder first"),
        (&["-o", "."], 2, "server.mcpb"),
    ] {
        let packed = pack(&home, &[&[url], args].concat());
        let said = text(&packed.stdout) + &text(&packed.stderr);
        assert_eq!(packed.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(wanted), "{args:?}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
    let left = fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 0, "nothing was written");
}

/// A limit on the size of files, as a stand-in for a full disk.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_finished_is_not_left_and_one_error_is_said() {
    let home = Home::new();
    let limited = r#"trap "" XFSZ; ulimit -f 8; exec "$0" "$@""#;
    let program = env!("CARGO_BIN_EXE_mcp-bridge");
    let start = Start {
        program: "/bin/sh".to_owned(),
        args: [
            "-c",
            limited,
            program,
            "pack",
            "https://mcp.example.com/mcp",
        ]
        .map(str::to_owned)
        .to_vec(),
        env: Vec::new(),
    };
    let packed = start.run(&home, "");
    let said = text(&packed.stderr);
    assert_eq!(packed.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("mcp-bridge: server.mcpb cannot be written: "),
        "{said}"
    );
    let left = fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 0, "nothing was left");
}
