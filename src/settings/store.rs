//! Where sign-ins are kept.
//!
//! In: the variables and the home directory that say so. Out: the files there (`crate::edge`).

use std::ffi::OsString;
use std::path::PathBuf;

use directories::BaseDirs;

use super::Notice;
use crate::cli::{StoreArgs, StoreKind};
use crate::error::Failure;
use crate::proto::Level;

/// Variables that name the folder, the stronger first. npm `mcp-remote` knows the second.
const VARIABLES: [&str; 2] = ["MCP_BRIDGE_CONFIG_DIR", "MCP_REMOTE_CONFIG_DIR"];

/// The folder in the home directory, shared with npm `mcp-remote`.
const FOLDER: &str = ".mcp-auth";

/// The variable that names the home directory.
const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// Where sign-ins are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The folder that holds `mcp-remote-v1/` and `mcp-bridge/`; `None`: there is none, so that
    /// sign-ins last as long as the process.
    pub base: Option<PathBuf>,
    /// Keep tokens in the system's keychain.
    pub keychain: bool,
}

/// Finds the folder. A name in a variable is taken literally; an empty one counts as none.
///
/// # Errors
/// The keychain is asked for, and this build has none.
pub(super) fn store(
    args: &StoreArgs,
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Result<StoreSettings, Failure> {
    let keychain = args.store == StoreKind::Keychain;
    if keychain && !cfg!(feature = "keychain") {
        let failure = Failure::usage("--store keychain: this build of mcp-bridge has no keychain");
        let hint =
            "keep sign-ins in files, or build mcp-bridge from its sources with --features keychain";
        return Err(failure.hint(hint));
    }
    let named = VARIABLES
        .into_iter()
        .find_map(|name| env(name).filter(|value| !value.is_empty()));
    let base = match named {
        Some(folder) => Some(PathBuf::from(folder)),
        None => home(env, notices).map(|home| home.join(FOLDER)),
    };
    Ok(StoreSettings { base, keychain })
}

/// The home directory: what the variable says, else what the system knows.
pub(super) fn home(
    env: &impl Fn(&str) -> Option<OsString>,
    notices: &mut Vec<Notice>,
) -> Option<PathBuf> {
    let (home, problem) = match env(HOME) {
        Some(value) if value.is_empty() => (None, format!("{HOME} is empty")),
        Some(value) => {
            let home = Some(PathBuf::from(value)).filter(|home| home.is_absolute());
            (home, format!("{HOME} is not an absolute path"))
        }
        None => {
            let known = BaseDirs::new().map(|base| base.home_dir().to_owned());
            (known, "there is no home directory".to_owned())
        }
    };
    if home.is_none() {
        let text = format!(
            "{problem}, so sign-ins are not kept; name a folder for them with the variable {}",
            VARIABLES[0]
        );
        notices.push(Notice::new(Level::Warn, text));
    }
    home
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(env: &[(&str, &str)]) -> (Option<PathBuf>, Vec<Notice>) {
        let mut notices = Vec::new();
        let env = |name: &str| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        let args = StoreArgs {
            store: StoreKind::Files,
        };
        let store = store(&args, &env, &mut notices).unwrap();
        assert!(!store.keychain);
        (store.base, notices)
    }

    const ROOT: &str = if cfg!(windows) { r"C:\me" } else { "/home/me" };

    #[test]
    fn f01_the_folder_is_named_by_a_variable_or_lies_in_the_home_directory() {
        let [bridge, remote] = VARIABLES;
        for (env, folder) in [
            (&[(HOME, ROOT)][..], PathBuf::from(ROOT).join(".mcp-auth")),
            (&[(HOME, ROOT), (bridge, "/b"), (remote, "/r")], "/b".into()),
            (&[(HOME, ROOT), (remote, "/r")], "/r".into()),
            (&[(HOME, ROOT), (bridge, ""), (remote, "/r")], "/r".into()),
            (&[(HOME, ""), (remote, "~/x")], "~/x".into()),
            (&[(HOME, "here"), (remote, "x")], "x".into()),
        ] {
            assert_eq!(base(env), (Some(folder), Vec::new()), "{env:?}");
        }
        let empty = [(HOME, ROOT), (bridge, ""), (remote, "")];
        assert_eq!(base(&empty).0, Some(PathBuf::from(ROOT).join(".mcp-auth")));
    }

    #[test]
    fn f01_an_empty_or_relative_home_directory_is_refused() {
        for home in ["", "here", "./here", "~"] {
            let (base, notices) = base(&[(HOME, home)]);
            assert_eq!(base, None, "{home:?}");
            assert_eq!(notices.len(), 1);
            assert_eq!(notices[0].level, Level::Warn);
            let text = &notices[0].text;
            assert!(text.contains(HOME) && text.contains(VARIABLES[0]), "{text}");
        }
    }

    #[test]
    fn f16_a_build_without_a_keychain_says_so() {
        let args = StoreArgs {
            store: StoreKind::Keychain,
        };
        let store = store(&args, &|_| None, &mut Vec::new());
        if cfg!(feature = "keychain") {
            assert!(store.unwrap().keychain);
            return;
        }
        let failure = store.unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        let text = failure.to_string();
        for words in ["--store keychain", "--features keychain"] {
            assert!(text.contains(words), "{text}");
        }
        // A registry may have another program of this name.
        assert!(!text.contains("install mcp-bridge"), "{text}");
    }

    #[test]
    fn without_a_variable_the_system_is_asked() {
        assert!(base(&[]).0.is_none_or(|base| base.is_absolute()));
    }
}
