//! A file that is not a module is never compiled, and its tests never run: none may exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The modules that a file declares.
fn declared(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let modules = text.lines().filter_map(|line| {
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        line.strip_prefix("mod ")?
            .strip_suffix(';')
            .map(str::to_owned)
    });
    modules.collect()
}

/// The modules that a folder holds, without the file that declares them.
fn present(folder: &Path, declaring: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let modules = entries.filter(|path| {
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        (is_source && path.file_name().unwrap() != declaring) || path.join("mod.rs").is_file()
    });
    modules
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn assert_all_listed(folder: &Path, declaring: &str) {
    let declared = declared(&folder.join(declaring));
    assert_eq!(
        declared,
        present(folder, declaring),
        "modules of {}",
        folder.display()
    );
    for module in declared {
        let inner = folder.join(module);
        if inner.join("mod.rs").is_file() {
            assert_all_listed(&inner, "mod.rs");
        }
    }
}

#[test]
fn every_file_is_a_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    assert!(declared(&root.join("main.rs")).contains("unlisted"));
    assert_all_listed(&root, "main.rs");
}
