//! Extensions for Claude Desktop: what the manifest of an MCP bundle says (MCPB manifest
//! specification 0.3, <https://github.com/modelcontextprotocol/mcpb/blob/main/MANIFEST.md>).
//!
//! In: which arguments, variables and questions a command line turns into, the manifest's text.
//! Out: whether the command line is good (`settings`), the archive (`edge`), literal secrets
//! ([`super::clients`]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::secret::Secret;
use super::text::sanitize;

/// Version of the specification that the manifest keeps to.
pub const MANIFEST_VERSION: &str = "0.3";

/// Longest name of an extension, in characters.
pub const NAME_CHARS: usize = 80;

/// Longest title or description, in characters.
const LINE_CHARS: usize = 300;

/// What a client replaces by itself in a command line, besides `user_config.KEY` (MCPB manifest
/// specification, Variable Substitution).
const OF_THE_CLIENT: [&str; 7] = [
    "__dirname",
    "HOME",
    "DESKTOP",
    "DOCUMENTS",
    "DOWNLOADS",
    "pathSeparator",
    "/",
];

/// Those of [`OF_THE_CLIENT`] that are folders of the person.
const FOLDERS: [&str; 4] = ["${HOME}/", "${DESKTOP}/", "${DOCUMENTS}/", "${DOWNLOADS}/"];

/// Options in which the program itself replaces `${VAR}`.
const EXPANDED: [&str; 3] = ["header", "static-oauth-client-info", "enterprise-idp"];

/// Options with one value that may be secret and in which nothing is replaced: the value goes
/// through the environment.
const THROUGH_THE_ENVIRONMENT: [&str; 2] = ["proxy", "static-oauth-client-metadata"];

/// Options whose value may be `@FILE`, and whose JSON may name files.
const DOCUMENTS: [&str; 4] = [
    "static-oauth-client-info",
    "static-oauth-client-metadata",
    "enterprise-idp",
    "workload-jwt",
];

/// Words of a variable's name that stay in capitals.
const ACRONYMS: [&str; 10] = [
    "API", "ID", "IDP", "JWT", "MCP", "PAT", "SSO", "URI", "URL", "UUID",
];

/// Makes an executable file of the program before it becomes it, where the client took that away:
/// Claude Desktop for macOS unpacks every file without (modelcontextprotocol/mcpb, issue 294).
const LAUNCH: &str = r#"[ -x "$0" ] || chmod u+x "$0"; exec "$0" "$@""#;

/// Families of systems that a bundle is for, as a manifest names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// macOS.
    Darwin,
    /// Windows.
    Win32,
    /// Linux.
    Linux,
}

/// One option of the bridge that goes into the extension.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its long name, without dashes.
    pub name: String,
    /// Its value; `None`: a switch. It may be secret.
    pub value: Option<Secret>,
    /// The value is the path of a file.
    pub is_path: bool,
}

/// How the program is started, and what is asked of the person for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Variables of the program.
    pub env: BTreeMap<String, String>,
    /// What is asked when the extension is set up.
    pub fields: Vec<Field>,
    /// Certificates to put into the bundle, each under [`certificate_name`] of its place here.
    pub certificates: Vec<PathBuf>,
}

/// One thing that is asked when the extension is set up. It has to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the manifest.
    pub key: String,
    /// What it is called.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// What kind of answer is wanted.
    pub kind: Kind,
}

/// Kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text that may be seen.
    Text,
    /// Text that is masked while it is typed, and kept in the system's keychain.
    Secret,
    /// A file of the person's machine.
    File,
}

/// What cannot go into an extension: an option, and why. No value is quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A variable's name is one that clients fill themselves.
    #[error("{option} uses ${{{name}}}, which means something else in an extension")]
    Taken {
        /// The option, with dashes.
        option: String,
        /// The variable.
        name: String,
    },
    /// A variable's name cannot be one.
    #[error("{option} uses a variable whose name is not made of letters, digits and _")]
    Name {
        /// The option, with dashes.
        option: String,
    },
    /// A file that is only on this machine.
    #[error("{option} names a file of this machine, which the extension would not find elsewhere")]
    File {
        /// The option, with dashes.
        option: String,
    },
}

/// What the manifest says about the extension, besides how it is started.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name for people.
    pub name: String,
    /// The server's address, fit to be shown.
    pub server: String,
    /// The host in it.
    pub host: String,
    /// Version of this program.
    pub version: String,
    /// What the program is built for.
    pub platform: Platform,
    /// Kind of processor that it is built for, by Rust's name for it.
    pub architecture: String,
}

impl Platform {
    /// The platform of a system, by Rust's name for it (`std::env::consts::OS`); `None`: manifests
    /// have no name for it.
    #[must_use]
    pub fn of(os: &str) -> Option<Self> {
        match os {
            "macos" => Some(Self::Darwin),
            "windows" => Some(Self::Win32),
            "linux" => Some(Self::Linux),
            _ => None,
        }
    }

    /// The name that people know.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Darwin => "macOS",
            Self::Win32 => "Windows",
            Self::Linux => "Linux",
        }
    }

    /// The name that people know for a kind of processor, by Rust's name for it
    /// (`std::env::consts::ARCH`).
    #[must_use]
    pub fn processor(self, architecture: &str) -> &str {
        match (self, architecture) {
            (Self::Darwin, "aarch64") => "Apple silicon",
            (Self::Darwin, "x86_64") => "Intel",
            (_, "aarch64") => "ARM64",
            (_, "x86_64") => "x86-64",
            (_, other) => other,
        }
    }

    /// Where in the bundle the program is.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Win32 => "server/mcp-bridge.exe",
            Self::Darwin | Self::Linux => "server/mcp-bridge",
        }
    }
}

/// Where in the bundle the certificate of that place is.
#[must_use]
pub fn certificate_name(place: usize) -> String {
    format!("certificates/{}.pem", place + 1)
}

/// Turns a command line into one that starts on another machine.
///
/// - `${VAR}` in a header or in the JSON of a client becomes a question whose answer goes into the
///   variable, so that it is in no list of processes.
/// - `${VAR}` in any other option becomes a question as well, for what is a choice.
/// - A file becomes a question for a file of that machine, except for certificates to trust, which
///   are public and go into the bundle.
///
/// `words` are the address and the port.
///
/// # Errors
/// An option that cannot be carried over.
pub fn launch(words: &[String], host: &str, options: &[Given]) -> Result<Launch, Unfit> {
    let mut launch = Launch {
        args: words.to_vec(),
        ..Launch::default()
    };
    for option in options {
        launch.add(host, option)?;
    }
    Ok(launch)
}

/// The text of `manifest.json`.
///
/// # Errors
/// None that is known: whatever the parts hold can be written as JSON.
pub fn manifest(about: &About, launch: &Launch) -> Result<String, serde_json::Error> {
    let program = about.platform.program();
    let path = format!("${{__dirname}}/{program}");
    let (command, args) = match about.platform {
        Platform::Win32 => (path, launch.args.clone()),
        Platform::Darwin | Platform::Linux => {
            let first = ["-c".to_owned(), LAUNCH.to_owned(), path];
            ("/bin/sh".to_owned(), [&first[..], &launch.args].concat())
        }
    };
    let line = |text: &str| sanitize(text, LINE_CHARS);
    let manifest = Manifest {
        specification: MANIFEST_VERSION,
        name: machine_name(&about.name, &about.host),
        display_name: sanitize(&about.name, NAME_CHARS),
        version: &about.version,
        description: line(&format!("Connects to the MCP server {}.", about.server)),
        long_description: line(&format!(
            "Connects to the remote MCP server {} and signs in where it asks for that. Contains \
             mcp-bridge {} for {} on {} processors.",
            about.server,
            about.version,
            about.platform.title(),
            about.platform.processor(&about.architecture)
        )),
        author: Author { name: "mcp-bridge" },
        server: Server {
            kind: "binary",
            entry_point: program,
            mcp_config: Start {
                command,
                args,
                env: &launch.env,
            },
        },
        tools_generated: true,
        prompts_generated: true,
        license: "MIT",
        compatibility: Compatibility {
            platforms: [about.platform],
        },
        user_config: &launch.fields,
    };
    serde_json::to_string_pretty(&manifest).map(|text| text + "\n")
}

impl Launch {
    fn add(&mut self, host: &str, given: &Given) -> Result<(), Unfit> {
        let name = &*given.name;
        let option = || format!("--{name}");
        let Some(value) = given.value.as_ref().map(Secret::reveal) else {
            self.args.push(option());
            return Ok(());
        };
        if name == "ca-cert" {
            let place = certificate_name(self.certificates.len());
            self.certificates.push(PathBuf::from(value));
            self.args
                .extend([option(), format!("${{__dirname}}/{place}")]);
            return Ok(());
        }
        if name == "log-file" {
            // Only the client knows folders that are there on any machine.
            if !FOLDERS.iter().any(|folder| value.starts_with(folder)) {
                return Err(Unfit::File { option: option() });
            }
            self.args.extend([option(), value.to_owned()]);
            return Ok(());
        }
        let is_document = DOCUMENTS.contains(&name);
        if given.is_path || (is_document && value.starts_with('@')) {
            let key = self.ask_for_file(name, host);
            let mark = if given.is_path { "" } else { "@" };
            self.args
                .extend([option(), format!("{mark}${{user_config.{key}}}")]);
            return Ok(());
        }
        if is_document && names_files(value) {
            return Err(Unfit::File { option: option() });
        }
        // What a shell or the client replaces is theirs.
        if name == "header-command" {
            self.args.extend(pair(name, value));
            return Ok(());
        }
        if EXPANDED.contains(&name) {
            for variable in own_variables(name, value)? {
                let description = match (name, value.split_once(':')) {
                    ("header", Some((header, _))) => {
                        format!("Sent to {host} in the header {}.", header.trim())
                    }
                    _ => format!("Needed for signing in at {host}."),
                };
                let key = self.ask(variable, &description, Kind::Secret);
                self.env
                    .insert(variable.to_owned(), format!("${{user_config.{key}}}"));
            }
            self.args.extend(pair(name, value));
            return Ok(());
        }
        let (kind, what) = if THROUGH_THE_ENVIRONMENT.contains(&name) {
            (Kind::Secret, "Goes into")
        } else {
            (Kind::Text, "Is used for")
        };
        let mut replaced = value.to_owned();
        for variable in check(name, value)? {
            let description = format!("{what} the setting \"{name}\" of the connection to {host}.");
            let key = self.ask(variable, &description, kind);
            let (from, to) = (
                format!("${{{variable}}}"),
                format!("${{user_config.{key}}}"),
            );
            replaced = replaced.replace(&from, &to);
        }
        if kind == Kind::Secret && replaced != value {
            let variable = format!("MCP_BRIDGE_{}", name.replace('-', "_").to_uppercase());
            self.env.insert(variable, replaced);
        } else {
            self.args.extend(pair(name, &replaced));
        }
        Ok(())
    }

    /// Asks for a variable's value, once; the key of the answer.
    fn ask(&mut self, variable: &str, description: &str, kind: Kind) -> String {
        let known = |field: &&mut Field| field.key == variable && field.kind != Kind::File;
        if let Some(field) = self.fields.iter_mut().find(known) {
            if kind == Kind::Secret {
                field.kind = kind;
            }
            return field.key.clone();
        }
        self.field(variable, &title(variable), description, kind)
    }

    /// Asks for the file of an option; the key of the answer.
    fn ask_for_file(&mut self, option: &str, host: &str) -> String {
        let (title, what) = match option {
            "header-file" => ("Headers file", "one \"Name: value\" per line, sent"),
            "client-cert" => (
                "Client certificate",
                "your certificate (PEM) for signing in",
            ),
            "client-key" => ("Private key", "the private key (PEM) for signing in"),
            "config" => ("Settings file", "settings (TOML) for the connection"),
            "workload-jwt" => ("Token file", "the token for signing in"),
            _ => ("Sign-in file", "the JSON for signing in"),
        };
        let description = format!("A file with {what} to {host}.");
        let key = option.replace('-', "_");
        self.field(&key, title, &description, Kind::File)
    }

    fn field(&mut self, key: &str, title: &str, description: &str, kind: Kind) -> String {
        let taken = |key: &str| self.fields.iter().any(|field| field.key == key);
        let mut free = key.to_owned();
        let mut number = 1;
        while taken(&free) {
            number += 1;
            free = format!("{key}_{number}");
        }
        let title = if number == 1 {
            title.to_owned()
        } else {
            format!("{title} {number}")
        };
        self.fields.push(Field {
            key: free.clone(),
            title: sanitize(&title, LINE_CHARS),
            description: sanitize(description, LINE_CHARS),
            kind,
        });
        free
    }
}

/// Name and value as two arguments, or one where the value looks like an option.
fn pair(name: &str, value: &str) -> Vec<String> {
    if value.starts_with('-') {
        vec![format!("--{name}={value}")]
    } else {
        vec![format!("--{name}"), value.to_owned()]
    }
}

/// The variables in a text that are not the client's own. The syntax is that of the headers:
/// everything between `${` and the next `}`.
fn check<'a>(option: &str, text: &'a str) -> Result<Vec<&'a str>, Unfit> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}').filter(|(name, _)| !name.is_empty()) else {
            rest = after;
            continue;
        };
        rest = tail;
        if OF_THE_CLIENT.contains(&name) {
            continue;
        }
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if !name.chars().all(is_part) || name.starts_with(|first: char| first.is_ascii_digit()) {
            let option = format!("--{option}");
            return Err(Unfit::Name { option });
        }
        if !found.contains(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

/// As [`check`], where the program replaces variables: a client must not do it before.
fn own_variables<'a>(option: &str, text: &'a str) -> Result<Vec<&'a str>, Unfit> {
    let of_the_client = OF_THE_CLIENT.into_iter();
    for name in of_the_client {
        if text.contains(&format!("${{{name}}}")) {
            let option = format!("--{option}");
            let name = name.to_owned();
            return Err(Unfit::Taken { option, name });
        }
    }
    check(option, text)
}

/// Whether a member of a JSON object is `@FILE`.
fn names_files(text: &str) -> bool {
    let members: Option<BTreeMap<String, serde_json::Value>> = serde_json::from_str(text).ok();
    let is_file = |value: &serde_json::Value| value.as_str().is_some_and(|it| it.starts_with('@'));
    members.is_some_and(|members| members.values().any(is_file))
}

/// A variable's name as words: `EXAMPLE_API_TOKEN` is `Example API token`.
fn title(variable: &str) -> String {
    let mut title = String::new();
    for word in variable.split('_').filter(|word| !word.is_empty()) {
        if !title.is_empty() {
            title.push(' ');
        }
        if ACRONYMS.contains(&word.to_ascii_uppercase().as_str()) {
            title.push_str(&word.to_ascii_uppercase());
        } else if title.is_empty() {
            let (first, rest) = word.split_at(1);
            title.push_str(&first.to_ascii_uppercase());
            title.push_str(&rest.to_ascii_lowercase());
        } else {
            title.push_str(&word.to_ascii_lowercase());
        }
    }
    if title.is_empty() {
        variable.to_owned()
    } else {
        title
    }
}

/// A name for programs: small letters and digits, with `-` between. Where a name has none of
/// these, the host's are taken.
fn machine_name(name: &str, host: &str) -> String {
    let slug = |text: &str| {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        words.join("-").to_ascii_lowercase()
    };
    [slug(name), slug(host)]
        .into_iter()
        .find(|slug| !slug.is_empty())
        .unwrap_or_else(|| "mcp-bridge".to_owned())
}

#[derive(Serialize)]
struct Manifest<'a> {
    #[serde(rename = "manifest_version")]
    specification: &'a str,
    name: String,
    display_name: String,
    version: &'a str,
    description: String,
    long_description: String,
    author: Author<'a>,
    server: Server<'a>,
    tools_generated: bool,
    prompts_generated: bool,
    license: &'a str,
    compatibility: Compatibility,
    #[serde(
        skip_serializing_if = "<[Field]>::is_empty",
        serialize_with = "questions"
    )]
    user_config: &'a [Field],
}

#[derive(Serialize)]
struct Author<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Server<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    entry_point: &'a str,
    mcp_config: Start<'a>,
}

#[derive(Serialize)]
struct Start<'a> {
    command: String,
    args: Vec<String>,
    env: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Compatibility {
    platforms: [Platform; 1],
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    description: &'a str,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitive: Option<bool>,
}

/// In the order of the command line.
fn questions<'a, S: Serializer>(fields: &'a [Field], serializer: S) -> Result<S::Ok, S::Error> {
    let question = |field: &'a Field| (&field.key, Question::from(field));
    serializer.collect_map(fields.iter().map(question))
}

impl<'a> From<&'a Field> for Question<'a> {
    fn from(field: &'a Field) -> Self {
        Self {
            kind: match field.kind {
                Kind::Text | Kind::Secret => "string",
                Kind::File => "file",
            },
            title: &field.title,
            description: &field.description,
            required: true,
            sensitive: (field.kind == Kind::Secret).then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn given(name: &str, value: &str) -> Given {
        Given {
            name: name.to_owned(),
            value: (!value.is_empty()).then(|| Secret::from(value)),
            is_path: ["header-file", "client-key", "config", "log-file", "ca-cert"].contains(&name),
        }
    }

    fn launched(options: &[(&str, &str)]) -> Launch {
        let options: Vec<_> = options
            .iter()
            .map(|(name, value)| given(name, value))
            .collect();
        launch(&["https://e.com/".to_owned()], "e.com", &options).unwrap()
    }

    fn refused(name: &str, value: &str) -> Unfit {
        launch(&[], "e.com", &[given(name, value)]).unwrap_err()
    }

    fn keys(launch: &Launch) -> Vec<(&str, Kind)> {
        let fields = launch.fields.iter();
        fields.map(|field| (&*field.key, field.kind)).collect()
    }

    fn written(platform: Platform, name: &str, options: &[(&str, &str)]) -> Value {
        let about = About {
            name: name.to_owned(),
            server: "https://e.com/".to_owned(),
            host: "e.com".to_owned(),
            version: "1.2.3".to_owned(),
            platform,
            architecture: "aarch64".to_owned(),
        };
        serde_json::from_str(&manifest(&about, &launched(options)).unwrap()).unwrap()
    }

    #[test]
    fn plain_options_stay_as_they_were_typed() {
        let launch = launched(&[("read-only", ""), ("transport", "sse-only"), ("host", "-x")]);
        assert_eq!(
            launch.args,
            [
                "https://e.com/",
                "--read-only",
                "--transport",
                "sse-only",
                "--host=-x"
            ]
        );
        assert_eq!((launch.env.len(), launch.fields.len()), (0, 0));
    }

    #[test]
    fn variables_of_headers_are_asked_for_and_stay_out_of_the_arguments() {
        let launch = launched(&[
            ("header", "Authorization: Bearer ${API_TOKEN}"),
            ("header", "X-Two: ${API_TOKEN}${OTHER}"),
        ]);
        assert_eq!(launch.args[2], "Authorization: Bearer ${API_TOKEN}");
        assert_eq!(
            keys(&launch),
            [("API_TOKEN", Kind::Secret), ("OTHER", Kind::Secret)]
        );
        assert_eq!(launch.env["API_TOKEN"], "${user_config.API_TOKEN}");
        assert_eq!(launch.env["OTHER"], "${user_config.OTHER}");
        assert_eq!(launch.fields[0].title, "API token");
        let description = &launch.fields[0].description;
        assert!(description.contains("Authorization") && description.contains("e.com"));
    }

    #[test]
    fn variables_elsewhere_are_choices() {
        let launch = launched(&[
            ("resource", "https://${TENANT}.e.com/"),
            ("host", "${TENANT}"),
        ]);
        assert_eq!(launch.args[2], "https://${user_config.TENANT}.e.com/");
        assert_eq!(launch.args[4], "${user_config.TENANT}");
        assert_eq!(keys(&launch), [("TENANT", Kind::Text)]);
        assert_eq!(launch.env.len(), 0);
        let launch = launched(&[("resource", "${TENANT}"), ("header", "X: ${TENANT}")]);
        assert_eq!(
            keys(&launch),
            [("TENANT", Kind::Secret)],
            "the careful side"
        );
    }

    #[test]
    fn what_may_be_secret_goes_through_the_environment() {
        let launch = launched(&[("proxy", "${PROXY}"), ("proxy", "http://p.example:1/")]);
        assert_eq!(launch.env["MCP_BRIDGE_PROXY"], "${user_config.PROXY}");
        assert_eq!(keys(&launch), [("PROXY", Kind::Secret)]);
        assert_eq!(launch.args[1..], ["--proxy", "http://p.example:1/"]);
    }

    #[test]
    fn files_are_asked_for_and_certificates_are_packed() {
        let launch = launched(&[
            ("header-file", "/secret/path"),
            ("header-file", "/secret/other"),
            ("enterprise-idp", "@/secret/idp"),
            ("ca-cert", "/etc/ca.pem"),
            ("log-file", "${HOME}/bridge.log"),
        ]);
        assert_eq!(
            launch.args[1..],
            [
                "--header-file",
                "${user_config.header_file}",
                "--header-file",
                "${user_config.header_file_2}",
                "--enterprise-idp",
                "@${user_config.enterprise_idp}",
                "--ca-cert",
                "${__dirname}/certificates/1.pem",
                "--log-file",
                "${HOME}/bridge.log",
            ]
        );
        assert!(keys(&launch).iter().all(|(_, kind)| *kind == Kind::File));
        assert_eq!(launch.certificates, [PathBuf::from("/etc/ca.pem")]);
        let answers = format!("{:?} {:?}", launch.fields, launch.args);
        assert!(!answers.contains("/secret"), "{answers}");
    }

    #[test]
    fn a_shell_command_keeps_its_own_variables() {
        let command = "Authorization: echo Bearer ${USER:-x}";
        let launch = launched(&[("header-command", command)]);
        assert_eq!(launch.args[2], command);
        assert_eq!(launch.fields, []);
    }

    #[test]
    fn what_would_mean_something_else_is_refused() {
        let option = "--header".to_owned();
        let name = "HOME".to_owned();
        assert_eq!(
            refused("header", "X: ${HOME}"),
            Unfit::Taken {
                option: option.clone(),
                name
            }
        );
        for wrong in ["X: ${A:-b}", "X: ${1A}", "X: ${A B}", "X: ${user_config.x}"] {
            assert_eq!(
                refused("header", wrong),
                Unfit::Name {
                    option: option.clone()
                }
            );
        }
        assert!(matches!(
            refused("log-file", "/var/log/x"),
            Unfit::File { .. }
        ));
        let nested = r#"{"private_key_pem": "@/etc/key"}"#;
        assert!(matches!(
            refused("static-oauth-client-info", nested),
            Unfit::File { .. }
        ));
    }

    #[test]
    fn the_manifest_starts_the_program_in_the_bundle() {
        let options = [("header", "X-Key: ${KEY}"), ("header-file", "x")];
        let windows = written(Platform::Win32, "My Wiki", &options);
        assert_eq!(windows["name"], "my-wiki");
        assert_eq!(windows["display_name"], "My Wiki");
        assert_eq!(windows["version"], "1.2.3");
        assert_eq!(windows["compatibility"], json!({"platforms": ["win32"]}));
        let server = &windows["server"];
        assert_eq!(server["type"], "binary");
        assert_eq!(server["entry_point"], "server/mcp-bridge.exe");
        let config = &server["mcp_config"];
        assert_eq!(config["command"], "${__dirname}/server/mcp-bridge.exe");
        assert_eq!(config["args"][0], "https://e.com/");
        assert_eq!(config["env"], json!({"KEY": "${user_config.KEY}"}));
        assert_eq!(
            windows["user_config"]["KEY"],
            json!({
                "type": "string",
                "title": "Key",
                "description": "Sent to e.com in the header X-Key.",
                "required": true,
                "sensitive": true,
            })
        );
        assert_eq!(windows["user_config"]["header_file"]["type"], "file");
        let plain = written(Platform::Win32, "x", &[]);
        assert_eq!(plain.get("user_config"), None);
    }

    #[test]
    fn where_there_are_modes_the_program_is_made_executable_first() {
        for (platform, name) in [(Platform::Darwin, "darwin"), (Platform::Linux, "linux")] {
            let manifest = written(platform, "x", &[]);
            let config = &manifest["server"]["mcp_config"];
            assert_eq!(config["command"], "/bin/sh");
            assert_eq!(config["args"][2], "${__dirname}/server/mcp-bridge");
            assert_eq!(config["args"][3], "https://e.com/");
            assert_eq!(manifest["server"]["entry_point"], "server/mcp-bridge");
            assert_eq!(manifest["compatibility"]["platforms"], json!([name]));
        }
    }

    #[test]
    fn processors_have_the_names_that_people_know() {
        for (platform, architecture, expected) in [
            (Platform::Darwin, "aarch64", "Apple silicon"),
            (Platform::Darwin, "x86_64", "Intel"),
            (Platform::Win32, "aarch64", "ARM64"),
            (Platform::Linux, "x86_64", "x86-64"),
            (Platform::Linux, "riscv64", "riscv64"),
        ] {
            assert_eq!(platform.processor(architecture), expected);
        }
        assert_eq!(Platform::of("macos"), Some(Platform::Darwin));
        assert_eq!(Platform::of("windows"), Some(Platform::Win32));
        assert_eq!(Platform::of("linux"), Some(Platform::Linux));
        assert_eq!(Platform::of("freebsd"), None);
    }

    #[test]
    fn names_for_programs_have_small_letters_and_digits() {
        for (name, expected) in [
            ("mcp.example.com", "mcp-example-com"),
            ("  Ünïted  Wiki 2 ", "n-ted-wiki-2"),
            ("維基", "e-com"),
            ("../..", "e-com"),
        ] {
            assert_eq!(machine_name(name, "e.com"), expected);
        }
        assert_eq!(machine_name("維基", "[::]"), "mcp-bridge");
    }

    #[test]
    fn titles_are_words() {
        for (variable, expected) in [
            ("EXAMPLE_API_TOKEN", "Example API token"),
            ("github_pat", "Github PAT"),
            ("__", "__"),
            ("x", "X"),
        ] {
            assert_eq!(title(variable), expected);
        }
    }

    #[test]
    fn what_is_shown_is_one_clean_line() {
        let name = "a\u{1b}[31m\nb".repeat(99);
        let manifest = written(Platform::Linux, &name, &[("header", "X\u{7}: ${K}")]);
        for text in [
            &manifest["display_name"],
            &manifest["user_config"]["K"]["description"],
        ] {
            let text = text.as_str().unwrap();
            assert!(text.chars().count() <= LINE_CHARS + 1);
            assert!(!text.chars().any(char::is_control), "{text}");
        }
    }
}
