//! Entries that run npm `mcp-remote` (<https://www.npmjs.com/package/mcp-remote>), and their
//! arguments for this program.
//!
//! In: command lines. Out: the text of the file ([`super::edit`]), what the options mean.
//!
//! `mcp-remote` ignores what it does not know, and this program refuses it. So that an entry goes on
//! to do what it did, what both do not know is left out, by name: an option that `mcp-remote` did
//! not see has no effect that could be lost. Options that only this program knows stay.

use super::entry::Server;

/// The package and its program; `mcp-remote-client` is another one.
const PACKAGE: &str = "mcp-remote";

/// Where the package keeps its program.
const SCRIPT: &str = "/mcp-remote/dist/proxy.js";

/// Options of package runners that are followed by a value of their own: npm
/// (<https://docs.npmjs.com/cli/commands/npx>), pnpm, yarn and bun. Those of one are harmless at
/// the others.
const WITH_VALUE: [&str; 15] = [
    "-C",
    "-p",
    "-w",
    "--cache",
    "--cwd",
    "--dir",
    "--filter",
    "--loglevel",
    "--node-options",
    "--package",
    "--prefix",
    "--registry",
    "--reporter",
    "--userconfig",
    "--workspace",
];

/// Options with which a runner runs something other than a package and its arguments.
const NOT_A_PACKAGE: [&str; 4] = ["-c", "--call", "-e", "--eval"];

/// Options of Node that are followed by a value of their own (<https://nodejs.org/api/cli.html>).
const WITH_VALUE_OF_NODE: [&str; 6] = [
    "-C",
    "-r",
    "--conditions",
    "--env-file",
    "--import",
    "--require",
];

/// An option of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its long name, without dashes.
    pub name: String,
    /// Whether it takes a value.
    pub takes_value: bool,
    /// Whether it may be given more than once.
    pub is_repeatable: bool,
}

/// Arguments for this program, and what of the old ones did not become part of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The arguments.
    pub args: Vec<String>,
    /// What was left out: options by their names, anything else in words.
    pub left_out: Vec<String>,
}

/// The arguments of `mcp-remote` in an entry that runs it, however it is run: through `npx`,
/// `bunx`, `pnpm dlx`, `yarn dlx`, `npm exec`, `deno run` or `cmd /c`, with Node, or by itself.
/// `None`: the entry runs something else.
#[must_use]
pub fn arguments(server: &Server) -> Option<Vec<String>> {
    let mut words = Vec::new();
    if server.args.is_empty() {
        // Some clients take the whole command line in one piece.
        words.extend(server.command.split_whitespace().map(str::to_owned));
    } else {
        words.push(server.command.clone());
        words.extend(server.args.iter().cloned());
    }
    runs(&words, 0)
}

/// The arguments for this program that do the same. `known` are all its options.
#[must_use]
pub fn translate(args: &[String], known: &[Known]) -> Arguments {
    let mut all = Arguments::default();
    let mut given: Vec<&str> = Vec::new();
    // Whether the argument before this one, headers aside, was the address: there alone the port
    // may stand.
    let mut at_port = false;
    let mut has_url = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(option) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            if !has_url {
                has_url = true;
                at_port = true;
                all.args.push(arg.clone());
            } else if let (true, Some(port)) = (at_port, port(arg)) {
                at_port = false;
                all.args.push(port);
            } else {
                at_port = false;
                all.left_out.push("an argument without an option".into());
            }
            continue;
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        at_port &= name == "header" || name == "header-file";
        let Some(option) = known.iter().find(|option| option.name == name) else {
            if option != "-" {
                all.left_out.push(shown(name));
            }
            continue;
        };
        let is_again = given.contains(&option.name.as_str()) && !option.is_repeatable;
        given.push(&option.name);
        let value = match (option.takes_value, value) {
            (false, _) => None,
            (true, Some(value)) => Some(value.to_owned()),
            (true, None) => {
                let Some(value) = args.next() else {
                    all.left_out.push(format!("--{name} without a value"));
                    continue;
                };
                Some(value.clone())
            }
        };
        if is_again {
            // The first one counts. A switch says no more the second time.
            if option.takes_value {
                all.left_out.push(format!("the second --{name}"));
            }
            continue;
        }
        match value {
            None => all.args.push(format!("--{name}")),
            // What looks like an option has to stay in one piece with its name.
            Some(value) if value.starts_with('-') => all.args.push(format!("--{name}={value}")),
            Some(value) => all.args.extend([format!("--{name}"), value]),
        }
    }
    all
}

/// The name of an option, unless it is something else in its place.
fn shown(name: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if name.len() <= 40 && name.chars().all(is_part) {
        format!("--{name}")
    } else {
        "an option with an odd name".to_owned()
    }
}

/// A port as JavaScript's `parseInt` reads it: the digits at the beginning count.
fn port(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let digits = text.get(..end.unwrap_or(text.len()))?;
    let port: u16 = digits.parse().ok()?;
    (port != 0).then(|| port.to_string())
}

/// Wrappers within wrappers are no command line that anybody wrote.
const DEEPEST: usize = 4;

fn runs(words: &[String], depth: usize) -> Option<Vec<String>> {
    let (command, rest) = words.split_first()?;
    if depth > DEEPEST {
        return None;
    }
    let rest = rest.to_vec();
    match program(command).as_str() {
        "cmd" => {
            let at = rest.iter().position(|word| {
                word.eq_ignore_ascii_case("/c") || word.eq_ignore_ascii_case("/k")
            })?;
            let rest = rest.get(at + 1..)?;
            match rest {
                [line] => {
                    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
                    runs(&words, depth + 1)
                }
                words => runs(words, depth + 1),
            }
        }
        "env" => runs(&rest, depth + 1),
        "npx" | "bunx" | "pnpx" => of_runner(&rest),
        "npm" => of_command(&rest, &["exec", "x"]),
        "pnpm" | "yarn" => of_command(&rest, &["dlx", "exec"]),
        "bun" => of_command(&rest, &["x"]),
        "deno" => {
            let rest = after(&rest, &["run"])?;
            let at = rest.iter().position(|word| !word.starts_with('-'))?;
            is_package(rest.get(at)?.strip_prefix("npm:")?)
                .then(|| rest.get(at + 1..).unwrap_or_default().to_vec())
        }
        "node" => {
            let mut rest = rest.into_iter();
            while let Some(word) = rest.next() {
                if NOT_A_PACKAGE.contains(&word.as_str()) {
                    return None;
                }
                if WITH_VALUE_OF_NODE.contains(&word.as_str()) {
                    rest.next();
                } else if !word.starts_with('-') {
                    return is_script(&word).then(|| rest.collect());
                }
            }
            None
        }
        PACKAGE => Some(rest),
        _ if is_script(command) => Some(rest),
        _ => None,
    }
}

/// What follows `npm exec` and the like.
fn of_command(words: &[String], commands: &[&str]) -> Option<Vec<String>> {
    of_runner(&after(words, commands)?)
}

/// What follows the command of a package manager, whose own options may stand before it.
fn after(words: &[String], commands: &[&str]) -> Option<Vec<String>> {
    let at = words.iter().position(|word| !word.starts_with('-'))?;
    let command = words.get(at)?;
    commands.contains(&command.as_str()).then_some(())?;
    Some(words.get(at + 1..).unwrap_or_default().to_vec())
}

/// `[OPTIONS] PACKAGE [ARGUMENTS]`, with one `--` before or after the package.
fn of_runner(words: &[String]) -> Option<Vec<String>> {
    let mut words = words.iter();
    let package = loop {
        let word = words.next()?;
        if NOT_A_PACKAGE.contains(&word.as_str()) {
            return None;
        }
        if WITH_VALUE.contains(&word.as_str()) {
            words.next();
        } else if !word.starts_with('-') {
            break word;
        }
    };
    is_package(package).then(|| words.cloned().collect())
}

/// Whether it is the package, of whatever version.
fn is_package(word: &str) -> bool {
    let word = word.strip_prefix("npm:").unwrap_or(word);
    let name = word.split_once('@').map_or(word, |(name, _)| name);
    name == PACKAGE
}

fn is_script(path: &str) -> bool {
    path.replace('\\', "/").ends_with(SCRIPT)
}

/// The name of a program without folders and the ends that Windows gives it.
fn program(command: &str) -> String {
    let name = command.rsplit(['/', '\\']).next().unwrap_or(command);
    let name = name.to_ascii_lowercase();
    let ends = [".exe", ".cmd", ".bat", ".ps1"];
    let bare = ends.iter().find_map(|end| name.strip_suffix(end));
    bare.map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn of(line: &str) -> Option<Vec<String>> {
        let mut args = words(line);
        let command = args.remove(0);
        arguments(&Server {
            command,
            args,
            env: Vec::new(),
        })
    }

    #[test]
    fn every_way_to_run_it_is_found() {
        for line in [
            "npx mcp-remote URL 3334",
            "npx -y mcp-remote URL 3334",
            "npx --yes --quiet mcp-remote@latest URL 3334",
            "npx -y mcp-remote@0.1.38 URL 3334",
            "npx -p mcp-remote@latest mcp-remote URL 3334",
            "npx --package=mcp-remote@0.15.1 -y mcp-remote URL 3334",
            "npx --registry https://registry.example/ mcp-remote URL 3334",
            "/opt/homebrew/bin/npx -y mcp-remote URL 3334",
            r"C:\node\npx.cmd -y mcp-remote URL 3334",
            "cmd /c npx -y mcp-remote URL 3334",
            r"C:\Windows\System32\CMD.EXE /D /S /C npx.cmd mcp-remote URL 3334",
            "/usr/bin/env npx mcp-remote URL 3334",
            "bunx --bun mcp-remote@latest URL 3334",
            "bun x mcp-remote URL 3334",
            "pnpx mcp-remote URL 3334",
            "pnpm dlx mcp-remote@latest URL 3334",
            "pnpm --silent dlx mcp-remote URL 3334",
            "yarn dlx -q mcp-remote URL 3334",
            "npm exec --yes mcp-remote@latest URL 3334",
            "npm x mcp-remote URL 3334",
            "deno run -A npm:mcp-remote@0.1.38 URL 3334",
            "deno run --allow-net=example.com --allow-env npm:mcp-remote URL 3334",
            "node /usr/lib/node_modules/mcp-remote/dist/proxy.js URL 3334",
            "/usr/bin/node --no-warnings -r x /x/mcp-remote/dist/proxy.js URL 3334",
            r"node.exe C:\npm\node_modules\mcp-remote\dist\proxy.js URL 3334",
            "/usr/local/bin/mcp-remote URL 3334",
            "mcp-remote.cmd URL 3334",
            "/x/node_modules/mcp-remote/dist/proxy.js URL 3334",
        ] {
            assert_eq!(of(line), Some(words("URL 3334")), "{line}");
        }
        for line in ["npm exec mcp-remote -- URL", "npm exec -- mcp-remote URL"] {
            let args = of(line).map(|args| translate(&args, &[]).args);
            assert_eq!(args, Some(words("URL")), "{line}");
        }
        let whole = |command: &str, args: &[&str]| {
            arguments(&Server {
                command: command.to_owned(),
                args: args.iter().map(|&arg| arg.to_owned()).collect(),
                env: Vec::new(),
            })
        };
        let found = Some(words("URL 3334"));
        assert_eq!(whole("npx -y mcp-remote URL 3334", &[]), found);
        assert_eq!(whole("cmd", &["/c", "npx mcp-remote URL 3334"]), found);
    }

    #[test]
    fn other_programs_are_left_alone() {
        for line in [
            "npx -y mcp-remote-client URL",
            "npx -p mcp-remote mcp-remote-client URL",
            "npx -y @other/mcp-remote URL",
            "npx -y mcp-remote-go URL",
            "npx other mcp-remote",
            "npx -c mcp-remote",
            "npx",
            "npx -p",
            "node server.js mcp-remote",
            "node -e mcp-remote",
            "node /x/mcp-remote/dist/client.js URL",
            "node",
            "deno run -A npm:other",
            "deno",
            "npm install mcp-remote",
            "pnpm add mcp-remote",
            "cmd mcp-remote",
            "/usr/bin/mcp-bridge URL",
            "uvx mcp-remote URL",
            "docker run mcp-remote",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
        let mut nested = vec!["env"; 50];
        nested.push("npx mcp-remote URL");
        assert_eq!(of(&nested.join(" ")), None);
    }

    fn known() -> Vec<Known> {
        let option = |name: &str, takes_value, is_repeatable| Known {
            name: name.to_owned(),
            takes_value,
            is_repeatable,
        };
        vec![
            option("header", true, true),
            option("transport", true, false),
            option("host", true, false),
            option("debug", false, false),
        ]
    }

    #[test]
    fn arguments_go_on_to_do_what_they_did() {
        for (line, expected, left_out) in [
            ("U 3334 --debug", "U 3334 --debug", &[][..]),
            ("U --transport sse-only", "U --transport sse-only", &[]),
            (
                "--header A:b U --header C:d",
                "--header A:b U --header C:d",
                &[],
            ),
            ("U --header A:b 3334", "U --header A:b 3334", &[]),
            ("U 3998x", "U 3998", &[]),
            ("U --transport=sse-only", "U --transport sse-only", &[]),
            ("U --host --debug", "U --host=--debug", &[]),
            ("U --debug --debug", "U --debug", &[]),
            ("U --", "U", &[]),
            ("U --clean", "U", &["--clean"]),
            ("U -v --clean=secret", "U", &["--v", "--clean"]),
            (
                "U --ignore-tols x",
                "U",
                &["--ignore-tols", "an argument without an option"],
            ),
            (
                "U --debug 3334",
                "U --debug",
                &["an argument without an option"],
            ),
            ("U 0", "U", &["an argument without an option"]),
            ("U 99999", "U", &["an argument without an option"]),
            ("U --host a --host b", "U --host a", &["the second --host"]),
            ("U --host", "U", &["--host without a value"]),
            ("U --sécret$", "U", &["an option with an odd name"]),
        ] {
            let found = translate(&words(line), &known());
            assert_eq!(found.args, words(expected), "{line}");
            assert_eq!(found.left_out, left_out, "{line}");
        }
        assert_eq!(translate(&[], &known()), Arguments::default());
    }
}
