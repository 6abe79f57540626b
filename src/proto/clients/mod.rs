//! The clients whose configuration files this program can write itself into.
//!
//! In: which clients there are, where their files are, what an entry looks like, edits of the
//! text that leave everything else as it is. Out: reading and writing files (`edge`), what the
//! user typed (`cli`).

pub mod diff;
pub mod edit;
pub mod entry;
pub mod hints;
mod json;
pub mod mcp_remote;
pub mod name;
pub mod places;
pub mod problem;
pub mod restore;
pub mod secrets;
mod splice;
mod toml;

/// Longest name of an entry, in characters. Clients put the name before each tool's name, and model
/// providers allow 64 characters for both together.
pub const NAME_LIMIT: usize = 64;

/// A program that starts stdio servers from a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Claude Desktop.
    ClaudeDesktop,
    /// Claude Code.
    ClaudeCode,
    /// Cursor.
    Cursor,
    /// Visual Studio Code.
    VsCode,
    /// Windsurf.
    Windsurf,
    /// Zed.
    Zed,
    /// Gemini CLI.
    GeminiCli,
    /// Codex CLI.
    CodexCli,
}

/// Whose configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// That of the user, for every project.
    User,
    /// That of the project in the present folder.
    Project,
}

impl Client {
    /// Every client.
    pub const ALL: [Self; 8] = [
        Self::ClaudeDesktop,
        Self::ClaudeCode,
        Self::Cursor,
        Self::VsCode,
        Self::Windsurf,
        Self::Zed,
        Self::GeminiCli,
        Self::CodexCli,
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
            Self::Windsurf => "windsurf",
            Self::Zed => "zed",
            Self::GeminiCli => "gemini-cli",
            Self::CodexCli => "codex-cli",
        }
    }

    /// The client of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.name() == name)
    }

    /// The name its makers give it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
            Self::GeminiCli => "Gemini CLI",
            Self::CodexCli => "Codex CLI",
        }
    }

    /// Whether this client puts the value of a variable in the place of `${VAR}` in an entry's
    /// arguments by itself, so that every program on the machine can read it there: Claude Code
    /// (<https://code.claude.com/docs/en/mcp>) and Gemini CLI
    /// (<https://geminicli.com/docs/reference/configuration>) do. The others hand `${VAR}` on, or
    /// know it in another spelling.
    #[must_use]
    pub const fn fills_in_variables(self) -> bool {
        matches!(self, Self::ClaudeCode | Self::GeminiCli)
    }

    /// Whether this client takes an entry of that name.
    ///
    /// Claude Code and Codex CLI refuse anything but ASCII letters, digits, `-` and `_`
    /// (`claude mcp add` and `codex mcp add` say so). The others take any name; what no client can
    /// show is refused here: nothing at all, control characters, space at either end, and more than
    /// [`NAME_LIMIT`] characters.
    ///
    /// # Errors
    /// A sentence that says which names this client takes.
    pub fn check_name(self, name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("the name of an entry cannot be empty".to_owned());
        }
        if name.chars().count() > NAME_LIMIT {
            return Err(format!(
                "the name of an entry can have {NAME_LIMIT} characters at most"
            ));
        }
        if name.trim() != name || name.chars().any(char::is_control) {
            return Err(
                "the name of an entry cannot begin or end with a space, nor hold line breaks"
                    .to_owned(),
            );
        }
        let strict = matches!(self, Self::ClaudeCode | Self::CodexCli);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if strict && !name.chars().all(plain) {
            return Err(format!(
                "{} takes only letters (a to z), digits, \"-\" and \"_\" in the name of an entry",
                self.title()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_found_by_its_own_name_alone() {
        for client in Client::ALL {
            assert_eq!(Client::named(client.name()), Some(client));
        }
        assert_eq!(Client::named("Cursor"), None);
    }

    #[test]
    fn names_that_a_client_would_refuse_are_refused() {
        for client in Client::ALL {
            assert_eq!(client.check_name("linear-2_x"), Ok(()), "{client:?}");
            for bad in ["", " x", "x ", "a\nb", "a\u{1b}[1m"] {
                assert!(client.check_name(bad).is_err(), "{client:?} {bad:?}");
            }
            assert_eq!(client.check_name(&"é".repeat(NAME_LIMIT)).is_ok(), {
                !matches!(client, Client::ClaudeCode | Client::CodexCli)
            });
            assert!(client.check_name(&"x".repeat(NAME_LIMIT + 1)).is_err());
        }
        for free in ["My server", "a.b", "日本"] {
            assert_eq!(Client::ClaudeDesktop.check_name(free), Ok(()));
            let refused = Client::ClaudeCode.check_name(free).unwrap_err();
            assert!(refused.starts_with("Claude Code takes only"), "{refused}");
            assert!(Client::CodexCli.check_name(free).is_err());
        }
    }
}
