//! Tokens in the system's keychain.
//!
//! In: what happens where there is none, or none that answers. Out: what is in it, which the
//! store's own tests look at with one that is played.

#[cfg(not(feature = "keychain"))]
#[test]
fn f16_without_a_keychain_in_the_build_the_option_is_refused() {
    use crate::support::Bridge;

    // Nobody is there, and nobody is asked.
    let url = "http://127.0.0.1:9/mcp";
    for launch in [
        Bridge::to(url).args(["--store", "keychain"]),
        Bridge::to(url).env("MCP_BRIDGE_STORE", "keychain"),
        Bridge::command(["login", url, "--store=keychain"]),
        Bridge::command(["logout", url, "--store=keychain"]),
        Bridge::command(["status", "--store=keychain"]),
    ] {
        let ended = launch.start().ended();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        let stderr = &ended.stderr;
        assert!(stderr.contains("--store keychain"), "{stderr}");
        assert!(stderr.contains("--features keychain"), "{stderr}");
    }
}

#[cfg(all(feature = "keychain", target_os = "linux"))]
mod secret_service {
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use crate::support::{AuthWorld, Bridge, Legacy, auth_world, rpc};

    const PATIENCE: Duration = Duration::from_secs(90);

    /// A bridge whose session bus is at this address.
    fn bridge_at(world: &AuthWorld, socket: &Path) -> Bridge {
        let address = format!("unix:path={}", socket.display());
        let launch = world.bridge().args(["--store", "keychain"]);
        let launch = launch.env("DBUS_SESSION_BUS_ADDRESS", address);
        launch.start().patience(PATIENCE)
    }

    /// The client gets this error, nobody was asked to sign in, and no token lies anywhere.
    #[track_caller]
    fn check_refused(world: &AuthWorld, mut bridge: Bridge, problem: &str) {
        bridge.send(&rpc::initialize(1, rpc::VERSION));
        let error = &bridge.response(1)["error"];
        assert_eq!(error["data"]["kind"], "store_unwritable", "{error}");
        let text = error["message"].as_str().unwrap();
        for words in ["Secret Service", problem, "--store files"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(bridge.is_running());
        assert!(bridge.finish().status.success());
        assert_eq!(world.launcher.count(), 0);
        assert_eq!(world.auth.tokens_issued(), 0);
        assert!(!world.home.config_dir().join("mcp-remote-v1").exists());
    }

    #[test]
    fn f16_a_missing_secret_service_is_named() {
        let world = auth_world();
        let bridge = bridge_at(&world, &world.home.path().join("no-bus"));
        check_refused(&world, bridge, "cannot be used");
    }

    #[test]
    fn f16_a_secret_service_that_never_answers_holds_nobody_up() {
        let world = auth_world();
        let socket = world.home.path().join("bus");
        // Takes connections, and says nothing.
        let _bus = UnixListener::bind(&socket).unwrap();
        let bridge = bridge_at(&world, &socket);
        check_refused(&world, bridge, "answer");
    }

    /// Run within `dbus-run-session`, beside an unlocked `gnome-keyring-daemon`.
    #[test]
    #[ignore = "needs a Secret Service"]
    fn f16_a_sign_in_is_kept_by_the_secret_service() {
        let world = auth_world();
        let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap();
        let converse = || {
            let launch = world.bridge().args(["--store", "keychain"]);
            let launch = launch.env("DBUS_SESSION_BUS_ADDRESS", &bus);
            let mut bridge = launch.start().patience(PATIENCE);
            bridge.handshake();
            let ended = bridge.finish();
            assert!(!ended.stderr.contains("store_"), "{}", ended.stderr);
        };
        converse();
        converse();
        assert_eq!(world.launcher.count(), 1, "the second finds the tokens");
        let command = |words: [&str; 2]| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
            program.args(words).args(["--store", "keychain"]);
            program.env("MCP_REMOTE_CONFIG_DIR", world.home.config_dir());
            String::from_utf8(program.output().unwrap().stdout).unwrap()
        };
        assert!(command(["status", "--json"]).contains("\"signed_in\": true"));
        let url = world.remote.url();
        assert!(command(["logout", &url]).starts_with("Signed out"));
        converse();
        assert_eq!(world.launcher.count(), 2);
        command(["logout", &url]);
    }

    #[test]
    fn f16_a_server_without_sign_in_never_asks_the_keychain() {
        let open = Legacy::sessions().start();
        let launch = Bridge::to(&open.url()).args(["--store", "keychain"]);
        let launch = launch.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
        let mut bridge = launch.start().patience(PATIENCE);
        bridge.handshake();
        let ended = bridge.finish();
        assert!(!ended.stderr.contains("Secret Service"), "{}", ended.stderr);
    }
}
