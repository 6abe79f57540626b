//! Parses arguments, builds the runtime, turns the outcome into an exit code.

use std::process::ExitCode;

use mcp_bridge::cli::{Cli, Parsed};
use mcp_bridge::commands;
use mcp_bridge::edge::log;
use mcp_bridge::error::Failure;
use mcp_bridge::proto::Level;
use mcp_bridge::settings::Settings;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn start() -> Result<ExitCode, Failure> {
    #[expect(clippy::disallowed_methods, reason = "the environment enters here")]
    let env = |name: &str| std::env::var_os(name);
    let cli = match Cli::read(std::env::args_os(), &env)? {
        Parsed::Run(cli) => cli,
        Parsed::Answer(answer) => {
            // Help and version; a closed stdout changes nothing.
            let _ = answer.print();
            return Ok(ExitCode::SUCCESS);
        }
    };
    let (settings, notices) = Settings::resolve(&cli, &env)?;
    let _guard = log::init(&settings.log);
    for notice in notices {
        log::say(notice.level, &notice.text);
    }
    // What was being handled when a fault of ours shows may be secret: only the place is said.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        log::say(
            Level::Error,
            &format!("internal error at {place}; please report it"),
        );
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(commands::run::run(settings));
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}
