//! `pack`.
//!
//! In: putting manifest, program and certificates into one file, words about it. Out: what the
//! manifest says ([`crate::proto::mcpb`]), the archive ([`crate::edge::archive`]).

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::print;
use crate::edge::archive::{self, Content, Entry, Problem, Written};
use crate::error::Failure;
use crate::proto::mcpb::{self, About, Field, Platform};
use crate::proto::text::{public_url, sanitize};
use crate::settings::PackSettings;

/// Longest path that is printed, in characters.
const PATH_CHARS: usize = 1000;

/// Writes an extension for Claude Desktop: this program, and the address it connects to.
///
/// # Errors
/// A [`Failure`] when there are no extensions for this system, or a file cannot be read or written.
pub fn run(settings: PackSettings) -> Result<(), Failure> {
    let system = std::env::consts::OS;
    let platform = Platform::of(system).ok_or_else(|| {
        Failure::runtime(format!("there are no extensions for {system}"))
            .hint("run `mcp-bridge pack` on macOS, Windows or Linux")
    })?;
    let PackSettings {
        url,
        name,
        launch,
        certificates,
        output,
    } = settings;
    let about = About {
        name,
        server: public_url(&url),
        host: url.host_str().unwrap_or_default().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform,
        architecture: std::env::consts::ARCH.to_owned(),
    };
    let manifest = mcpb::manifest(&about, &launch)
        .map_err(|error| Failure::runtime(format!("the manifest cannot be written: {error}")))?;
    let entries = entries(manifest, program()?, platform, certificates);
    let written = archive::write(&output, &entries).map_err(|problem| failure(&problem))?;
    print(&words(&output, &about, &launch.fields, written))
}

fn entries(
    manifest: String,
    program: PathBuf,
    platform: Platform,
    certificates: Vec<String>,
) -> Vec<Entry> {
    let mut entries = vec![
        Entry {
            name: "manifest.json".to_owned(),
            content: Content::Bytes(manifest.into_bytes()),
            executable: false,
        },
        Entry {
            name: platform.program().to_owned(),
            content: Content::Copy(program),
            executable: true,
        },
    ];
    let certificates = certificates.into_iter().enumerate();
    entries.extend(certificates.map(|(place, text)| Entry {
        name: mcpb::certificate_name(place),
        content: Content::Bytes(text.into_bytes()),
        executable: false,
    }));
    entries
}

/// The file that is running.
fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| {
        Failure::runtime(format!("the program's own file cannot be found: {error}"))
            .hint("start it by its whole path")
    })
}

fn failure(problem: &Problem) -> Failure {
    let failure = Failure::file(problem.to_string());
    let Problem::Write { error, .. } = problem else {
        return failure;
    };
    match error.kind() {
        ErrorKind::NotFound => failure.hint("make the folder first, or name another file"),
        ErrorKind::StorageFull => failure.hint("free some space, or name a file on another disk"),
        _ => failure.hint("name a file in a folder of yours: --output FILE"),
    }
}

fn words(output: &Path, about: &About, fields: &[Field], written: Written) -> String {
    let system = about.platform.title();
    let processor = about.platform.processor(&about.architecture);
    let path = sanitize(&output.display().to_string(), PATH_CHARS);
    let verb = if written.replaced {
        "replaced"
    } else {
        "written"
    };
    let mut text = format!(
        "{path} {verb} ({}): a Claude Desktop extension named \"{}\" that connects to {}.\n\n",
        megabytes(written.bytes),
        sanitize(&about.name, mcpb::NAME_CHARS),
        about.server
    );
    if !fields.is_empty() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "When it is installed, it asks for:");
        for field in fields {
            let _ = writeln!(text, "  {} - {}", field.title, field.description);
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "To install it, double-click the file, or drag it into Claude Desktop: Settings, \
         Extensions.\nIt is for {system} on {processor} processors alone. For other systems, run this \
         command there."
    );
    text
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
