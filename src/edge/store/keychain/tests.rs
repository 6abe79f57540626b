//! The store over keychains that are played.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests read and plant files of the store"
)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, MutexGuard};
use std::time::Instant;

use super::super::Store;
use super::*;

const KEY: &str = "8724945d3c4865fe12d6890203193588";
const SOON: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(60);

/// What the keychain is like.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Works,
    /// There is none.
    Absent,
    /// It waits until it is another.
    Locked,
    /// It takes so many items and no more.
    Takes(usize),
}

struct Fake {
    item_size: usize,
    mood: Mutex<Mood>,
    changed: Condvar,
    calls: Mutex<usize>,
    items: Mutex<HashMap<String, Vec<u8>>>,
    /// Done before the next reading.
    interlude: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Fake {
    fn new(mood: Mood, item_size: usize) -> Arc<Self> {
        Arc::new(Self {
            item_size,
            mood: Mutex::new(mood),
            changed: Condvar::new(),
            calls: Mutex::new(0),
            items: Mutex::default(),
            interlude: Mutex::default(),
        })
    }

    fn become_(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    fn items(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.items.lock().unwrap()
    }

    fn enter(&self) -> Result<(), String> {
        *self.calls.lock().unwrap() += 1;
        let mood = self.mood.lock().unwrap();
        let locked = |mood: &mut Mood| *mood == Mood::Locked;
        let (mood, _) = self
            .changed
            .wait_timeout_while(mood, DEADLINE, locked)
            .unwrap();
        match *mood {
            Mood::Absent => Err("no\u{1b}body there".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Vault for Fake {
    fn name(&self) -> &'static str {
        "Played Keychain"
    }

    fn item_size(&self) -> usize {
        self.item_size
    }

    fn read(&self, item: &str) -> Result<Option<Bytes>, String> {
        self.enter()?;
        let interlude = self.interlude.lock().unwrap().take();
        if let Some(interlude) = interlude {
            interlude();
        }
        Ok(self.items().get(item).cloned().map(Bytes::new))
    }

    fn write(&self, item: &str, bytes: &[u8]) -> Result<(), String> {
        self.enter()?;
        assert!(bytes.len() <= self.item_size);
        let mut mood = self.mood.lock().unwrap();
        match &mut *mood {
            Mood::Takes(0) => return Err("too large".to_owned()),
            Mood::Takes(more) => *more -= 1,
            _ => {}
        }
        self.items().insert(item.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&self, item: &str) -> Result<bool, String> {
        self.enter()?;
        Ok(self.items().remove(item).is_some())
    }
}

struct World {
    folder: tempfile::TempDir,
    fake: Arc<Fake>,
    store: Store,
    entry: Entry,
}

impl World {
    fn new(mood: Mood, item_size: usize, patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::new(mood, item_size);
        let store = open(folder.path(), &fake, patience);
        let entry = store.entry(KEY);
        Self {
            folder,
            fake,
            store,
            entry,
        }
    }

    fn working() -> Self {
        Self::new(Mood::Works, usize::MAX, DEADLINE)
    }

    /// What another process sees.
    fn other(&self) -> Entry {
        open(self.folder.path(), &self.fake, DEADLINE).entry(KEY)
    }

    fn index(&self) -> PathBuf {
        let name = format!("base/mcp-bridge/{KEY}.keychain.json");
        self.folder.path().join(name)
    }

    #[track_caller]
    fn check_note(&self, words: &[&str]) {
        let notes = self.store.take_notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        for word in words {
            assert!(notes[0].1.contains(word), "{notes:?}");
        }
    }
}

fn open(folder: &Path, fake: &Arc<Fake>, patience: Duration) -> Store {
    let vault = Arc::clone(fake) as Arc<dyn Vault>;
    let mut store = Store::open(Some(folder.join("base"))).in_keychain(true);
    store.keychain = Arc::new(Keychain::new(vault, patience));
    store
}

fn tokens(access: &str) -> Tokens {
    Tokens {
        access: access.into(),
        refresh: Some("may-renew".into()),
        expires_at: Some(1_800_000_000_000),
        issuer: Some("https://as.example".to_owned()),
        scope: Some("read".to_owned()),
        requested_scope: Some("read write".to_owned()),
        ..Tokens::default()
    }
}

/// Every file below a folder, as one text.
fn everything_below(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &everything_below(&path);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            all.extend([path.display().to_string(), text]);
        }
    }
    all
}

#[track_caller]
fn check_refused(outcome: Result<(), Failure>, problem: &str) {
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, Kind::StoreUnwritable);
    let text = &failure.text;
    for words in ["Played Keychain", problem, "--store files"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn f16_tokens_are_in_the_keychain_and_nowhere_else() {
    let world = World::working();
    assert_eq!(
        (world.entry.tokens(), world.entry.tokens_stamp()),
        (None, None)
    );
    assert_eq!(
        world.fake.calls(),
        0,
        "nobody asked before there was anything"
    );
    world.entry.check().unwrap();
    assert!(world.fake.items().is_empty());

    let mut stamps = vec![None];
    for access in ["first-secret", "second-secret"] {
        world.entry.save_tokens(&tokens(access)).unwrap();
        assert_eq!(world.other().tokens(), Some(tokens(access)));
        assert!(world.entry.state().is_about(&tokens(access)));
        stamps.push(world.entry.tokens_stamp());
        let files = everything_below(world.folder.path());
        assert!(
            !files.contains("secret") && !files.contains("renew"),
            "{files}"
        );
        assert_eq!(world.fake.items().len(), 1, "the old ones are removed");
    }
    assert!(stamps[1].is_some() && stamps[1] != stamps[2]);
    assert_eq!(world.store.list().unwrap().len(), 1);

    world.entry.drop_tokens().unwrap();
    assert_eq!(
        (world.other().tokens(), world.other().tokens_stamp()),
        (None, None)
    );
    assert!(world.fake.items().is_empty() && !world.index().exists());
    assert!(world.store.take_notes().is_empty());
}

#[test]
fn f16_long_tokens_take_several_items() {
    let world = World::new(Mood::Works, 2560, DEADLINE);
    for length in [10_000, 100, 64 << 10] {
        let long = tokens(&"x".repeat(length));
        world.entry.save_tokens(&long).unwrap();
        assert_eq!(world.other().tokens(), Some(long));
        let items = world.fake.items().len();
        assert_eq!(items > 1, length > 2560, "{items}");
        assert!(items <= length / 2560 + 1, "{items}");
    }
    world.entry.forget(false).unwrap();
    assert!(world.fake.items().is_empty());
}

#[test]
fn f16_more_than_a_file_may_have_is_refused() {
    let world = World::working();
    world.entry.save_tokens(&tokens("a")).unwrap();
    let failure = world.entry.save_tokens(&tokens(&"x".repeat(1 << 20)));
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, Kind::LimitExceeded);
    assert!(!failure.text.contains("xxx"));
    assert_eq!(world.entry.tokens(), Some(tokens("a")));
}

#[test]
fn f16_an_absent_keychain_is_named_and_nothing_takes_its_place() {
    let world = World::new(Mood::Absent, usize::MAX, DEADLINE);
    let text = world.entry.check().unwrap_err().text;
    assert!(!text.contains('\u{1b}'), "{text:?}");
    check_refused(world.entry.check(), "body there");
    check_refused(world.entry.save_tokens(&tokens("a-secret")), "body there");
    world.check_note(&[
        "a sign-in is not saved",
        "Played Keychain",
        "[store_unwritable]",
    ]);
    assert_eq!(
        (world.entry.tokens(), world.entry.tokens_stamp()),
        (None, None)
    );
    assert!(!everything_below(world.folder.path()).contains("secret"));
}

#[test]
fn f16_a_locked_keychain_holds_nobody_up() {
    let world = World::new(Mood::Works, usize::MAX, SOON);
    let patient = world.other();
    patient.save_tokens(&tokens("a")).unwrap();
    world.fake.become_(Mood::Locked);
    let before = world.fake.calls();
    assert_eq!(world.entry.tokens(), None);
    world.check_note(&["did not answer within", "[store_unwritable]"]);
    for _ in 0..3 {
        check_refused(world.entry.check(), "still does not answer");
    }
    check_refused(
        world.entry.save_tokens(&tokens("b")),
        "still does not answer",
    );
    assert_eq!(world.fake.calls(), before + 1, "one waits, not all of them");

    world.fake.become_(Mood::Works);
    let deadline = Instant::now() + DEADLINE;
    while world.entry.check().is_err() {
        assert!(Instant::now() < deadline);
        thread::sleep(SOON);
    }
    assert_eq!(world.other().tokens(), Some(tokens("a")));
}

#[test]
fn f16_a_slow_keychain_is_waited_for() {
    let world = World::working();
    world.entry.save_tokens(&tokens("a")).unwrap();
    world.fake.become_(Mood::Locked);
    thread::scope(|scope| {
        let reading = scope.spawn(|| world.entry.tokens());
        thread::sleep(SOON);
        world.fake.become_(Mood::Works);
        assert_eq!(reading.join().unwrap(), Some(tokens("a")));
    });
}

#[test]
fn f16_a_keychain_that_is_too_small_keeps_what_it_had() {
    let world = World::new(Mood::Works, 100, DEADLINE);
    world.entry.save_tokens(&tokens("a")).unwrap();
    for taken in 0..2 {
        world.fake.become_(Mood::Takes(taken));
        check_refused(world.entry.save_tokens(&tokens("b")), "too large");
        assert_eq!(world.other().tokens(), Some(tokens("a")));
    }
    world.check_note(&["a sign-in is not saved"]);
    world.fake.become_(Mood::Works);
    world.entry.save_tokens(&tokens("c")).unwrap();
    assert_eq!(world.other().tokens(), Some(tokens("c")));
}

#[test]
fn f16_a_reader_finds_the_old_tokens_or_the_new_ones() {
    let world = World::new(Mood::Works, 100, DEADLINE);
    world.entry.save_tokens(&tokens("a")).unwrap();
    let writer = world.other();
    let interlude = move || writer.save_tokens(&tokens("b")).unwrap();
    *world.fake.interlude.lock().unwrap() = Some(Box::new(interlude));
    assert_eq!(world.entry.tokens(), Some(tokens("b")));
    assert!(world.store.take_notes().is_empty());
}

#[test]
fn f16_items_that_somebody_removed_or_changed_are_not_used() {
    let world = World::new(Mood::Works, 100, DEADLINE);
    world.entry.save_tokens(&tokens("a")).unwrap();
    let first = format!("{KEY}.a.0");
    let was = world.fake.items().insert(first.clone(), b"{}".to_vec());
    assert_eq!(world.entry.tokens(), None);
    world.fake.items().remove(&first);
    assert_eq!(world.entry.tokens(), None);
    world.check_note(&["no longer holds", "[store_corrupt]"]);
    world.fake.items().insert(first, was.unwrap());
    assert_eq!(world.entry.tokens(), Some(tokens("a")));
}

#[test]
fn f16_a_planted_index_leads_nowhere() {
    let world = World::working();
    world.entry.save_tokens(&tokens("a")).unwrap();
    let good = fs::read_to_string(world.index()).unwrap();
    let huge = good.replace("\"items\": 1", &format!("\"items\": {}", u64::MAX));
    assert_ne!(huge, good);
    fs::write(world.index(), huge).unwrap();
    assert_eq!(world.entry.tokens(), Some(tokens("a")));
    for planted in [
        "",
        "{}",
        "[]",
        "{\"set\": \"c\"}",
        "{\"set\": \"b\", \"items\": 9}",
    ] {
        fs::write(world.index(), planted).unwrap();
        assert_eq!(world.entry.tokens(), None, "{planted}");
    }
    world.entry.save_tokens(&tokens("b")).unwrap();
    assert_eq!(world.entry.tokens(), Some(tokens("b")));
}

#[test]
fn f16_f18_signing_out_empties_the_keychain_whatever_the_option_says() {
    let world = World::working();
    for client in [false, true] {
        world.entry.save_tokens(&tokens("a")).unwrap();
        let files = world.store.clone().in_keychain(false).entry(KEY);
        assert_eq!(files.tokens(), None, "files and keychain are apart");
        files.forget(client).unwrap();
        assert!(world.fake.items().is_empty() && !world.index().exists());
        assert_eq!(world.entry.tokens(), None);
    }

    world.entry.save_tokens(&tokens("a")).unwrap();
    world.fake.become_(Mood::Absent);
    let left = world.entry.forget(true).unwrap_err();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("Played Keychain"), "{left:?}");
    world.fake.become_(Mood::Works);
    assert_eq!(world.entry.tokens(), None, "they are not used any more");
    world.entry.forget(true).unwrap();
    assert!(world.fake.items().is_empty() && !world.index().exists());
}
