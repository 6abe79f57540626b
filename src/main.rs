//! Parses arguments, builds the runtime, turns the outcome into an exit code.

use std::process::ExitCode;

use mcp_bridge::cli::Parsed;
use mcp_bridge::commands;
use mcp_bridge::edge::log::{self, LogSettings};
use mcp_bridge::edge::memory;
use mcp_bridge::error::{Failure, FailureKind};
use mcp_bridge::proto::doctor::Mark;
use mcp_bridge::settings::{
    DoctorSettings, InstallSettings, LogoutSettings, Notice, PackSettings, Settings,
    StatusSettings, UninstallSettings,
};

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn start() -> Result<ExitCode, Failure> {
    memory::keep_off_disk();
    #[expect(clippy::disallowed_methods, reason = "the environment enters here")]
    let env = |name: &str| std::env::var_os(name);
    match Parsed::read(std::env::args_os(), &env)? {
        Parsed::Answer(answer) => {
            // Help and version; a closed stdout changes nothing.
            let _ = answer.print();
            Ok(ExitCode::SUCCESS)
        }
        Parsed::Run(cli) => {
            let (settings, notices) = Settings::resolve(&cli, &env)?;
            work(&settings.log.clone(), notices, commands::run::run(settings))
        }
        Parsed::Login(cli) => {
            let (settings, notices) = Settings::resolve_login(&cli, &env)?;
            work(
                &settings.log.clone(),
                notices,
                commands::login::run(settings),
            )
        }
        Parsed::Logout(logout) => {
            let (settings, notices) = LogoutSettings::resolve(&logout, &env)?;
            work(
                &settings.log.clone(),
                notices,
                commands::logout::run(settings),
            )
        }
        Parsed::Status(status) => {
            let (settings, notices) = StatusSettings::resolve(&status, &env)?;
            work(&settings.log.clone(), notices, async {
                commands::status::run(settings)
            })
        }
        Parsed::Doctor(doctor) => {
            let settings = DoctorSettings::resolve(&doctor, &env)?;
            let mark = perform(
                &settings.settings.log.clone(),
                Vec::new(),
                commands::doctor::run(settings),
            )?;
            // What is bad has been said.
            Ok(ExitCode::from(u8::from(mark == Mark::Bad)))
        }
        Parsed::Install(install) => {
            let settings = InstallSettings::resolve(&install, &env)?;
            work(&LogSettings::default(), Vec::new(), async {
                commands::install::run(settings)
            })
        }
        Parsed::Uninstall(uninstall) => {
            let settings = UninstallSettings::resolve(&uninstall, &env)?;
            work(&LogSettings::default(), Vec::new(), async {
                commands::uninstall::run(settings)
            })
        }
        Parsed::Pack(pack) => {
            let settings = PackSettings::resolve(&pack)?;
            work(&LogSettings::default(), Vec::new(), async {
                commands::pack::run(settings)
            })
        }
        Parsed::Completions(completions) => {
            commands::completions::run(completions)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a command that has done its job when it ends.
fn work(
    settings: &LogSettings,
    notices: Vec<Notice>,
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<ExitCode, Failure> {
    perform(settings, notices, command).map(|()| ExitCode::SUCCESS)
}

/// Runs a command to its end, with the log and the runtime that it needs.
fn perform<T>(
    settings: &LogSettings,
    notices: Vec<Notice>,
    command: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let _guard = log::init(settings);
    for notice in notices {
        log::say(notice.level, &notice.text);
    }
    // What was being handled when a fault of ours shows may be secret: only the place is said.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        log::alarm(&format!(
            "internal error at {place}; please report it [{}]",
            FailureKind::Internal.as_str()
        ));
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(command);
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    outcome
}
