//! What the commands about signing in need to know: `login`, `logout`, `status`.
//!
//! In: which part of the options each one uses. Out: what the options mean (the other files here).

use std::ffi::OsString;

use super::doctor::style;
use super::store::{StoreSettings, store};
use super::{Notice, OWN_AUTHORIZATION, Settings, log, network};
use crate::cli::{Cli, Logout, Status};
use crate::edge::http::settings::NetworkSettings;
use crate::edge::log::LogSettings;
use crate::error::Failure;
use crate::proto::auth::settings as auth;
use crate::proto::doctor::render::Style;

impl Settings {
    /// Gives the options of `login` their meaning: those of the bridge it signs in for, with
    /// [`Settings::sign_in`] there.
    ///
    /// # Errors
    /// As [`Settings::resolve`], and when the user's own `Authorization` header is used instead of
    /// a sign-in.
    pub fn resolve_login(
        cli: &Cli,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<Notice>), Failure> {
        let (settings, notices) = Self::resolve(cli, env)?;
        if settings.sign_in.is_none() {
            let failure = Failure::usage(OWN_AUTHORIZATION);
            return Err(failure.hint("leave the Authorization header out to sign in"));
        }
        Ok((settings, notices))
    }
}

/// What `logout` needs to know.
#[derive(Clone, Debug)]
pub struct LogoutSettings {
    /// Where to sign out.
    pub target: Target,
    /// Whether the registration is forgotten too.
    pub forget_client: bool,
    /// Whether documents may name addresses in private networks.
    pub allow_private_network: bool,
    /// Where sign-ins are kept.
    pub store: StoreSettings,
    /// For the HTTP client.
    pub network: NetworkSettings,
    /// For the log.
    pub log: LogSettings,
    /// How a terminal may be written on.
    pub style: Style,
}

/// Where to sign out.
#[derive(Clone, Debug)]
pub enum Target {
    /// At this server.
    One(Box<auth::Settings>),
    /// Everywhere.
    All,
}

impl LogoutSettings {
    /// Gives the options of `logout` their meaning.
    ///
    /// # Errors
    /// A [`Failure`] that names the option or variable and says what would be right.
    pub fn resolve(
        logout: &Logout,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<Notice>), Failure> {
        let cli = &logout.cli;
        let mut notices = Vec::new();
        let (target, store, network, log) = if logout.all {
            if !cli.url.is_empty() {
                let failure = Failure::usage("--all and a URL exclude each other");
                return Err(failure.hint("give one of them"));
            }
            (
                Target::All,
                store(&cli.sign_in.store, env, &mut notices)?,
                network(None, &cli.network, &cli.trust, env, &mut notices)?,
                log(&cli.output, env),
            )
        } else {
            // The sign-in is forgotten whatever is used instead of it today.
            let (settings, sign_in) = Settings::with_sign_in(cli, env, &mut notices)?;
            let target = Target::One(Box::new(sign_in));
            (target, settings.store, settings.network, settings.log)
        };
        let settings = Self {
            target,
            forget_client: logout.forget_client,
            allow_private_network: cli.sign_in.allow_private_network,
            store,
            network,
            log,
            style: style(env, cfg!(windows)),
        };
        Ok((settings, notices))
    }
}

/// What `status` needs to know.
#[derive(Clone, Debug)]
pub struct StatusSettings {
    /// Whether to print JSON.
    pub json: bool,
    /// Where sign-ins are kept.
    pub store: StoreSettings,
    /// For the log.
    pub log: LogSettings,
    /// How a terminal may be written on.
    pub style: Style,
}

impl StatusSettings {
    /// Gives the options of `status` their meaning.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and says what would be right.
    pub fn resolve(
        status: &Status,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<Notice>), Failure> {
        let mut notices = Vec::new();
        let settings = Self {
            json: status.json,
            store: store(&status.store, env, &mut notices)?,
            log: log(&status.output, env),
            style: style(env, cfg!(windows)),
        };
        Ok((settings, notices))
    }
}
