//! The keychains of the systems: Keychain on macOS, Credential Manager on Windows, elsewhere
//! whatever speaks Secret Service over D-Bus.
//!
//! In: one item at a time. A build without the feature `keychain` has none and says so. Out: what
//! the items mean.

use super::super::files::Bytes;
use super::Vault;

const NAME: &str = if cfg!(target_os = "macos") {
    "Keychain"
} else if cfg!(windows) {
    "Windows Credential Manager"
} else {
    "Secret Service"
};

/// Most bytes of one item: `CRED_MAX_CREDENTIAL_BLOB_SIZE` on Windows. Elsewhere one item does:
/// each may ask the person for leave.
const ITEM_SIZE: usize = if cfg!(windows) { 2560 } else { usize::MAX };

#[cfg(feature = "keychain")]
mod real {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, PoisonError};

    #[cfg(target_os = "macos")]
    use apple_native_keyring_store::keychain as platform;
    use keyring_core::{CredentialStore, Entry, Error};
    #[cfg(windows)]
    use windows_native_keyring_store as platform;
    #[cfg(all(unix, not(target_os = "macos")))]
    use zbus_secret_service_keyring_store as platform;

    use super::{Bytes, ITEM_SIZE, NAME, Vault};

    /// The service that the items are filed under.
    const SERVICE: &str = "mcp-bridge";

    /// Windows would carry the items along to other machines.
    const MODIFIERS: &[(&str, &str)] = if cfg!(windows) {
        &[("persistence", "Local")]
    } else {
        &[]
    };

    /// The system's keychain, connected when it is first used.
    #[derive(Default)]
    pub(in super::super) struct System {
        store: Mutex<Option<Arc<CredentialStore>>>,
    }

    impl System {
        fn item(&self, name: &str) -> Result<Entry, Error> {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            let store = match &*store {
                Some(store) => Arc::clone(store),
                None => Arc::clone(store.insert(platform::Store::new()?)),
            };
            let modifiers: HashMap<&str, &str> = MODIFIERS.iter().copied().collect();
            store.build(SERVICE, name, Some(&modifiers))
        }
    }

    impl Vault for System {
        fn name(&self) -> &'static str {
            NAME
        }

        fn item_size(&self) -> usize {
            ITEM_SIZE
        }

        fn read(&self, item: &str) -> Result<Option<Bytes>, String> {
            match self.item(item).and_then(|item| item.get_secret()) {
                Ok(bytes) => Ok(Some(Bytes::new(bytes))),
                Err(Error::NoEntry) => Ok(None),
                Err(error) => Err(text(&error)),
            }
        }

        fn write(&self, item: &str, bytes: &[u8]) -> Result<(), String> {
            let written = self.item(item).and_then(|item| item.set_secret(bytes));
            written.map_err(|error| text(&error))
        }

        fn remove(&self, item: &str) -> Result<bool, String> {
            match self.item(item).and_then(|item| item.delete_credential()) {
                Ok(()) => Ok(true),
                Err(Error::NoEntry) => Ok(false),
                Err(error) => Err(text(&error)),
            }
        }
    }

    /// An error's words. Some errors carry what was read; those show none of it.
    fn text(error: &Error) -> String {
        match error {
            Error::BadEncoding(_) | Error::BadDataFormat(..) => "an item is damaged".to_owned(),
            Error::Ambiguous(_) => "several items have one name".to_owned(),
            other => other.to_string(),
        }
    }
}

#[cfg(not(feature = "keychain"))]
mod none {
    use super::{Bytes, ITEM_SIZE, NAME, Vault};

    const NO_KEYCHAIN: &str =
        "this build of mcp-bridge does without; build it with --features keychain";

    /// No keychain.
    #[derive(Default)]
    pub(in super::super) struct System {}

    impl Vault for System {
        fn name(&self) -> &'static str {
            NAME
        }

        fn item_size(&self) -> usize {
            ITEM_SIZE
        }

        fn read(&self, _item: &str) -> Result<Option<Bytes>, String> {
            Err(NO_KEYCHAIN.to_owned())
        }

        fn write(&self, _item: &str, _bytes: &[u8]) -> Result<(), String> {
            Err(NO_KEYCHAIN.to_owned())
        }

        fn remove(&self, _item: &str) -> Result<bool, String> {
            Err(NO_KEYCHAIN.to_owned())
        }
    }
}

#[cfg(not(feature = "keychain"))]
pub(super) use self::none::System;
#[cfg(feature = "keychain")]
pub(super) use self::real::System;
