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

/// Where variables have to be set that the entry mentions as `${VAR}`, as one sentence.
///
/// Programs that are started from a desktop see none of a shell's variables. Claude Code replaces
/// `${VAR}` in arguments by itself (<https://code.claude.com/docs/en/mcp>); Codex CLI passes on
/// only a few variables unless `env_vars` names more (<https://developers.openai.com/codex/mcp>).
#[must_use]
pub fn variables(client: Client, names: &[&str]) -> String {
    let list = names.join(", ");
    match client {
        Client::CodexCli => {
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            let quoted = quoted.join(", ");
            format!(
                "set {list} where you start Codex CLI, and add the line env_vars = [{quoted}] to \
                 the entry, since it passes on no others"
            )
        }
        Client::ClaudeCode | Client::GeminiCli => {
            format!("set {list} in the shell where you start {}", client.title())
        }
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
        let text = variables(Client::CodexCli, &["A", "B"]);
        assert!(text.contains("env_vars = [\"A\", \"B\"]"), "{text}");
    }
}
