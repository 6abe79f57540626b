//! Owners, modes, links and other processes.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests read and plant files of the store, and talk to themselves in the environment"
)]

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Child, Command, Stdio};

use super::*;

/// Where a test that runs itself once more names the folder to work in.
const FOLDER: &str = "MCP_BRIDGE_STORE_TEST_FOLDER";

/// The folder, if this is a test's second self.
fn second_self() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// This test program with one test of this file, behind some shell commands.
fn myself(test: &str, before: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    let script =
        format!("{before}; exec \"$0\" --exact edge::store::tests::unix::{test} --nocapture");
    command.arg("-c").arg(script);
    command.arg(std::env::current_exe().unwrap());
    command.env(FOLDER, folder).stdin(Stdio::piped());
    command
}

#[track_caller]
fn run_myself(test: &str, before: &str, folder: &Path) {
    let output = myself(test, before, folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(
        passed,
        "{before}: {said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A second self that has said that it is ready. It ends at the latest when the test does.
struct Second(Child);

impl Second {
    fn ready(test: &str, folder: &Path) -> Self {
        let mut command = myself(test, ":", folder);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.ends_with("ready"))
            .collect();
        assert!(child.try_wait().unwrap().is_none(), "{said:?}");
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Says that it is ready and waits for its end.
fn be_ready() {
    println!("ready");
    std::io::stdin()
        .lines()
        .map_while(Result::ok)
        .for_each(drop);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything below a folder, itself included.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for name in names(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn f02_f03_everything_is_closed_to_others_whatever_the_umask() {
    const NAME: &str = "f02_f03_everything_is_closed_to_others_whatever_the_umask";
    if let Some(folder) = second_self() {
        let base = folder.join("deep/base");
        let store = Store::open(Some(base));
        let entry = store.entry(KEY);
        entry.save_tokens(&tokens("a")).unwrap();
        entry.save_client(&client("a")).unwrap();
        let _renewal = entry.try_lock(Lock::Renewal).unwrap().unwrap();
        let _sign_in = entry.try_lock(Lock::SignIn).unwrap().unwrap();
        let _lease = run(entry.lease(SOON)).unwrap();
        let temporary = entry.files.usable(Room::Shared).unwrap();
        replace::replace(&temporary.join("x"), b"x", &mut Slow).unwrap();
        entry
            .update_state(|state| state.account = Some("x".to_owned()))
            .unwrap();
        fs::write(
            folder
                .join("deep/base/mcp-bridge")
                .join(format!("{KEY}.json")),
            "{",
        )
        .unwrap();
        assert_eq!(entry.state(), State::default());
        let all = everything(&folder.join("deep"));
        assert!(all.len() >= 12, "{all:?}");
        for path in all {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), expected, "{}", path.display());
        }
        let notes = notes(&store);
        assert!(
            notes.iter().all(|note| note.ends_with("[store_corrupt]")),
            "{notes:?}"
        );
        return;
    }
    for umask in ["000", "022", "077"] {
        let folder = tempfile::tempdir().unwrap();
        run_myself(NAME, &format!("umask {umask}"), folder.path());
    }
}

/// Looks at the temporary file before it gets its name.
struct Slow;

impl replace::Calls for Slow {
    fn flush(&mut self, file: &fs::File) -> std::io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> std::io::Result<()> {
        assert_eq!(mode(from), 0o600);
        fs::rename(from, to)
    }
}

#[test]
fn f02_folders_that_others_may_read_are_closed() {
    let fresh = Fresh::new();
    let base = fresh.folder.path().join(".mcp-auth");
    let store = Store::open(Some(base.clone()));
    let entry = store.entry(KEY);
    entry.save_tokens(&tokens("a")).unwrap();
    for (open, group_too) in [(0o755, 0o755), (0o775, 0o775)] {
        set_mode(&base, open);
        set_mode(&base.join("mcp-remote-v1"), group_too);
        assert_eq!(entry.tokens(), Some(tokens("a")));
        assert_eq!(mode(&base), 0o700);
        assert_eq!(mode(&base.join("mcp-remote-v1")), 0o700);
    }
    let notes = notes(&store);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes
            .iter()
            .all(|note| note.contains("was open to other users"))
    );
    assert!(notes.iter().all(|note| note.ends_with("[store_insecure]")));
}

#[test]
fn f02_a_folder_with_other_purposes_keeps_its_mode() {
    let fresh = Fresh::new();
    let base = fresh.folder.path().join("base");
    fs::create_dir(&base).unwrap();
    set_mode(&base, 0o755);
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    assert_eq!(mode(&base), 0o755);
    assert_eq!(mode(&base.join("mcp-remote-v1")), 0o700);
    assert!(fresh.notes().is_empty());
}

#[test]
fn f02_g36_folders_that_anybody_may_write_to_are_not_used() {
    for (folder, closed) in [("base", 0o700), ("base/mcp-remote-v1", 0o700), ("", 0o700)] {
        let fresh = Fresh::new();
        fresh.entry.save_tokens(&tokens("planted")).unwrap();
        let open = fresh.folder.path().join(folder);
        set_mode(&open, 0o777);
        let text = fs::read(fresh.shared("_tokens.json")).unwrap();
        let other = fresh.other();
        assert_eq!(other.tokens(), None, "{folder}");
        other.save_tokens(&tokens("ours")).unwrap();
        assert_eq!(other.tokens(), Some(tokens("ours")));
        assert_eq!(fs::read(fresh.shared("_tokens.json")).unwrap(), text);
        let store = Store {
            files: other.files,
            ..fresh.store.clone()
        };
        let notes = notes(&store);
        assert!(
            notes[0].contains("chmod") && notes[0].ends_with("[store_insecure]"),
            "{notes:?}"
        );
        assert!(store.list().is_err(), "{folder}");
        set_mode(&open, closed);
    }
}

#[test]
fn f02_a_sticky_folder_above_is_fine() {
    let fresh = Fresh::new();
    set_mode(fresh.folder.path(), 0o1777);
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    assert_eq!(fresh.other().tokens(), Some(tokens("a")));
    assert!(fresh.notes().is_empty());
}

/// Gives a file away. Only root may, so the tests that need it say less to others.
fn give_away(path: &Path) -> bool {
    std::os::unix::fs::lchown(path, Some(1), None).is_ok()
}

#[test]
fn f02_g36_folders_of_another_user_are_not_used() {
    for folder in ["", "base", "base/mcp-remote-v1"] {
        let fresh = Fresh::new();
        fresh.entry.save_tokens(&tokens("planted")).unwrap();
        if !give_away(&fresh.folder.path().join(folder)) {
            return;
        }
        let other = fresh.other();
        assert_eq!(other.tokens(), None, "{folder}");
        let store = Store {
            files: other.files,
            ..fresh.store.clone()
        };
        let notes = notes(&store);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(
            notes[0].contains("belongs to another user (uid 1)"),
            "{notes:?}"
        );
    }
}

#[test]
fn f06_files_of_another_user_are_neither_read_nor_replaced() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("planted")).unwrap();
    let path = fresh.shared("_tokens.json");
    if !give_away(&path) {
        return;
    }
    let text = fs::read(&path).unwrap();
    assert_eq!(fresh.entry.tokens(), None);
    fresh.entry.save_tokens(&tokens("ours")).unwrap();
    assert_eq!(fresh.entry.tokens(), Some(tokens("ours")));
    assert_eq!(fs::read(&path).unwrap(), text);
}

#[test]
fn f03_a_file_that_others_may_read_is_closed_and_used() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    let path = fresh.shared("_tokens.json");
    set_mode(&path, 0o644);
    assert_eq!(fresh.entry.tokens(), Some(tokens("a")));
    assert_eq!(mode(&path), 0o600);
    let notes = fresh.notes();
    assert!(
        notes.len() == 1 && notes[0].contains("_tokens.json was open"),
        "{notes:?}"
    );
}

#[test]
fn f06_a_file_that_anybody_may_write_is_not_read_and_replaced_by_one_that_is_closed() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("planted")).unwrap();
    let path = fresh.shared("_tokens.json");
    set_mode(&path, 0o666);
    assert_eq!(fresh.entry.tokens(), None);
    let notes = fresh.notes();
    assert!(
        notes.len() == 1 && notes[0].contains("written to by others"),
        "{notes:?}"
    );
    fresh.entry.save_tokens(&tokens("ours")).unwrap();
    assert_eq!(fresh.other().tokens(), Some(tokens("ours")));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn f06_g36_links_are_neither_read_nor_written_through() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    fresh.entry.save_client(&client("a")).unwrap();
    let elsewhere = fresh.folder.path().join("elsewhere");
    fs::write(&elsewhere, fs::read(fresh.shared("_tokens.json")).unwrap()).unwrap();
    set_mode(&elsewhere, 0o600);
    let before = fs::read(&elsewhere).unwrap();

    for path in [
        fresh.shared("_tokens.json"),
        fresh.shared("_client_info.json"),
        fresh.shared("_refresh_in_progress.json"),
        fresh.own(".json"),
        fresh.own(".renewal.lock"),
    ] {
        drop(fs::remove_file(&path));
        symlink(&elsewhere, &path).unwrap();
    }
    let other = fresh.other();
    assert_eq!((other.tokens(), other.client()), (None, None));
    assert_eq!(other.state(), State::default());
    other.save_tokens(&tokens("b")).unwrap();
    other.save_client(&client("b")).unwrap();
    other
        .update_state(|state| state.account = Some("b".to_owned()))
        .unwrap();
    assert_eq!(other.tokens(), Some(tokens("b")));
    let failure = other.try_lock(Lock::Renewal).unwrap_err();
    assert_eq!(failure.kind, Kind::StoreInsecure);
    assert!(failure.text.contains("symbolic link"), "{}", failure.text);
    drop(run(other.lease(SOON)).unwrap());

    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert!(fresh.shared("_tokens.json").is_symlink());
    let store = Store {
        files: other.files,
        ..fresh.store.clone()
    };
    let notes = notes(&store);
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(
        notes.iter().all(|note| note.contains("symbolic link")),
        "{notes:?}"
    );
}

#[test]
fn f06_a_second_name_is_not_read_and_keeps_its_content() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("planted")).unwrap();
    let (path, second) = (
        fresh.shared("_tokens.json"),
        fresh.folder.path().join("second"),
    );
    fs::hard_link(&path, &second).unwrap();
    let before = fs::read(&second).unwrap();
    assert_eq!(fresh.entry.tokens(), None);
    fresh.entry.save_tokens(&tokens("ours")).unwrap();
    assert_eq!(fresh.entry.tokens(), Some(tokens("ours")));
    assert_eq!(fs::read(&second).unwrap(), before);
}

#[test]
fn f06_a_pipe_is_not_waited_for() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    let path = fresh.shared("_tokens.json");
    fs::remove_file(&path).unwrap();
    let made = Command::new("mkfifo")
        .arg("-m600")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    assert_eq!(fresh.entry.tokens(), None);
    assert!(fresh.notes()[0].contains("not a regular file"));
}

#[test]
fn f06_the_base_may_be_a_link_and_its_folders_may_not() {
    let fresh = Fresh::new();
    let real = fresh.folder.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, fresh.folder.path().join("base")).unwrap();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    assert_eq!(fresh.other().tokens(), Some(tokens("a")));
    fs::rename(real.join("mcp-remote-v1"), real.join("moved")).unwrap();
    symlink(real.join("moved"), real.join("mcp-remote-v1")).unwrap();
    assert_eq!(fresh.other().tokens(), None);
}

#[test]
fn f09_a_lock_ends_with_its_process() {
    const NAME: &str = "f09_a_lock_ends_with_its_process";
    if let Some(folder) = second_self() {
        let entry = Store::open(Some(folder.join("base"))).entry(KEY);
        let _held = entry.try_lock(Lock::Renewal).unwrap().unwrap();
        let _lease = run(entry.lease(SOON)).unwrap();
        be_ready();
        return;
    }
    let fresh = Fresh::new();
    let second = Second::ready(NAME, fresh.folder.path());
    assert!(fresh.entry.try_lock(Lock::Renewal).unwrap().is_none());
    let holder = format!("(pid {})", second.0.id());
    let failure = run(fresh.entry.lock(Lock::Renewal, SOON)).unwrap_err();
    assert!(failure.text.contains(&holder), "{}", failure.text);
    let failure = run(fresh.entry.lease(SOON)).unwrap_err();
    assert!(failure.text.contains(&holder), "{}", failure.text);
    second.kill();
    assert!(fresh.entry.try_lock(Lock::Renewal).unwrap().is_some());
    assert!(run(fresh.entry.lease(SOON)).is_ok());
}

#[test]
fn f04_a_writer_that_is_killed_leaves_whole_files() {
    const NAME: &str = "f04_a_writer_that_is_killed_leaves_whole_files";
    if let Some(folder) = second_self() {
        let entry = Store::open(Some(folder.join("base"))).entry(KEY);
        println!("ready");
        for number in 0..2000 {
            let tokens = tokens(&number.to_string().repeat(5000));
            entry.save_tokens(&tokens).unwrap();
        }
        return;
    }
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("first")).unwrap();
    for round in 0..8 {
        let second = Second::ready(NAME, fresh.folder.path());
        std::thread::sleep(Duration::from_millis(3 * round));
        second.kill();
        assert!(fresh.entry.tokens().is_some());
        assert!(fresh.notes().is_empty());
        assert!(fresh.entry.try_lock(Lock::Renewal).unwrap().is_some());
        fresh
            .entry
            .update_state(|state| state.account = Some(round.to_string()))
            .unwrap();
    }
}

#[test]
fn f15_d12_a_full_disk_costs_nothing_but_memory() {
    const NAME: &str = "f15_d12_a_full_disk_costs_nothing_but_memory";
    if let Some(folder) = second_self() {
        let store = Store::open(Some(folder.join("base")));
        let entry = store.entry(KEY);
        assert_eq!(entry.tokens(), Some(tokens("old")));
        entry.save_tokens(&tokens("new")).unwrap();
        assert_eq!(entry.tokens(), Some(tokens("new")));
        drop(run(entry.lock(Lock::Renewal, SOON)).unwrap());
        drop(run(entry.lease(SOON)).unwrap());
        let notes = notes(&store);
        let unwritable =
            |note: &String| note.ends_with("will not be remembered [store_unwritable]");
        assert!(notes.len() == 1 && unwritable(&notes[0]), "{notes:?}");
        assert!(notes[0].contains("_tokens.json"), "{notes:?}");
        return;
    }
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("old")).unwrap();
    let full = "trap '' XFSZ; ulimit -f 0";
    run_myself(NAME, full, fresh.folder.path());
    assert_eq!(fresh.other().tokens(), Some(tokens("old")));
    let left = names(fresh.shared("").parent().unwrap());
    assert_eq!(left, [format!("{KEY}_tokens.json")]);
}

#[test]
fn f15_a_file_that_cannot_be_read_for_a_moment_says_nothing_of_memory() {
    const NAME: &str = "f15_a_file_that_cannot_be_read_for_a_moment_says_nothing_of_memory";
    if let Some(folder) = second_self() {
        let store = Store::open(Some(folder.join("base")));
        let entry = store.entry(KEY);
        let all: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        assert_eq!(entry.tokens(), None);
        drop(all);
        let notes = notes(&store);
        assert!(
            notes.len() == 1 && notes[0].contains("cannot read"),
            "{notes:?}"
        );
        assert!(!notes[0].contains("memory"), "{notes:?}");
        assert_eq!(entry.tokens(), Some(tokens("old")));
        return;
    }
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("old")).unwrap();
    run_myself(NAME, "ulimit -n 64", fresh.folder.path());
}
