//! Where each client keeps its configuration, on each system.
//!
//! In: folders, as facts. Out: looking whether a file is there (`edge`).

use std::path::{Path, PathBuf};

use super::{Client, Scope};

/// Family name of Claude Desktop's package on Windows: what its installer registers since February
/// 2026 (<https://github.com/anthropics/claude-code/issues/26073>). It ends in a hash of the
/// publisher, which stays the same.
const CLAUDE_PACKAGE: &str = "Claude_pzs8sxrjxfjjc";

const CLAUDE_FILE: &str = "claude_desktop_config.json";

/// Families of operating systems that differ in where configurations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
    /// Linux and the BSDs.
    Unix,
}

/// Folders that places depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// The user's home.
    pub home: PathBuf,
    /// The present folder.
    pub project: PathBuf,
    /// `XDG_CONFIG_HOME`, if set and absolute.
    pub xdg_config_home: Option<PathBuf>,
    /// `APPDATA`, if set.
    pub app_data: Option<PathBuf>,
    /// `LOCALAPPDATA`, if set.
    pub local_app_data: Option<PathBuf>,
    /// `CLAUDE_CONFIG_DIR`, if set: where Claude Code keeps its files.
    pub claude_config_dir: Option<PathBuf>,
    /// `CODEX_HOME`, if set.
    pub codex_home: Option<PathBuf>,
    /// `GEMINI_CLI_HOME`, if set: what Gemini CLI takes for the user's home.
    pub gemini_cli_home: Option<PathBuf>,
}

/// The files in which a client may keep its entries, the usual one first: that is made where none
/// exists. Empty: the client knows no such scope. Which of several is the one to write to, says
/// [`preferred`].
///
/// | client | user | project |
/// |---|---|---|
/// | Claude Desktop | `Claude/claude_desktop_config.json` in the system's folder for settings (<https://modelcontextprotocol.io/docs/develop/connect-local-servers>); on Windows also in the package's own folder | |
/// | Claude Code | `~/.claude.json`, or in `CLAUDE_CONFIG_DIR` | `.mcp.json` (<https://code.claude.com/docs/en/mcp>) |
/// | Cursor | `~/.cursor/mcp.json` | `.cursor/mcp.json` (<https://cursor.com/docs/mcp>) |
/// | VS Code | `Code/User/mcp.json` in the system's folder for settings | `.vscode/mcp.json` (<https://code.visualstudio.com/docs/copilot/reference/mcp-configuration>) |
/// | Windsurf | `~/.codeium/windsurf/mcp_config.json` (<https://docs.devin.ai/desktop/cascade/mcp>); since it is called Devin Desktop `devin/mcp_config.json` in `~/.config` or `%APPDATA%` | `.devin/mcp_config.json` (<https://docs.devin.ai/cli/extensibility/mcp/configuration>) |
/// | Zed | `zed/settings.json` in `~/.config` or `XDG_CONFIG_HOME`, `%APPDATA%\Zed` on Windows | `.zed/settings.json` (<https://zed.dev/docs/configuring-zed>) |
/// | Gemini CLI | `.gemini/settings.json` in the home, or in `GEMINI_CLI_HOME` | `.gemini/settings.json` (<https://geminicli.com/docs/reference/configuration>) |
/// | Codex CLI | `~/.codex/config.toml`, or in `CODEX_HOME` | `.codex/config.toml`, for projects that the user trusts (<https://developers.openai.com/codex/mcp>) |
#[must_use]
pub fn places(client: Client, scope: Scope, system: System, folders: &Folders) -> Vec<PathBuf> {
    match scope {
        Scope::User => user(client, system, folders),
        Scope::Project => {
            project(client).map_or_else(Vec::new, |file| vec![join(&folders.project, file)])
        }
    }
}

/// The file to write to: of several places the last where there is one, because later places are
/// those of newer versions, otherwise the first, which every version reads as long as it has none of
/// its own. `exists` tells of a file whether it is there. `None`: the client knows no such scope.
///
/// A package on Windows sees what is in `%APPDATA%` unless it has a copy of its own
/// (<https://learn.microsoft.com/en-us/windows/msix/desktop/desktop-to-uwp-behind-the-scenes>).
/// Devin Desktop takes over what is in Windsurf's file
/// (<https://docs.devin.ai/cli/reference/configuration/read-config-from>).
#[must_use]
pub fn preferred(
    client: Client,
    scope: Scope,
    system: System,
    folders: &Folders,
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let places = places(client, scope, system, folders);
    let newest = places.iter().rfind(|place| exists(place));
    newest.or(places.first()).cloned()
}

fn user(client: Client, system: System, folders: &Folders) -> Vec<PathBuf> {
    let home = &folders.home;
    match client {
        Client::ClaudeDesktop => {
            let mut places = vec![join(&settings(system, folders), "Claude").join(CLAUDE_FILE)];
            if system == System::Windows {
                let package = join(&local_app_data(folders), "Packages").join(CLAUDE_PACKAGE);
                places.push(join(&package, "LocalCache/Roaming/Claude").join(CLAUDE_FILE));
            }
            places
        }
        Client::ClaudeCode => {
            let folder = folders.claude_config_dir.as_ref().unwrap_or(home);
            vec![folder.join(".claude.json")]
        }
        Client::Cursor => vec![join(home, ".cursor/mcp.json")],
        Client::VsCode => vec![join(&settings(system, folders), "Code/User/mcp.json")],
        Client::Windsurf => {
            let newer = match system {
                System::Windows => app_data(folders),
                System::MacOs | System::Unix => home.join(".config"),
            };
            vec![
                join(home, ".codeium/windsurf/mcp_config.json"),
                join(&newer, "devin/mcp_config.json"),
            ]
        }
        Client::Zed => vec![match system {
            System::Windows => join(&app_data(folders), "Zed/settings.json"),
            System::MacOs => join(home, ".config/zed/settings.json"),
            System::Unix => join(&settings(system, folders), "zed/settings.json"),
        }],
        Client::GeminiCli => {
            let home = folders.gemini_cli_home.as_ref().unwrap_or(home);
            vec![join(home, ".gemini/settings.json")]
        }
        Client::CodexCli => {
            let folder = folders.codex_home.clone();
            vec![
                folder
                    .unwrap_or_else(|| home.join(".codex"))
                    .join("config.toml"),
            ]
        }
    }
}

/// The file in a project.
const fn project(client: Client) -> Option<&'static str> {
    Some(match client {
        Client::ClaudeDesktop => return None,
        Client::ClaudeCode => ".mcp.json",
        Client::Cursor => ".cursor/mcp.json",
        Client::VsCode => ".vscode/mcp.json",
        Client::Windsurf => ".devin/mcp_config.json",
        Client::Zed => ".zed/settings.json",
        Client::GeminiCli => ".gemini/settings.json",
        Client::CodexCli => ".codex/config.toml",
    })
}

/// Where desktop programs keep their settings.
fn settings(system: System, folders: &Folders) -> PathBuf {
    match system {
        System::MacOs => join(&folders.home, "Library/Application Support"),
        System::Windows => app_data(folders),
        System::Unix => {
            let folder = folders.xdg_config_home.clone();
            folder.unwrap_or_else(|| folders.home.join(".config"))
        }
    }
}

fn app_data(folders: &Folders) -> PathBuf {
    let folder = folders.app_data.clone();
    folder.unwrap_or_else(|| join(&folders.home, "AppData/Roaming"))
}

fn local_app_data(folders: &Folders) -> PathBuf {
    let folder = folders.local_app_data.clone();
    folder.unwrap_or_else(|| join(&folders.home, "AppData/Local"))
}

/// A path below a folder, with the separators of the system that this program runs on.
fn join(folder: &Path, below: &str) -> PathBuf {
    let mut path = folder.to_owned();
    path.extend(below.split('/'));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEMS: [System; 3] = [System::MacOs, System::Windows, System::Unix];

    fn folders() -> Folders {
        Folders {
            home: "h".into(),
            project: "p".into(),
            app_data: Some("roaming".into()),
            local_app_data: Some("local".into()),
            ..Folders::default()
        }
    }

    /// Places with `/` between their parts.
    fn shown(client: Client, scope: Scope, system: System, folders: &Folders) -> Vec<String> {
        let places = places(client, scope, system, folders).into_iter();
        let text = |place: PathBuf| {
            let parts: Vec<_> = place.iter().map(|part| part.to_str().unwrap()).collect();
            parts.join("/")
        };
        places.map(text).collect()
    }

    #[test]
    fn user_files_are_where_the_clients_look() {
        let same = |path: &'static str| [vec![path], vec![path], vec![path]];
        let devin = "h/.config/devin/mcp_config.json";
        let windsurf = "h/.codeium/windsurf/mcp_config.json";
        let expected: [(Client, [Vec<&str>; 3]); 8] = [
            (
                Client::ClaudeDesktop,
                [
                    vec!["h/Library/Application Support/Claude/claude_desktop_config.json"],
                    vec![
                        "roaming/Claude/claude_desktop_config.json",
                        "local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude/\
                         claude_desktop_config.json",
                    ],
                    vec!["h/.config/Claude/claude_desktop_config.json"],
                ],
            ),
            (Client::ClaudeCode, same("h/.claude.json")),
            (Client::Cursor, same("h/.cursor/mcp.json")),
            (
                Client::VsCode,
                [
                    vec!["h/Library/Application Support/Code/User/mcp.json"],
                    vec!["roaming/Code/User/mcp.json"],
                    vec!["h/.config/Code/User/mcp.json"],
                ],
            ),
            (
                Client::Windsurf,
                [
                    vec![windsurf, devin],
                    vec![windsurf, "roaming/devin/mcp_config.json"],
                    vec![windsurf, devin],
                ],
            ),
            (
                Client::Zed,
                [
                    vec!["h/.config/zed/settings.json"],
                    vec!["roaming/Zed/settings.json"],
                    vec!["h/.config/zed/settings.json"],
                ],
            ),
            (Client::GeminiCli, same("h/.gemini/settings.json")),
            (Client::CodexCli, same("h/.codex/config.toml")),
        ];
        for (client, by_system) in expected {
            for (system, places) in SYSTEMS.into_iter().zip(by_system) {
                let found = shown(client, Scope::User, system, &folders());
                assert_eq!(found, places, "{client:?} {system:?}");
            }
        }
    }

    #[test]
    fn a_project_has_one_file_for_each_client_but_claude_desktop() {
        for system in SYSTEMS {
            for client in Client::ALL {
                let found = shown(client, Scope::Project, system, &folders());
                let file = match client {
                    Client::ClaudeDesktop => {
                        assert!(found.is_empty());
                        continue;
                    }
                    Client::ClaudeCode => "p/.mcp.json",
                    Client::Cursor => "p/.cursor/mcp.json",
                    Client::VsCode => "p/.vscode/mcp.json",
                    Client::Windsurf => "p/.devin/mcp_config.json",
                    Client::Zed => "p/.zed/settings.json",
                    Client::GeminiCli => "p/.gemini/settings.json",
                    Client::CodexCli => "p/.codex/config.toml",
                };
                assert_eq!(found, [file], "{client:?} {system:?}");
            }
        }
    }

    #[test]
    fn variables_move_what_they_are_for_and_nothing_else() {
        let moved = Folders {
            xdg_config_home: Some("xdg".into()),
            claude_config_dir: Some("claude".into()),
            codex_home: Some("codex".into()),
            gemini_cli_home: Some("gemini".into()),
            app_data: None,
            local_app_data: None,
            ..folders()
        };
        let user = |client, system| shown(client, Scope::User, system, &moved);
        assert_eq!(
            user(Client::ClaudeCode, System::Unix),
            ["claude/.claude.json"]
        );
        assert_eq!(
            user(Client::CodexCli, System::Windows),
            ["codex/config.toml"]
        );
        assert_eq!(
            user(Client::GeminiCli, System::MacOs),
            ["gemini/.gemini/settings.json"]
        );
        assert_eq!(user(Client::Zed, System::Unix), ["xdg/zed/settings.json"]);
        assert_eq!(
            user(Client::Zed, System::MacOs),
            ["h/.config/zed/settings.json"]
        );
        assert_eq!(
            user(Client::ClaudeDesktop, System::Unix),
            ["xdg/Claude/claude_desktop_config.json"]
        );
        assert_eq!(
            user(Client::VsCode, System::Windows),
            ["h/AppData/Roaming/Code/User/mcp.json"]
        );
        assert!(user(Client::ClaudeDesktop, System::Windows)[1].starts_with("h/AppData/Local/"));
    }

    #[test]
    fn the_file_of_the_newest_version_is_preferred() {
        let folders = folders();
        for (client, system) in [
            (Client::ClaudeDesktop, System::Windows),
            (Client::Windsurf, System::Unix),
        ] {
            let all = places(client, Scope::User, system, &folders);
            let [older, newer] = &all[..] else {
                panic!("two places of {client:?}")
            };
            let preferred = |present: &[&PathBuf]| {
                preferred(client, Scope::User, system, &folders, |file| {
                    present.iter().any(|place| *place == file)
                })
                .unwrap()
            };
            assert_eq!(&preferred(&[]), older);
            assert_eq!(&preferred(&[older]), older);
            assert_eq!(&preferred(&[older, newer]), newer);
            assert_eq!(&preferred(&[newer]), newer);
        }
        let none = preferred(
            Client::ClaudeDesktop,
            Scope::Project,
            System::MacOs,
            &folders,
            |_| true,
        );
        assert_eq!(none, None);
    }
}
