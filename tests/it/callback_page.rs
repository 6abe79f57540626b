//! What a person sees in a real browser at the end of the sign-in: headless Chromium loads the
//! callback address, and its own account of the page is read.
//!
//! In: the library's listener and its pages. Out: a whole sign-in.
//!
//! These tests need Chromium, so that plain `cargo test` passes over them; the gate brings one and
//! runs them.

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use mcp_bridge::edge::callback::Listener;
use mcp_bridge::edge::callback::page::Page;
use mcp_bridge::proto::auth::authorize::Pending;
use mcp_bridge::proto::auth::callback::Outcome;
use mcp_bridge::proto::auth::client::{Client, ClientAuth, Provenance, Registered};
use mcp_bridge::proto::auth::metadata::ServerMetadata;
use url::Url;

/// A cold start of Chromium on a busy machine is slow.
const DEADLINE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "needs Chromium in PATH"]
fn c30_the_browser_says_that_the_sign_in_is_complete() {
    let seen = seen("code=canary-code", Page::SignedIn);
    assert!(seen.contains("<h1>Signed in</h1>"), "{seen}");
    assert!(seen.contains("You can close this tab and go back to your application."));
    assert!(
        seen.contains("<title>Signed in – mcp-bridge</title>"),
        "{seen}"
    );
    assert_plain(&seen);
}

#[test]
#[ignore = "needs Chromium in PATH"]
fn c30_the_browser_says_that_the_sign_in_failed_and_where_to_look() {
    let query = "error=%3Cscript%3Edocument.title%3D1%3C%2Fscript%3E&error_description=canary-text";
    let seen = seen(query, Page::Failed);
    assert!(seen.contains("<h1>Sign-in did not complete</h1>"), "{seen}");
    assert!(seen.contains("Go back to your application."), "{seen}");
    assert_plain(&seen);
}

#[test]
#[ignore = "needs Chromium in PATH"]
fn c30_the_browser_claims_nothing_that_is_not_known() {
    let seen = seen("code=canary-code", Page::Elsewhere);
    assert!(seen.contains("<h1>Look at your application</h1>"), "{seen}");
    assert!(!seen.contains("Signed in"), "{seen}");
    assert_plain(&seen);
}

/// Nothing of the request, nothing that runs or loads.
fn assert_plain(seen: &str) {
    for foreign in ["canary", "<script", "src=", "href="] {
        assert!(!seen.contains(foreign), "{foreign} in {seen}");
    }
    assert!(seen.contains("lang=\"en\""), "{seen}");
}

/// The page as Chromium has it after the outcome was told.
fn seen(query: &str, page: Page) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let dump = home.path().join("dump");
    runtime.block_on(async {
        let mut listener = Listener::bind("localhost", &[0]).await.unwrap();
        let address = format!("http://localhost:{}/cb?{query}&state=s", listener.port());
        let mut browser = Killed(
            Command::new(chromium())
                .args([
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--disable-dev-shm-usage",
                    "--no-first-run",
                    "--no-proxy-server",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    "--dump-dom",
                ])
                .arg(format!("--user-data-dir={}", home.path().display()))
                .arg(&address)
                .stdin(Stdio::null())
                .stdout(std::fs::File::create(&dump).unwrap())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let pending = pending();
        let sign_in = async {
            let (outcome, waiting) = listener.wait(&pending, "/cb").await;
            if page == Page::Failed {
                assert!(matches!(outcome, Outcome::Failed(..)));
            } else {
                assert!(matches!(outcome, Outcome::Code(_)));
            }
            waiting.show(page).await;
            // Its icon is asked for, and whatever else a browser thinks of.
            let ended = async {
                while browser.0.try_wait().unwrap().is_none() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                (again, _) = listener.wait(&pending, "/cb") => panic!("came twice: {again:?}"),
                () = ended => {}
            }
        };
        let done = tokio::time::timeout(DEADLINE, sign_in).await;
        assert!(done.is_ok(), "Chromium did not end within {DEADLINE:?}");
    });
    std::fs::read_to_string(dump).unwrap()
}

fn chromium() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let program = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file());
    program.expect("no chromium, chromium-browser or google-chrome in PATH")
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pending() -> Pending {
    Pending {
        state: "s".into(),
        verifier: "verifier".into(),
        server: ServerMetadata {
            issuer: "https://as.example".into(),
            authorization_endpoint: Some(Url::parse("https://as.example/authorize").unwrap()),
            ..ServerMetadata::default()
        },
        client: Client {
            id: "client".into(),
            auth: ClientAuth::None,
            provenance: Provenance::Registered,
            redirect_uris: Vec::new(),
            issuer: None,
            scope: None,
            secret_expires_at: None,
            registered: Registered::default(),
        },
        redirect_uri: "http://localhost/cb".into(),
        resource: None,
        scope: None,
        since: SystemTime::now(),
    }
}
