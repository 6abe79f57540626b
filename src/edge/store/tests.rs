//! The store on real folders.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests read and plant files of the store"
)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::proto::auth::client::{ClientAuth, Registered};
use crate::proto::auth::token::TokenType;

/// Of `https://example.com/mcp`.
const KEY: &str = "8724945d3c4865fe12d6890203193588";
const SOON: Duration = Duration::from_millis(1);
const DEADLINE: Duration = Duration::from_secs(30);

fn tokens(access: &str) -> Tokens {
    Tokens {
        access: access.into(),
        refresh: Some(
            format!("refresh of {access}")
                .replace(' ', "-")
                .as_str()
                .into(),
        ),
        expires_at: Some(1_800_000_000_000),
        issuer: Some("https://as.example".to_owned()),
        ..Tokens::default()
    }
}

fn client(id: &str) -> Client {
    Client {
        id: id.to_owned(),
        auth: ClientAuth::Basic("secret".into()),
        provenance: Provenance::Registered,
        redirect_uris: vec!["http://localhost:37931/oauth/callback".to_owned()],
        issuer: Some("https://as.example".to_owned()),
        scope: None,
        secret_expires_at: None,
        registered: Registered::default(),
    }
}

/// A store in a folder of its own, which goes with it.
struct Fresh {
    folder: tempfile::TempDir,
    store: Store,
    entry: Entry,
}

impl Fresh {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path().join("base")));
        let entry = store.entry(KEY);
        Self {
            folder,
            store,
            entry,
        }
    }

    /// The same files, as another process sees them.
    fn other(&self) -> Entry {
        Store::open(Some(self.folder.path().join("base"))).entry(KEY)
    }

    fn shared(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join("base/mcp-remote-v1");
        folder.join(format!("{KEY}{name}"))
    }

    fn own(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join("base/mcp-bridge");
        folder.join(format!("{KEY}{name}"))
    }

    fn notes(&self) -> Vec<String> {
        notes(&self.store)
    }
}

fn notes(store: &Store) -> Vec<String> {
    let notes = store.take_notes().into_iter();
    notes.map(|(_, text)| text).collect()
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Writes a file that only its owner can read.
fn plant(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn make_old(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(601);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(long_ago).unwrap();
}

/// Runs something that waits, on a runtime of its own.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn f01_files_lie_where_mcp_remote_has_them() {
    let fresh = Fresh::new();
    assert_eq!(fresh.entry.tokens(), None);
    assert_eq!(fresh.entry.state(), State::default());
    assert!(fresh.store.list().unwrap().is_empty());
    assert_eq!(fs::read_dir(fresh.folder.path()).unwrap().count(), 0);

    fresh.entry.save_client(&client("id")).unwrap();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    assert!(fresh.shared("_tokens.json").is_file());
    assert!(fresh.shared("_client_info.json").is_file());
    assert!(fresh.own(".json").is_file());
    assert_eq!(fresh.entry.tokens(), Some(tokens("a")));
    assert_eq!(fresh.other().tokens(), Some(tokens("a")));
    assert_eq!(fresh.other().client().unwrap().id, "id");
    assert!(fresh.notes().is_empty());
}

#[test]
fn a_key_names_no_other_folder() {
    let fresh = Fresh::new();
    let entry = fresh.store.entry("../../x/KEY");
    assert_eq!(entry.key(), "xKEY");
}

#[test]
fn f08_directories_of_mcp_remote_work_and_keep_working() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/mcp-remote");
    for state in [
        "signed-in",
        "refreshed",
        "confidential",
        "copied-from-0.1",
        "recorded-small-server",
        "recorded-oidc-provider",
        "recorded-renewed",
    ] {
        let fresh = Fresh::new();
        fs::create_dir_all(fresh.shared("").parent().unwrap()).unwrap();
        for name in ["tokens.json", "client_info.json"] {
            let text = fs::read(fixtures.join(state).join(name)).unwrap();
            fs::write(fresh.shared(&format!("_{name}")), text).unwrap();
        }
        let before = fresh.entry.tokens().unwrap();
        let client = fresh.entry.client().unwrap();
        assert_eq!(before.issuer, client.issuer, "{state}");
        assert!(!fresh.entry.state().is_about(&before), "{state}");

        let renewed = Tokens {
            access: "renewed".into(),
            ..before.clone()
        };
        fresh.entry.save_tokens(&renewed).unwrap();
        let after = fresh.entry.tokens().unwrap();
        assert_eq!(
            (&after.refresh, &after.issuer),
            (&before.refresh, &before.issuer)
        );
        assert!(fresh.entry.state().is_about(&after), "{state}");
        let corrupt = |note: &String| note.contains("corrupt");
        assert!(!fresh.notes().iter().any(corrupt), "{state}");
    }
}

#[test]
fn f08_what_only_we_know_survives_a_write_of_mcp_remote() {
    let fresh = Fresh::new();
    let ours = Tokens {
        scope: Some("granted".to_owned()),
        requested_scope: Some("asked for".to_owned()),
        ..tokens("a")
    };
    fresh.entry.save_tokens(&ours).unwrap();
    let path = fresh.shared("_tokens.json");
    let mut members: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(members.get("requested_scope").is_none());
    members.as_object_mut().unwrap().remove("issuer");
    members.as_object_mut().unwrap().remove("scope");
    fs::write(&path, members.to_string()).unwrap();
    assert_eq!(fresh.entry.tokens(), Some(ours));

    members["access_token"] = json!("of-another-program");
    fs::write(&path, members.to_string()).unwrap();
    let theirs = fresh.entry.tokens().unwrap();
    assert_eq!((theirs.issuer, theirs.scope), (None, None));
    assert_eq!(theirs.requested_scope, None);
    assert_eq!(fresh.entry.state().token, Some(fingerprint(&"a".into())));
}

#[test]
fn a_client_that_was_given_is_not_stored() {
    let fresh = Fresh::new();
    let given = Client {
        provenance: Provenance::Given,
        ..client("id")
    };
    fresh.entry.save_client(&given).unwrap();
    assert_eq!(fresh.entry.client(), None);
}

#[test]
fn f04_readers_never_see_a_part() {
    let fresh = Fresh::new();
    let long = |letter: &str| tokens(&letter.repeat(50_000));
    fresh.entry.save_tokens(&long("x")).unwrap();
    let path = fresh.shared("_tokens.json");
    std::thread::scope(|scope| {
        let writers: Vec<_> = ["a", "b"]
            .map(|letter| {
                let entry = fresh.other();
                scope.spawn(move || {
                    for _ in 0..40 {
                        entry.save_tokens(&long(letter)).unwrap();
                    }
                })
            })
            .into();
        let reader = fresh.other();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let text = fs::read(&path).unwrap();
            let value: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value["access_token"].as_str().unwrap().len(), 50_000);
            assert!(reader.tokens().is_some());
        }
    });
    assert!(fresh.notes().is_empty());
    assert_eq!(
        names(path.parent().unwrap()),
        [format!("{KEY}_tokens.json")]
    );
}

#[test]
fn f07_unreadable_files_are_put_aside_and_three_are_kept() {
    let fresh = Fresh::new();
    fresh.entry.save_client(&client("id")).unwrap();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    let path = fresh.shared("_tokens.json");
    let mut put_aside = Vec::new();
    for number in 0..6 {
        plant(&path, format!("{{\"number\": {number}"));
        assert_eq!(fresh.entry.tokens(), None);
        assert!(!path.exists());
        let notes = fresh.notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("_tokens.json") && notes[0].ends_with("[store_corrupt]"));
        put_aside.push(format!("{{\"number\": {number}"));
        std::thread::sleep(Duration::from_millis(2));
    }
    let folder = path.parent().unwrap();
    let kept: Vec<String> = names(folder)
        .into_iter()
        .filter(|name| name.contains(".corrupt-"))
        .map(|name| fs::read_to_string(folder.join(name)).unwrap())
        .collect();
    assert_eq!(kept, put_aside[3..]);
    assert_eq!(fresh.entry.client().unwrap().id, "id");
}

#[test]
fn f07_no_damage_to_a_file_does_more_than_to_hide_it() {
    let fresh = Fresh::new();
    fresh.entry.save_client(&client("id")).unwrap();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    for path in [
        fresh.shared("_tokens.json"),
        fresh.shared("_client_info.json"),
        fresh.own(".json"),
    ] {
        let sound = fs::read(&path).unwrap();
        let cuts = (0..sound.len()).map(|end| sound[..end].to_vec());
        let flips = (0..sound.len()).map(|at| {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x80;
            flipped
        });
        let large = vec![b' '; (1 << 20) + 1];
        for damaged in cuts.chain(flips).chain([large]) {
            plant(&path, &damaged);
            drop((
                fresh.entry.tokens(),
                fresh.entry.client(),
                fresh.entry.state(),
            ));
            if path.exists() {
                assert_eq!(fs::read(&path).unwrap(), damaged);
            }
        }
        plant(&path, &sound);
    }
    assert_eq!(fresh.entry.tokens(), Some(tokens("a")));
}

#[test]
fn f07_a_file_that_was_replaced_meanwhile_is_not_put_aside() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    let name = format!("{KEY}_tokens.json");
    let files = &fresh.entry.files;
    let seen = files.read(Room::Shared, &name).unwrap();
    fresh.other().save_tokens(&tokens("b")).unwrap();
    files.set_aside(Room::Shared, &name, &seen, "is not JSON");
    assert_eq!(fresh.entry.tokens(), Some(tokens("b")));
}

#[test]
fn too_much_is_refused_and_changes_nothing() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    let failure = fresh
        .entry
        .save_tokens(&tokens(&"x".repeat(1 << 20)))
        .unwrap_err();
    assert_eq!(failure.kind, Kind::LimitExceeded);
    assert!(!failure.text.contains("xxx"));
    assert_eq!(fresh.entry.tokens(), Some(tokens("a")));
}

#[test]
fn a_state_that_grows_too_large_loses_the_result_of_initialize() {
    let fresh = Fresh::new();
    let update = |result: String| {
        fresh.entry.update_state(|state| {
            state.account = Some("someone".to_owned());
            state.initialize = Some(Initialize { result, at: 1 });
        })
    };
    update("{}".to_owned()).unwrap();
    assert!(fresh.entry.state().initialize.is_some());
    update("\"".repeat(600_000)).unwrap();
    assert_eq!(fresh.entry.state().initialize, None);
    assert_eq!(fresh.entry.state().account.as_deref(), Some("someone"));
}

#[test]
fn c44_changes_of_the_state_by_several_do_not_get_lost() {
    let fresh = Fresh::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let entry = fresh.other();
            scope.spawn(move || {
                for _ in 0..10 {
                    let change = |state: &mut State| {
                        let count = state
                            .account
                            .as_deref()
                            .map_or(0, |text| text.parse().unwrap());
                        state.account = Some((count + 1).to_string());
                    };
                    entry.update_state(change).unwrap();
                }
            });
        }
    });
    assert_eq!(fresh.entry.state().account.as_deref(), Some("40"));
}

#[test]
fn a_state_that_stays_the_same_is_not_written() {
    let fresh = Fresh::new();
    let set = |state: &mut State| state.account = Some("someone".to_owned());
    fresh.entry.update_state(set).unwrap();
    make_old(&fresh.own(".json"));
    let before = fs::metadata(fresh.own(".json"))
        .unwrap()
        .modified()
        .unwrap();
    fresh.entry.update_state(set).unwrap();
    let after = fs::metadata(fresh.own(".json"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
}

#[test]
fn d13_a_stamp_tells_that_another_process_saved_tokens() {
    let fresh = Fresh::new();
    assert_eq!(fresh.entry.tokens_stamp(), None);
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    let first = fresh.entry.tokens_stamp();
    assert_eq!(fresh.entry.tokens_stamp(), first);
    fresh.other().save_tokens(&tokens("b")).unwrap();
    let second = fresh.entry.tokens_stamp();
    assert!(second.is_some() && second != first);
    fresh.other().drop_tokens().unwrap();
    assert_eq!(fresh.entry.tokens_stamp(), None);
}

#[test]
fn f09_one_holds_a_lock_at_a_time() {
    let fresh = Fresh::new();
    let other = fresh.other();
    let held = fresh.entry.try_lock(Lock::Renewal).unwrap().unwrap();
    assert!(other.try_lock(Lock::Renewal).unwrap().is_none());
    assert!(fresh.entry.try_lock(Lock::Renewal).unwrap().is_none());
    assert!(other.try_lock(Lock::SignIn).unwrap().is_some());
    assert!(
        fresh
            .store
            .entry("other")
            .try_lock(Lock::Renewal)
            .unwrap()
            .is_some()
    );

    let failure = run(other.lock(Lock::Renewal, SOON)).unwrap_err();
    assert_eq!(failure.kind, Kind::LockTimeout);
    if cfg!(unix) {
        let me = format!("(pid {})", std::process::id());
        assert!(failure.text.contains(&me), "{}", failure.text);
    }
    let failure = {
        let _held = other.try_lock(Lock::SignIn).unwrap().unwrap();
        run(fresh.entry.lock(Lock::SignIn, SOON)).unwrap_err()
    };
    assert!(
        failure.text.contains("still signing in"),
        "{}",
        failure.text
    );
    drop(held);
    let held = run(other.lock(Lock::Renewal, DEADLINE)).unwrap();
    assert!(fresh.own(".renewal.lock").is_file());
    drop(held);
    assert!(fresh.own(".renewal.lock").is_file(), "it is never removed");
}

#[test]
fn f09_many_threads_take_turns() {
    let fresh = Fresh::new();
    let inside = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let entry = fresh.other();
            let inside = &inside;
            scope.spawn(move || {
                for _ in 0..3 {
                    let held = run(entry.lock(Lock::Renewal, DEADLINE)).unwrap();
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    std::thread::yield_now();
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(held);
                }
            });
        }
    });
}

#[test]
fn f11_other_work_goes_on_while_a_lock_is_waited_for() {
    let fresh = Fresh::new();
    let other = fresh.other();
    run(async {
        let held = fresh.entry.try_lock(Lock::SignIn).unwrap().unwrap();
        let lease = fresh.entry.lease(DEADLINE).await.unwrap();
        let waiting = async {
            let held = other.lock(Lock::SignIn, DEADLINE).await.unwrap();
            let lease = other.lease(DEADLINE).await.unwrap();
            (held, lease)
        };
        let working = async {
            for _ in 0..10 {
                tokio::time::sleep(SOON).await;
            }
            drop((held, lease));
        };
        let both = async { tokio::join!(waiting, working) };
        drop(tokio::time::timeout(DEADLINE, both).await.unwrap());
    });
}

#[test]
fn f11_a_wait_can_be_given_up() {
    let fresh = Fresh::new();
    let held = fresh.entry.try_lock(Lock::SignIn).unwrap();
    run(async {
        let waiting = fresh.entry.lock(Lock::SignIn, DEADLINE);
        assert!(tokio::time::timeout(SOON, waiting).await.is_err());
    });
    drop(held);
    assert!(fresh.entry.try_lock(Lock::SignIn).unwrap().is_some());
}

#[test]
fn f13_nobody_breaks_into_a_renewal_that_is_within_its_time() {
    assert!(limits::TOKEN_REQUEST < limits::LEASE);
    assert!(limits::LEASE < limits::LOCK_WAIT);
}

#[test]
fn the_lease_of_mcp_remote_is_taken_and_honoured() {
    let fresh = Fresh::new();
    let other = fresh.other();
    let lease = run(fresh.entry.lease(SOON)).unwrap();
    let path = fresh.shared("_refresh_in_progress.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    let failure = run(other.lease(SOON)).unwrap_err();
    assert_eq!(failure.kind, Kind::LockTimeout);
    drop(lease);
    assert!(!path.exists());

    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fixtures/mcp-remote/in-between/refresh_in_progress.json");
    fs::copy(fixture, &path).unwrap();
    drop(run(other.lease(SOON)).unwrap());
    assert!(!path.exists(), "that of a dead process is replaced");
}

#[test]
fn f12_what_sign_ins_and_writers_left_behind_is_swept_after_ten_minutes() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    let mut left: Vec<PathBuf> = ["_tokens.json.0123.tmp", "_tokens.json.42.1800000000000.tmp"]
        .map(|name| fresh.shared(name))
        .into();
    left.push(fresh.own(".json.0123.tmp"));
    for id in ["one", "two"] {
        left.push(fresh.shared(&format!("_code_verifier_{id}.txt")));
        left.push(fresh.shared(&format!("_discovery_state_{id}.json")));
    }
    for path in &left {
        fs::write(path, "x").unwrap();
    }
    let others = fresh.shared("_code_verifier_one.txt");
    let others = others.with_file_name("11111111111111111111111111111111_code_verifier_one.txt");
    fs::write(&others, "x").unwrap();
    make_old(&others);

    fresh.entry.save_tokens(&tokens("b")).unwrap();
    assert!(left.iter().all(|path| path.exists()), "they may be in use");
    for path in &left {
        make_old(path);
    }
    fresh.entry.save_tokens(&tokens("c")).unwrap();
    assert!(!left.iter().any(|path| path.exists()));
    assert!(others.exists());
}

#[test]
fn f18_signing_out_removes_what_belongs_to_the_session() {
    let fresh = Fresh::new();
    let fill = || {
        fresh.entry.save_client(&client("id")).unwrap();
        fresh.entry.save_tokens(&tokens("a")).unwrap();
        fresh
            .entry
            .update_state(|state| {
                state.server = Some("https://example.com/mcp".to_owned());
                state.dpop_key = Some("key".into());
            })
            .unwrap();
        for name in [
            "_code_verifier_1.txt",
            "_tokens.json.corrupt-1",
            "_tokens.json.1.tmp",
            "_client_info.json.corrupt-1",
            "_debug.log",
        ] {
            fs::write(fresh.shared(name), "x").unwrap();
        }
        fs::write(fresh.own(".json.corrupt-1"), "x").unwrap();
        drop(fresh.entry.try_lock(Lock::SignIn).unwrap());
    };
    let left = || {
        let base = fresh.folder.path().join("base");
        let strip = |name: String| name.replace(KEY, "");
        let shared = names(&base.join("mcp-remote-v1")).into_iter().map(strip);
        let own = names(&base.join("mcp-bridge")).into_iter().map(strip);
        (shared.collect::<Vec<_>>(), own.collect::<Vec<_>>())
    };
    fill();
    fresh.entry.forget(false).unwrap();
    let (shared, own) = left();
    assert_eq!(
        shared,
        [
            "_client_info.json",
            "_client_info.json.corrupt-1",
            "_debug.log"
        ]
    );
    assert_eq!(own, [".json", ".sign-in.lock", ".state.lock"]);
    let state = fresh.entry.state();
    assert_eq!(state.server.as_deref(), Some("https://example.com/mcp"));
    assert_eq!((state.dpop_key, state.token), (None, None));

    fill();
    fresh.entry.forget(true).unwrap();
    let (shared, own) = left();
    assert_eq!(shared, ["_debug.log"]);
    assert_eq!(own, [".sign-in.lock", ".state.lock"]);
    assert!(fresh.store.list().unwrap().is_empty());
    fresh.entry.forget(true).unwrap();
}

#[test]
fn f18_the_list_has_every_sign_in_once() {
    let fresh = Fresh::new();
    let [a, b, c] = ["a", "b", "c"].map(|digit| fresh.store.entry(&digit.repeat(32)));
    b.save_tokens(&tokens("b")).unwrap();
    a.save_client(&client("a")).unwrap();
    c.update_state(|state| state.server = Some("x".to_owned()))
        .unwrap();
    fs::write(fresh.own(".renewal.lock"), "").unwrap();
    fs::write(fresh.shared("_debug.log"), "").unwrap();
    fs::write(
        fresh
            .shared("_tokens.json")
            .with_file_name("short_tokens.json"),
        "",
    )
    .unwrap();
    let keys: Vec<String> = fresh
        .store
        .list()
        .unwrap()
        .iter()
        .map(|entry| entry.key().to_owned())
        .collect();
    assert_eq!(keys, ["a", "b", "c"].map(|digit| digit.repeat(32)));
}

#[test]
fn f28_two_sign_ins_at_one_server_do_not_meet() {
    let fresh = Fresh::new();
    let other = fresh.store.entry("0123456789abcdef0123456789abcdef");
    fresh.entry.save_tokens(&tokens("work")).unwrap();
    other.save_tokens(&tokens("home")).unwrap();
    assert_eq!(fresh.entry.tokens(), Some(tokens("work")));
    other.forget(true).unwrap();
    assert_eq!(fresh.entry.tokens(), Some(tokens("work")));
}

/// Everything works in memory, and there is one warning.
#[track_caller]
fn check_memory_only(store: &Store, kind: &str) {
    let entry = store.entry(KEY);
    let mut stamps = vec![entry.tokens_stamp()];
    for access in ["a", "b"] {
        entry.save_tokens(&tokens(access)).unwrap();
        entry.save_client(&client(access)).unwrap();
        assert_eq!(entry.tokens(), Some(tokens(access)));
        assert_eq!(entry.client().unwrap().id, access);
        assert!(entry.state().is_about(&tokens(access)));
        stamps.push(entry.tokens_stamp());
    }
    assert!(stamps[0].is_none() && stamps[1].is_some() && stamps[1] != stamps[2]);

    let held = entry.try_lock(Lock::Renewal).unwrap().unwrap();
    assert!(
        store
            .clone()
            .entry(KEY)
            .try_lock(Lock::Renewal)
            .unwrap()
            .is_none()
    );
    drop(held);
    assert!(entry.try_lock(Lock::Renewal).unwrap().is_some());
    drop(run(entry.lease(SOON)).unwrap());
    let notes = notes(store);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("kept in memory") && notes[0].ends_with(kind),
        "{notes:?}"
    );
    drop(entry.drop_tokens());
    assert_eq!((entry.tokens(), entry.tokens_stamp()), (None, None));
}

#[test]
fn f15_without_a_home_sign_ins_stay_in_memory() {
    let store = Store::open(None);
    check_memory_only(&store, "[store_unwritable]");
    store.entry(KEY).forget(true).unwrap();
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn f15_without_a_folder_sign_ins_stay_in_memory() {
    let fresh = Fresh::new();
    fs::write(fresh.folder.path().join("base"), "a file").unwrap();
    check_memory_only(&fresh.store, "[store_unwritable]");
}

#[test]
fn f15_memory_gives_way_to_what_another_process_writes_later() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("old")).unwrap();
    let path = fresh.shared("_tokens.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fresh.entry.save_tokens(&tokens("ours")).unwrap();
    assert_eq!(fresh.entry.tokens(), Some(tokens("ours")));
    assert_eq!(fresh.notes().len(), 1);
    fs::remove_dir(&path).unwrap();
    fresh.other().save_tokens(&tokens("theirs")).unwrap();
    assert_eq!(fresh.entry.tokens(), Some(tokens("theirs")));
}

#[test]
fn f15_a_folder_that_is_removed_meanwhile_is_made_again() {
    let fresh = Fresh::new();
    fresh.entry.save_tokens(&tokens("a")).unwrap();
    fs::remove_dir_all(fresh.folder.path().join("base")).unwrap();
    assert_eq!(fresh.entry.tokens(), None);
    fresh.entry.save_tokens(&tokens("b")).unwrap();
    assert_eq!(fresh.other().tokens(), Some(tokens("b")));
    assert!(fresh.notes().is_empty());
}

#[test]
fn a_dpop_token_stays_one() {
    let fresh = Fresh::new();
    let bound = Tokens {
        token_type: TokenType::Dpop,
        ..tokens("a")
    };
    fresh.entry.save_tokens(&bound).unwrap();
    assert_eq!(fresh.other().tokens(), Some(bound));
    assert_eq!(fresh.entry.state().token_type.as_deref(), Some("DPoP"));
}

#[cfg(unix)]
mod unix;
