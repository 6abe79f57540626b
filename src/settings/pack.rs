//! What `pack` needs to know.
//!
//! In: checking the words and options of the command line that goes into the extension. Out: what
//! the options mean when it is used (the other files here), how the extension says it
//! ([`crate::proto::mcpb`]).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use url::Url;

use super::variables::Variables;
use super::{headers, remote_url};
use crate::cli::config_file::read_text;
use crate::cli::{Cli, HeaderSource, Pack, Parsed, Secret, Typed};
use crate::error::Failure;
use crate::proto::clients::secrets::{self, Literal};
use crate::proto::mcpb::{self, Given, Launch, NAME_CHARS, Unfit};

/// How the name of an extension's file ends: clients know it by that.
const SUFFIX: &str = "mcpb";

/// What `pack` needs to know.
#[derive(Clone, Debug)]
pub struct PackSettings {
    /// The server's address, without secrets.
    pub url: Url,
    /// Name of the extension, for people.
    pub name: String,
    /// How the program is started.
    pub launch: Launch,
    /// The certificates of [`Launch::certificates`], PEM.
    pub certificates: Vec<String>,
    /// The file to write.
    pub output: PathBuf,
}

impl PackSettings {
    /// Gives the options of `pack` their meaning.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and says what would be right.
    pub fn resolve(pack: &Pack) -> Result<Self, Failure> {
        let output = output(pack)?;
        refuse_secrets(pack)?;
        refuse_variables(pack)?;
        let cli = as_the_bridge_reads_it(pack)?;
        let url = remote_url(cli.url.reveal(), cli.network.allow_http)?;
        let inline = |source: &&HeaderSource| matches!(source, HeaderSource::Inline(_));
        let inline: Vec<_> = cli.headers.sources.iter().filter(inline).cloned().collect();
        headers::fixed(&inline, &mut Variables::new(&|_| None), &mut Vec::new())?;
        let host = url.host_str().unwrap_or_default();
        let words: Vec<_> = pack.words.iter().map(reveal).collect();
        let options: Vec<_> = pack.typed.iter().map(given).collect();
        let launch = mcpb::launch(&words, host, &options).map_err(|problem| unfit(&problem))?;
        let certificates = launch.certificates.iter().map(|path| certificates(path));
        let certificates = certificates.collect::<Result<_, _>>()?;
        let name = name(pack)?.unwrap_or_else(|| host.to_owned());
        Ok(Self {
            url,
            name,
            launch,
            certificates,
            output,
        })
    }
}

fn output(pack: &Pack) -> Result<PathBuf, Failure> {
    let extension = pack.output.extension().and_then(|text| text.to_str());
    if extension.is_some_and(|text| text.eq_ignore_ascii_case(SUFFIX)) {
        return Ok(pack.output.clone());
    }
    let what = "--output must name a file that ends in .mcpb, by which Claude Desktop knows it";
    let stem = pack.output.file_stem().and_then(|stem| stem.to_str());
    let better = match stem {
        Some(stem) if !stem.starts_with('.') => pack.output.with_extension(SUFFIX),
        _ => pack.output.with_file_name(format!("server.{SUFFIX}")),
    };
    Err(Failure::usage(what).hint(format!("write --output {}", better.display())))
}

fn name(pack: &Pack) -> Result<Option<String>, Failure> {
    let Some(name) = &pack.name else {
        return Ok(None);
    };
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS {
        let what = format!("--name must have 1 to {NAME_CHARS} characters");
        return Err(Failure::usage(what));
    }
    if name.chars().any(char::is_control) {
        let what = "--name must be one line, without control characters";
        return Err(Failure::usage(what));
    }
    Ok(Some(name.to_owned()))
}

/// Whoever has the file can read everything in it.
fn refuse_secrets(pack: &Pack) -> Result<(), Failure> {
    let address = pack.words.first().map_or("", Secret::reveal);
    let options = pack.typed.iter();
    let options =
        options.filter_map(|option| Some((&*option.name, option.value.as_ref()?.reveal())));
    match secrets::find(address, options) {
        Some(Literal { what, way_out }) => {
            let what = format!("{what}, and everything in an extension can be read");
            Err(Failure::usage(what).hint(way_out))
        }
        None => Ok(()),
    }
}

/// The bridge replaces nothing in an address, and a client would put its own folders there.
fn refuse_variables(pack: &Pack) -> Result<(), Failure> {
    if pack.words.iter().any(|word| word.reveal().contains("${")) {
        let what = "the address holds ${…}, and nothing is replaced in an address";
        return Err(Failure::usage(what).hint("write the whole address out"));
    }
    Ok(())
}

/// The command line, read as the bridge will read it.
fn as_the_bridge_reads_it(pack: &Pack) -> Result<Cli, Failure> {
    // A settings file is asked for where the extension is set up: the one here does not matter.
    let options = pack.typed.iter().filter(|option| option.name != "config");
    let args = options
        .flat_map(Typed::args)
        .chain(pack.words.iter().map(reveal));
    let args = std::iter::once("mcp-bridge".to_owned()).chain(args);
    match Parsed::read(args.map(OsString::from), &|_| None)? {
        Parsed::Run(cli) => Ok(*cli),
        _ => Err(Failure::usage("the URL of the server is missing")
            .hint("write it first: mcp-bridge pack URL")),
    }
}

fn reveal(word: &Secret) -> String {
    word.reveal().to_owned()
}

fn given(option: &Typed) -> Given {
    Given {
        name: option.name.clone(),
        value: option.value.clone(),
        is_path: option.is_path,
    }
}

fn unfit(problem: &Unfit) -> Failure {
    let next = match problem {
        Unfit::Taken { .. } => "give the variable another name".to_owned(),
        Unfit::Name { .. } => "write it like ${EXAMPLE_TOKEN}".to_owned(),
        Unfit::File { option } if option == "--log-file" => {
            "name a folder that every machine has: '${HOME}/mcp-bridge.log'".to_owned()
        }
        Unfit::File { option } => {
            format!("write {option} @FILE, and the extension asks for that file when it is set up")
        }
    };
    Failure::usage(problem.to_string()).hint(next)
}

/// Certificates to trust. They are public; a key beside them would not be.
fn certificates(path: &Path) -> Result<String, Failure> {
    let text = read_text(path, "--ca-cert").map_err(Failure::usage)?;
    let wrong = |what: &str, next: &str| {
        Failure::usage(format!("--ca-cert {}: {what}", path.display())).hint(next)
    };
    if text.contains("PRIVATE KEY-----") {
        return Err(wrong(
            "there is a private key in the file, and everything in an extension can be read",
            "put the certificates into a file of their own",
        ));
    }
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(wrong(
            "there is no certificate in the file",
            "name a PEM file: its text has a line -----BEGIN CERTIFICATE-----",
        ));
    }
    Ok(text)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests make the files they read"
)]
mod tests {
    use super::*;

    const TOKEN: &str = "Authorization: Bearer ${TOKEN}";

    fn read(args: &[&str]) -> Result<PackSettings, Failure> {
        let args = ["mcp-bridge", "pack"]
            .iter()
            .chain(args)
            .map(OsString::from);
        match Parsed::read(args, &|_| None)? {
            Parsed::Pack(pack) => PackSettings::resolve(&pack),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(args: &[&str]) -> String {
        let failure = read(args).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    }

    #[test]
    fn a_name_and_a_file_have_defaults() {
        let settings = read(&["https://mcp.example.com/mcp"]).unwrap();
        assert_eq!(settings.name, "mcp.example.com");
        assert_eq!(settings.output, PathBuf::from("server.mcpb"));
        assert_eq!(settings.launch.args, ["https://mcp.example.com/mcp"]);
        let named = ["https://e.com/", "3334", "--name", " Wiki ", "-o", "a.MCPB"];
        let settings = read(&named).unwrap();
        assert_eq!(settings.name, "Wiki");
        assert_eq!(settings.output, PathBuf::from("a.MCPB"));
        assert_eq!(settings.launch.args, ["https://e.com/", "3334"]);
    }

    #[test]
    fn only_the_suffix_of_extensions_is_written() {
        for (file, next) in [
            ("notes.txt", "notes.mcpb"),
            ("x", "x.mcpb"),
            ("a.zip", "a.mcpb"),
            ("folder/a.zip", "--output folder/a.mcpb"),
            ("folder/.mcpb", "--output folder/server.mcpb"),
            ("..", "--output ../server.mcpb"),
        ] {
            let text = refusal(&["https://e.com/", "-o", file]);
            assert!(text.contains(".mcpb") && text.contains(next), "{text}");
        }
    }

    #[test]
    fn what_the_bridge_would_refuse_is_refused_here() {
        for (args, wanted) in [
            (&["http://e.com/"][..], "--allow-http"),
            (&["e.com"], "https://"),
            (&["https://e.com/", "99999"], "1 to 65535"),
            (&["https://e.com/", "--header", "canary"], "no colon"),
            (&["https://e.com/", "--header", "ca nary: ${X}"], "--header"),
            (&["https://e.com/", "--ignore-tol", "x"], "--ignore-tool"),
            (&["https://e.com/", "--name", " "], "--name"),
            (&["https://e.com/", "--name", "a\nb"], "one line"),
            (&["https://e.com/${HOME}/mcp"], "the whole address"),
            (&["https://${HOST}/"], "the whole address"),
        ] {
            let text = refusal(args);
            assert!(text.contains(wanted), "{args:?}: {text}");
            assert!(!text.contains("canary"), "{text}");
        }
        assert!(read(&["http://e.com/", "--allow-http"]).is_ok());
    }

    #[test]
    fn secrets_are_refused_and_not_quoted() {
        let inline = r#"{"client_id": "x", "client_secret": "canary0123456789"}"#;
        for args in [
            &["https://e.com/", "--header", "Authorization: Bearer canary"][..],
            &["https://u:canary@e.com/"],
            &["https://e.com/?api_key=canary"],
            &["https://e.com/", "--static-oauth-client-info", inline],
            &[
                "https://e.com/",
                "--proxy",
                "http://u:canary@p.example:3128",
            ],
        ] {
            let text = refusal(args);
            assert!(text.contains("can be read"), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
        let settings = read(&["https://e.com/", "--header", TOKEN]).unwrap();
        assert_eq!(settings.launch.env["TOKEN"], "${user_config.TOKEN}");
    }

    #[test]
    fn a_settings_file_of_this_machine_need_not_be_there() {
        let settings = read(&["https://e.com/", "--config", "/no/such/file"]).unwrap();
        assert_eq!(
            settings.launch.args,
            ["https://e.com/", "--config", "${user_config.config}"]
        );
    }

    #[test]
    fn certificates_are_taken_along_and_keys_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let path = path.to_str().unwrap();
        let args = ["https://e.com/", "--ca-cert", path];
        let text = refusal(&args);
        assert!(
            text.contains("--ca-cert") && text.contains("ca.pem"),
            "{text}"
        );
        std::fs::write(path, "no certificate").unwrap();
        assert!(refusal(&args).contains("no certificate"));
        let certificate = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        std::fs::write(path, certificate).unwrap();
        assert_eq!(read(&args).unwrap().certificates, [certificate]);
        let key = "-----BEGIN PRIVATE KEY-----\ncanary\n";
        std::fs::write(path, [certificate, key].concat()).unwrap();
        let text = refusal(&args);
        assert!(text.contains("private key"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn what_cannot_be_carried_over_is_named_with_a_way_out() {
        for (args, wanted) in [
            (["--header", "X-Home: ${HOME}"], "another name"),
            (["--header", "X-Key: ${A:-b}"], "${EXAMPLE_TOKEN}"),
            (["--log-file", "/var/log/x"], "${HOME}/"),
            (
                [
                    "--static-oauth-client-info",
                    r#"{"client_id": "x", "private_key_pem": "@/etc/key.pem"}"#,
                ],
                "--static-oauth-client-info @FILE",
            ),
        ] {
            let text = refusal(&[&["https://e.com/"], &args[..]].concat());
            assert!(text.contains(wanted) && text.contains(args[0]), "{text}");
        }
    }
}
