//! What is left to do after an entry was written, for each client.
//!
//! In: sentences. Out: when they are said (`commands`).

use super::{Client, Scope};

/// How the client comes to read its file again.
#[must_use]
pub const fn reload(client: Client, scope: Scope) -> &'static str {
    match (client, scope) {
        (Client::ClaudeDesktop, _) => {
            "quit Claude Desktop (closing its window is not enough) and start it again"
        }
        (Client::ClaudeCode, Scope::User) => "start a new session of Claude Code",
        (Client::ClaudeCode, Scope::Project) => {
            "start a new session of Claude Code in this folder, and allow the server there"
        }
        (Client::Cursor, _) => "look for the server in Cursor's settings, and switch it on there",
        (Client::VsCode, _) => {
            "run \"MCP: List Servers\" from VS Code's command palette, and start the server there"
        }
        (Client::Windsurf, _) => "refresh the list of MCP servers in Windsurf, or start it again",
        (Client::Zed, _) => "look for the server in the settings of Zed's agent panel",
        (Client::GeminiCli, _) => "start Gemini CLI again",
        (Client::CodexCli, Scope::User) => "start a new session of Codex CLI",
        (Client::CodexCli, Scope::Project) => {
            "start a new session of Codex CLI in this folder, which has to be a trusted project"
        }
    }
}

/// Why a file is better than `${VAR}` for clients that fill it in, to follow a colon.
pub const FILLED_IN: &str = "it puts the value of a variable into the arguments of the program \
                             that it starts, and other users of this machine can list those";

/// Where variables have to be set that the entry mentions as `${VAR}`, as one sentence.
///
/// Programs that are started from a desktop see none of a shell's variables. Codex CLI passes on
/// those that `env_vars` names, and the entry does (<https://developers.openai.com/codex/mcp>).
#[must_use]
pub fn variables(client: Client, names: &[&str]) -> String {
    let list = names.join(", ");
    match client {
        Client::CodexCli => format!("set {list} in the shell where you start Codex CLI"),
        Client::ClaudeCode | Client::GeminiCli => format!(
            "set {list} in the shell where you start {title}. If it is a secret, a file that only \
             you can read is better for {title} (--header-file FILE in place of --header): \
             {FILLED_IN}",
            title = client.title()
        ),
        Client::ClaudeDesktop
        | Client::Cursor
        | Client::VsCode
        | Client::Windsurf
        | Client::Zed => format!(
            "set {list} for {title}: in the environment of your desktop session, or as a member \
             of \"env\" in the entry; {title} does not see what is set in a shell alone, unless \
             it is started there",
            title = client.title()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_named_in_its_own_hints() {
        for client in Client::ALL {
            for scope in [Scope::User, Scope::Project] {
                let words = client.title().split(' ').next().unwrap_or_default();
                assert!(reload(client, scope).contains(words), "{client:?}");
            }
            let text = variables(client, &["A", "B"]);
            assert!(
                text.contains(client.title()) && text.contains("A, B"),
                "{text}"
            );
        }
        for client in Client::ALL {
            let text = variables(client, &["A"]);
            let warns = text.contains("--header-file");
            assert_eq!(warns, client.fills_in_variables(), "{text}");
        }
    }
}
