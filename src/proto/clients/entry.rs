//! What a client's entry for a stdio server says.
//!
//! In: command, arguments, variables, and where in which kind of file they stand. Out: the text of
//! the file ([`super::edit`]).

use std::fmt;

use super::{Client, Scope};

/// How a client starts a stdio server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// The program.
    pub command: String,
    /// Its arguments, without the program. They may hold secrets.
    pub args: Vec<String>,
    /// Variables set for it, in the order of the file. Values may be secret.
    pub env: Vec<(String, String)>,
}

/// An entry that was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// How it starts its server; `None`: it does not start a local program.
    pub server: Option<Server>,
}

/// Where in a file entries stand, and which members they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whose file it is.
    pub client: Client,
    /// In which scope.
    pub scope: Scope,
}

impl fmt::Debug for Server {
    /// Shows the program, how many arguments there are and the names of the variables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Server")
            .field("command", &self.command)
            .field("args", &format_args!("{} arguments", self.args.len()))
            .field("env", &names)
            .finish()
    }
}

impl Shape {
    /// The member of the file that holds the entries, by name:
    ///
    /// - `servers` in VS Code's `mcp.json`
    ///   (<https://code.visualstudio.com/docs/copilot/reference/mcp-configuration>),
    /// - `context_servers` in Zed's settings (<https://zed.dev/docs/ai/mcp>),
    /// - `mcp_servers` in Codex CLI's `config.toml`
    ///   (<https://developers.openai.com/codex/mcp>),
    /// - `mcpServers` everywhere else.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self.client {
            Client::VsCode => "servers",
            Client::Zed => "context_servers",
            Client::CodexCli => "mcp_servers",
            Client::ClaudeDesktop
            | Client::ClaudeCode
            | Client::Cursor
            | Client::Windsurf
            | Client::GeminiCli => "mcpServers",
        }
    }

    /// Whether the file is TOML; otherwise it is JSON, perhaps with comments.
    #[must_use]
    pub const fn is_toml(self) -> bool {
        matches!(self.client, Client::CodexCli)
    }

    /// Whether an entry says `"type": "stdio"`. VS Code requires it; Claude Code writes it. Windsurf
    /// refuses members that it does not know, and the others need none.
    pub(super) const fn has_type(self) -> bool {
        matches!(self.client, Client::VsCode | Client::ClaudeCode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_secret() {
        let server = Server {
            command: "npx".to_owned(),
            args: vec!["Authorization: Bearer hunter2".to_owned()],
            env: vec![("TOKEN".to_owned(), "hunter3".to_owned())],
        };
        let shown = format!("{server:?}");
        assert!(shown.contains("TOKEN") && shown.contains("npx"), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
