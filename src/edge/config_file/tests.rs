#![expect(
    clippy::disallowed_methods,
    reason = "the tests make files and read them"
)]

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn refusal(path: &Path) -> String {
    match ConfigFile::read(path) {
        Ok(_) => panic!("{} was read", path.display()),
        Err(text) => text,
    }
}

#[test]
fn a_file_is_replaced_and_kept_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    fs::write(&path, "one").unwrap();
    for (old, new, number) in [("one", "two", 1), ("two", "three", 2)] {
        let file = ConfigFile::read(&path).unwrap();
        assert_eq!(file.text(), old);
        let written = file.replace(new).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), new);
        let backup = written.backup.unwrap();
        assert!(backup.ends_with(format!("a.json.before-mcp-bridge-{number}")));
        assert_eq!(fs::read_to_string(backup).unwrap(), old);
        assert!(written.folders.is_empty());
    }
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn copies_are_never_overwritten_and_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "0").unwrap();
    for other in [
        "a.before-mcp-bridge-x",
        "b.before-mcp-bridge-1",
        "a.before-mcp-bridge-007",
    ] {
        fs::write(folder.path().join(other), "theirs").unwrap();
    }
    for turn in 1..=12 {
        let file = ConfigFile::read(&path).unwrap();
        file.replace(&turn.to_string()).unwrap();
    }
    let names = names(folder.path());
    let kept: Vec<_> = (8..=12)
        .map(|number| format!("a.before-mcp-bridge-{number}"))
        .collect();
    for name in &kept {
        assert!(names.contains(name), "{names:?}");
    }
    assert_eq!(names.len(), 1 + BACKUPS + 3, "{names:?}");
    let newest = fs::read_to_string(folder.path().join(&kept[4])).unwrap();
    assert_eq!(newest, "11");
}

#[test]
fn a_file_and_its_folders_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x/y/a.json");
    let file = ConfigFile::read(&path).unwrap();
    assert!(!file.exists() && file.text().is_empty());
    let written = file.replace("new").unwrap();
    assert_eq!(written.backup, None);
    let root = folder.path().canonicalize().unwrap();
    assert_eq!(written.folders, [root.join("x"), root.join("x/y")]);
    assert_eq!(names(path.parent().unwrap()), ["a.json"]);
    ConfigFile::read(&path).unwrap().remove().unwrap();
    remove_empty(&written.folders);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn folders_with_something_in_them_stay() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("x/y");
    fs::create_dir_all(&inner).unwrap();
    fs::write(folder.path().join("x/other"), "").unwrap();
    remove_empty(&[folder.path().join("x"), inner]);
    assert_eq!(names(folder.path()), ["x"]);
    assert_eq!(names(&folder.path().join("x")), ["other"]);
}

#[test]
fn a_change_in_between_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x/a");
    let absent = ConfigFile::read(&path).unwrap();
    fs::create_dir(folder.path().join("x")).unwrap();
    fs::write(&path, "theirs").unwrap();
    let text = absent.replace("ours").unwrap_err();
    assert!(text.contains("another program"), "{text}");
    let file = ConfigFile::read(&path).unwrap();
    fs::write(&path, "theirs again").unwrap();
    file.replace("ours").unwrap_err();
    file.remove().unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), "theirs again");
    assert_eq!(names(&folder.path().join("x")), ["a"], "no copy, no rest");
    let file = ConfigFile::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file.replace("ours").unwrap_err();
    assert!(!path.exists());
}

#[test]
fn what_is_no_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    for (content, words) in [
        (&b"{\n \"\xc3\xa4\": \"\xff\"}"[..], "(line 2, column 8)"),
        (b"\xff\xfe{\0", "UTF-16"),
    ] {
        fs::write(&path, content).unwrap();
        let text = refusal(&path);
        assert!(text.contains(words) && text.contains('a'), "{text}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert!(refusal(folder.path()).contains("is not a file"));
    let large = fs::File::create(&path).unwrap();
    large.set_len(FILE_LIMIT + 1).unwrap();
    assert!(refusal(&path).contains("larger than 32 MiB"));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn permissions_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for mode in [0o600, 0o644, 0o660] {
            fs::write(&path, "old").unwrap();
            chmod(&path, mode);
            let written = ConfigFile::read(&path).unwrap().replace("new").unwrap();
            for path in [&path, &written.backup.unwrap()] {
                assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, mode);
            }
        }
    }

    #[test]
    fn links_are_followed_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let [real, dotfiles] = ["real", "dotfiles"].map(|name| folder.path().join(name));
        fs::create_dir(&dotfiles).unwrap();
        fs::write(dotfiles.join("a"), "old").unwrap();
        symlink("dotfiles/a", &real).unwrap();
        let file = ConfigFile::read(&real).unwrap();
        assert!(file.path().ends_with("dotfiles/a"));
        let backup = file.replace("new").unwrap().backup.unwrap();
        assert!(backup.ends_with("dotfiles/a.before-mcp-bridge-1"));
        assert!(fs::symlink_metadata(&real).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(dotfiles.join("a")).unwrap(), "new");

        fs::remove_file(dotfiles.join("a")).unwrap();
        let file = ConfigFile::read(&real).unwrap();
        assert!(!file.exists());
        file.replace("made").unwrap();
        assert!(fs::symlink_metadata(&real).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(dotfiles.join("a")).unwrap(), "made");

        let ring = folder.path().join("ring");
        symlink("ring", &ring).unwrap();
        assert!(refusal(&ring).contains("cannot be looked at"));
    }

    #[test]
    fn what_is_read_only_stays() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("x");
        fs::create_dir(&inner).unwrap();
        let path = inner.join("a");
        fs::write(&path, "old").unwrap();
        let file = ConfigFile::read(&path).unwrap();
        chmod(&path, 0o444);
        assert!(file.replace("new").unwrap_err().contains("read-only"));
        chmod(&path, 0o644);
        chmod(&inner, 0o555);
        assert!(file.replace("new").unwrap_err().contains("read-only"));
        chmod(&inner, 0o755);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(&inner), ["a"]);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert!(refusal(&path).contains("is not a file"));
    }
}
