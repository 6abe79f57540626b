//! The client: starts a stdio server, tries every feature of the matrix on it and prints one JSON
//! line for each. The features are in `client/features.rs`, the person, the model and the folders
//! behind the client in `client/person.rs`.

mod features;
mod person;

use std::error::Error;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService};
use rmcp::transport::TokioChildProcess;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use features::{FEATURES, Stop};
use person::{Host, Person};

/// How long connecting, one feature, and the end may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// How the connection is opened.
#[derive(Clone, Copy)]
pub enum Era {
    /// With `initialize`.
    Legacy,
    /// With `server/discover`.
    Modern,
    /// With `server/discover`, and with `initialize` where that fails.
    Auto,
}

impl Era {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "legacy" => Self::Legacy,
            "modern" => Self::Modern,
            "auto" => Self::Auto,
            _ => return None,
        })
    }

    fn lifecycle(self) -> ClientLifecycleMode {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        match self {
            Self::Legacy => ClientLifecycleMode::Initialize,
            Self::Modern => ClientLifecycleMode::Discover { preferred_versions },
            Self::Auto => ClientLifecycleMode::Auto {
                preferred_versions,
                legacy_version: None,
            },
        }
    }
}

/// One connection, and everything that was seen on it.
struct Session {
    running: RunningService<RoleClient, Host>,
    person: Arc<Person>,
    is_modern: bool,
}

/// Fails if the client cannot connect; the lines say the rest.
pub async fn run(era: Era, command: &str, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let session = match timeout(DEADLINE, connect(era, command, arguments)).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    };
    let session =
        session.inspect_err(|error| print("connect", &Err(Stop::Failed(error.clone()))))?;
    let landed = if session.is_modern {
        "modern"
    } else {
        "legacy"
    };
    print("connect", &Ok(landed.to_owned()));
    for feature in FEATURES {
        let tried = timeout(DEADLINE, session.run(feature)).await;
        print(
            feature,
            &tried.unwrap_or_else(|_| Err(Stop::Failed("not done in time".to_owned()))),
        );
    }
    timeout(DEADLINE, session.running.cancel()).await??;
    Ok(())
}

async fn connect(era: Era, command: &str, arguments: &[&str]) -> Result<Session, Box<dyn Error>> {
    let mut server = Command::new(command);
    server.args(arguments);
    let (transport, _) = TokioChildProcess::builder(server)
        .stderr(Stdio::inherit())
        .spawn()?;
    let person = Arc::new(Person::default());
    let running = Host(Arc::clone(&person))
        .serve_with_lifecycle(transport, era.lifecycle())
        .await?;
    let version = running
        .peer_info()
        .map(|info| info.protocol_version.clone());
    let is_modern = version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
    Ok(Session {
        running,
        person,
        is_modern,
    })
}

fn print(feature: &str, outcome: &Result<String, Stop>) {
    let line = match outcome {
        Ok(detail) => json!({ "feature": feature, "ok": true, "detail": detail }),
        Err(Stop::Failed(detail)) => json!({ "feature": feature, "ok": false, "detail": detail }),
        Err(Stop::Skipped(reason)) => json!({ "feature": feature, "skipped": reason }),
    };
    println!("{line}");
}
