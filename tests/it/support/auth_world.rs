//! Everything that a sign-in takes, put together.
//!
//! In: an authorization server, an MCP server that wants its tokens, a home, a browser. Out: each
//! of them (`authority`, `authority_guard`, `home`, `launcher`).

use std::sync::Arc;

use super::authority::{AuthServer, Rules};
use super::authority_guard::{Door, Guard};
use super::bridge::{Bridge, Launch};
use super::home::Home;
use super::launcher::{Browser, Launcher};
use super::legacy::{Legacy, LegacyRemote};
use super::person::Person;

/// A world in which one person signs in to one MCP server. Bridges started in it share its home.
pub(crate) struct AuthWorld {
    /// The MCP server.
    pub(crate) remote: LegacyRemote,
    /// Its doorkeeper.
    pub(crate) guard: Guard,
    /// The authorization server.
    pub(crate) auth: AuthServer,
    /// The home of every bridge.
    pub(crate) home: Arc<Home>,
    /// The browser of every bridge.
    pub(crate) launcher: Launcher,
}

/// A world of the usual kind: every request needs a token, metadata stands behind the path, the
/// browser opens and the person agrees.
pub(crate) fn auth_world() -> AuthWorld {
    AuthWorld::with(Legacy::sessions(), |_| {}, |_| {})
}

impl AuthWorld {
    /// A world around this MCP server, with other rules for signing in and for the door.
    pub(crate) fn with(
        legacy: Legacy,
        rules: impl FnOnce(&mut Rules),
        door: impl FnOnce(&mut Door),
    ) -> Self {
        let auth = AuthServer::with(rules);
        let guard = Guard::of(&auth);
        guard.door(door);
        Self::around(legacy, auth, guard)
    }

    /// A world of these parts.
    pub(crate) fn around(legacy: Legacy, auth: AuthServer, guard: Guard) -> Self {
        Self {
            remote: legacy.guarded(&guard).start(),
            guard,
            auth,
            home: Arc::new(Home::new()),
            launcher: Launcher::new(Browser::Follows),
        }
    }

    /// Takes another browser.
    pub(crate) fn browser(mut self, browser: Browser) -> Self {
        self.launcher = Launcher::new(browser);
        self
    }

    /// Takes another person, with a browser that opens.
    pub(crate) fn person(mut self, person: Person) -> Self {
        self.launcher = Launcher::with_person(Browser::Follows, person);
        self
    }

    /// A bridge to the MCP server, with the browser at hand.
    pub(crate) fn bridge(&self) -> Launch {
        self.bridge_to(&self.remote.url())
    }

    /// As [`bridge`](Self::bridge), to another address.
    pub(crate) fn bridge_to(&self, url: &str) -> Launch {
        self.launcher.on(Bridge::to(url)).home(&self.home)
    }

    /// A bridge without a browser: the link stands on stderr alone, for [`Person::sign_in`].
    pub(crate) fn headless(&self) -> Launch {
        Bridge::to(&self.remote.url())
            .args(["--no-browser"])
            .home(&self.home)
    }

    /// The program with a subcommand, such as `["login", url]`, in this world.
    pub(crate) fn command<const N: usize>(&self, words: [&str; N]) -> Launch {
        self.launcher.on(Bridge::command(words)).home(&self.home)
    }

    /// Ends what the server keeps in memory, as its new start does: registrations and tokens.
    pub(crate) fn restart_servers(&self) {
        self.auth.forget_everything();
        self.remote.expire_sessions(super::Refusal::NotFound);
        self.remote.drop_connections();
    }
}
