//! Launchers of the tests' own, first in the search path.

use super::*;

/// Variables, whether it is a container, and a word of the reason.
type Case<'a> = (&'a [(&'a str, &'a str)], bool, Option<&'a str>);

fn env<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
    |name| {
        let (_, value) = variables.iter().find(|(found, _)| *found == name)?;
        Some(OsString::from(value))
    }
}

#[test]
fn c21_where_no_browser_can_be_expected() {
    let display = ("DISPLAY", ":0");
    let wayland = ("WAYLAND_DISPLAY", "wayland-0");
    let cases: &[Case<'_>] = &[
        (&[], false, Some("display")),
        (&[("DISPLAY", "")], false, Some("display")),
        (&[display], false, None),
        (&[wayland], false, None),
        (
            &[display, ("SSH_CONNECTION", "1 2 3 4")],
            false,
            Some("SSH"),
        ),
        (&[display, ("SSH_TTY", "/dev/pts/0")], false, Some("SSH")),
        (&[display, ("SSH_TTY", "")], false, None),
        (&[display, ("CI", "true")], false, Some("build")),
        (&[display, ("CI", "1")], false, Some("build")),
        (&[display, ("CI", "false")], false, None),
        (&[display, ("CI", "0")], false, None),
        (&[], true, Some("container")),
        (&[("container", "podman")], false, Some("container")),
        (
            &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
            false,
            Some("container"),
        ),
        (&[display], true, None),
        (&[("WSL_DISTRO_NAME", "Debian")], false, None),
        (&[("WSL_INTEROP", "/run/WSL/1")], false, None),
        (&[("WSL_DISTRO_NAME", "Debian")], true, Some("container")),
        (&[("BROWSER", "firefox")], false, None),
        (&[("BROWSER", "helper"), ("SSH_TTY", "x")], true, None),
        (&[("BROWSER", ""), ("SSH_TTY", "x")], false, Some("SSH")),
    ];
    for (variables, is_container, expected) in cases {
        let found = reason(&env(variables), *is_container, false);
        let fits = match (found, expected) {
            (Some(found), Some(expected)) => found.contains(expected),
            (found, expected) => found.is_none() && expected.is_none(),
        };
        assert!(fits, "{variables:?} {is_container}: {found:?}");
    }
    // Desktops that do not show in the environment.
    assert_eq!(reason(&env(&[]), false, true), None);
    assert!(reason(&env(&[("SSH_TTY", "x")]), false, true).is_some());
    assert!(reason(&env(&[("CI", "true")]), false, true).is_some());
    assert!(reason(&env(&[("BROWSER", "x"), ("SSH_TTY", "x")]), false, true).is_some());
}

#[test]
fn f26_our_variables_are_not_handed_on() {
    let given = [
        ("HOME", "/home/me"),
        ("DISPLAY", ":0"),
        ("MCP_BRIDGE_HEADER", "canary"),
        ("MCP_REMOTE_CONFIG_DIR", "canary"),
        ("AUTH_HEADER", "canary"),
        ("AUTH_HEADERS", "kept"),
        ("XDG_SESSION_TYPE", "x11"),
    ];
    let launcher = launcher_with(&given, &["AUTH_HEADER"]);
    let mut command = Command::new("x");
    command.env("OPEN_RS_TARGET", "own").env_remove("HOME");
    launcher.prepare(&mut command);
    let handed: Vec<(String, Option<String>)> = command
        .get_envs()
        .map(|(name, value)| {
            let text = |text: &OsStr| text.to_string_lossy().into_owned();
            (text(name), value.map(text))
        })
        .collect();
    let value = |name: &str| {
        let (_, value) = handed.iter().find(|(found, _)| found == name)?;
        value.clone()
    };
    assert!(!format!("{handed:?}").contains("canary"), "{handed:?}");
    assert_eq!(value("AUTH_HEADERS").as_deref(), Some("kept"));
    assert_eq!(value("OPEN_RS_TARGET").as_deref(), Some("own"));
    assert_eq!(value("XDG_SESSION_TYPE").as_deref(), Some("x11"));
    assert_eq!(value("HOME"), None);
}

fn launcher_with(variables: &[(&str, &str)], hidden: &[&str]) -> Launcher {
    let server = Url::parse("https://mcp.example/mcp").unwrap();
    let hidden: Vec<String> = hidden.iter().map(|&name| name.to_owned()).collect();
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Launcher::new(server.into(), variables, &hidden)
}

#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "launchers of the tests' own")]
mod linux {
    use std::fs;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(90);
    /// Longer than any of the launchers needs, on a busy machine too.
    const PATIENT: Duration = Duration::from_secs(60);
    const ADDRESS: &str = "https://as.example/authorize?a=b&c=%20d;e";

    /// A folder of launchers, which is all of the search path.
    struct Launchers(TempDir);

    impl Launchers {
        fn new(scripts: &[(&str, &str)]) -> Self {
            let folder = TempDir::new().unwrap();
            for (name, script) in scripts {
                let draft = folder.path().join("draft");
                let text = format!("#!/bin/sh\ncd {}\n{script}\n", folder.path().display());
                fs::write(&draft, text).unwrap();
                fs::set_permissions(&draft, fs::Permissions::from_mode(0o700)).unwrap();
                // A copy by another process: a file that this one wrote may still be open in a
                // child of another test, and cannot be run then.
                let copied = Command::new("/bin/cp")
                    .arg(&draft)
                    .arg(folder.path().join(name))
                    .status()
                    .unwrap();
                assert!(copied.success());
            }
            Self(folder)
        }

        fn open(&self, address: &str, more: &[(&str, &str)], limit: Duration) -> Launch {
            let path = format!("relative:{}", self.0.path().display());
            let mut variables = vec![("PATH", path.as_str()), ("DISPLAY", ":0")];
            variables.extend(more);
            let launcher = launcher_with(&variables, &["SECRET_HEADER"]);
            let url = Url::parse(address).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let opened = launcher.open_within(&url, limit);
                tokio::time::timeout(DEADLINE, opened).await.unwrap()
            })
        }

        /// What a launcher wrote; it may still be about to.
        fn wrote(&self, name: &str) -> String {
            fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
        }
    }

    #[test]
    fn c17_c18_the_launcher_gets_the_address_as_one_argument() {
        let launchers = Launchers::new(&[("xdg-open", "printf '%s|' \"$#\" \"$@\" > seen")]);
        assert_eq!(launchers.open(ADDRESS, &[], PATIENT), Launch::Launched);
        assert_eq!(launchers.wrote("seen"), format!("1|{ADDRESS}|"));
    }

    #[test]
    fn c19_f26_a_launcher_sees_neither_our_pipes_nor_our_secrets() {
        let script = "for fd in 0 1 2; do /bin/cp -P /proc/$$/fd/$fd fd-$fd; done\n\
                      /usr/bin/env > seen\n/bin/ls -l /proc/$$/fd > open\necho noise\n\
                      echo noise >&2";
        let launchers = Launchers::new(&[("xdg-open", script)]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let secrets = [
            ("SECRET_HEADER", "canary"),
            ("MCP_BRIDGE_STATIC_OAUTH_CLIENT_INFO", "canary"),
            ("LANG", "de_DE.UTF-8"),
        ];
        assert_eq!(launchers.open(ADDRESS, &secrets, PATIENT), Launch::Launched);
        let seen = launchers.wrote("seen");
        assert!(
            seen.contains("LANG=de_DE.UTF-8") && seen.contains("DISPLAY=:0"),
            "{seen}"
        );
        assert!(
            !seen.contains("canary") && !seen.contains("relative"),
            "{seen}"
        );
        for fd in ["fd-0", "fd-1", "fd-2"] {
            let target = fs::read_link(launchers.0.path().join(fd)).unwrap();
            assert_eq!(target.to_str(), Some("/dev/null"), "{fd}");
        }
        let inherited = launchers.wrote("open");
        assert!(inherited.contains("/dev/null"), "{inherited}");
        assert!(!inherited.contains(socket.to_str().unwrap()), "{inherited}");
    }

    #[test]
    fn c19_a_launcher_that_stays_is_left_alone() {
        let launchers =
            Launchers::new(&[("xdg-open", "echo $$ > id\necho noise\nexec /bin/sleep 600")]);
        let limit = Duration::from_millis(300);
        assert_eq!(launchers.open(ADDRESS, &[], limit), Launch::Launched);
        // Alive, and ours to end.
        let end = now() + DEADLINE;
        let id: i32 = loop {
            if let Ok(id) = launchers.wrote("id").trim().parse() {
                break id;
            }
            assert!(now() < end, "the launcher does not run");
            thread::sleep(POLL);
        };
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn c17_c20_the_next_launcher_is_tried_and_the_last_failure_told() {
        let launchers = Launchers::new(&[
            ("xdg-open", "exit 3"),
            ("gio", "printf '%s|' \"$@\" > seen"),
        ]);
        assert_eq!(launchers.open(ADDRESS, &[], PATIENT), Launch::Launched);
        assert_eq!(launchers.wrote("seen"), format!("open|{ADDRESS}|"));
        let launchers = Launchers::new(&[("xdg-open", "exit 3")]);
        let Launch::Failed(text) = launchers.open(ADDRESS, &[], PATIENT) else {
            panic!("launched");
        };
        assert!(text.contains("xdg-open (exit status: 3)"), "{text}");
        let nothing = Launchers::new(&[]).open(ADDRESS, &[], PATIENT);
        assert!(matches!(nothing, Launch::Failed(text) if text.contains("no program was found")));
    }

    #[test]
    fn c17_browser_is_honoured_without_a_shell() {
        let launchers = Launchers::new(&[
            ("mine", "printf '%s|' \"$@\" > seen"),
            ("broken", "exit 1"),
            ("xdg-open", "echo > never"),
        ]);
        let opened = |browser| launchers.open(ADDRESS, &[("BROWSER", browser)], PATIENT);
        assert_eq!(opened("mine"), Launch::Launched);
        assert_eq!(launchers.wrote("seen"), format!("{ADDRESS}|"));
        assert_eq!(
            opened("absent:broken -x:mine --new=%s $(touch never);"),
            Launch::Launched
        );
        assert_eq!(
            launchers.wrote("seen"),
            format!("--new={ADDRESS}|$(touch|never);|")
        );
        assert!(!launchers.0.path().join("never").exists());
        assert_eq!(opened("broken"), Launch::Launched);
        assert!(
            launchers.0.path().join("never").exists(),
            "xdg-open comes last"
        );
    }

    #[test]
    fn c16_g07_nothing_is_launched_for_an_address_that_is_none() {
        let launchers = Launchers::new(&[("xdg-open", "echo > never")]);
        for address in [
            "file:///usr/bin/true",
            "javascript:alert(1)",
            "http://as.example/",
            "https://user:canary@as.example/",
            "https://as.example/it's",
            "https://$(true)/",
            "ms-msdt:/id",
        ] {
            let opened = launchers.open(address, &[("BROWSER", "xdg-open")], PATIENT);
            assert!(
                matches!(&opened, Launch::Failed(text) if !text.contains("canary")),
                "{address}: {opened:?}"
            );
        }
        assert!(!launchers.0.path().join("never").exists());
    }

    #[test]
    fn c21_where_there_is_no_browser_nothing_is_launched() {
        let launcher = launcher_with(&[("SSH_CONNECTION", "1 2 3 4"), ("DISPLAY", ":0")], &[]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let opened = runtime.block_on(launcher.open(&Url::parse(ADDRESS).unwrap()));
        assert_eq!(
            opened,
            Launch::Unavailable("this is a remote session (SSH)")
        );
    }
}
