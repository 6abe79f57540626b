//! What `doctor` shows while it works: lines on stdout, and what it is at on stderr.
//!
//! In: whether somebody looks, a line that is written anew, no secret in anything. Out: how a check
//! looks (`proto/doctor/render`), files and JSON (`report`).

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use super::super::assembly::now;
use super::super::print;
use super::discretion::Discretion;
use crate::error::Failure;
use crate::proto::doctor::Check;
use crate::proto::doctor::render::{self, Style};
use crate::settings::DoctorSettings;

/// How often the line that says what is being done is written anew.
const BEAT: Duration = Duration::from_millis(120);

/// What turns while something is waited for, where the terminal shows it.
const SPINNER: [&str; 8] = ["⠋", "⠙", "⠸", "⢰", "⣠", "⣄", "⡆", "⠇"];

/// What is being done, as it changes.
pub(super) type Task = Cell<&'static str>;

/// Shows checks as they come, and keeps them.
pub(super) struct Screen {
    /// Findings go to stdout as text; otherwise they are only kept.
    shows: bool,
    style: Style,
    /// How the line on stderr looks; `None`: nobody looks.
    progress: Option<Style>,
    discretion: Discretion,
    /// Everything that was found, without secrets.
    pub(super) checks: Vec<Check>,
}

impl Screen {
    /// For these settings, and what must not be shown.
    pub(super) fn new(settings: &DoctorSettings, discretion: Discretion) -> Self {
        let style = if std::io::stdout().is_terminal() {
            settings.style
        } else {
            Style::PLAIN
        };
        let is_watched = std::io::stderr().is_terminal()
            && settings.rewrites
            && !settings.settings.log.debug
            && !settings.settings.log.silent;
        Self {
            shows: !settings.json,
            style,
            progress: is_watched.then_some(settings.style),
            discretion,
            checks: Vec::new(),
        }
    }

    /// Shows what it is about.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(super) fn begin(&self, text: &str) -> Result<(), Failure> {
        if self.shows {
            print(&format!("{}\n\n", self.style.bold(text)))?;
        }
        Ok(())
    }

    /// Shows these, and keeps them.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(super) fn show(&mut self, checks: Vec<Check>) -> Result<(), Failure> {
        for check in checks {
            let check = self.discretion.check(check);
            if self.shows {
                print(&render::check(&check, self.style))?;
            }
            self.checks.push(check);
        }
        Ok(())
    }

    /// Shows a line that is no finding.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.shows {
            print(&format!("{}\n", self.style.faint(text)))?;
        }
        Ok(())
    }

    /// Shows the line that matters.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(super) fn conclude(&self, text: &str) -> Result<(), Failure> {
        if self.shows {
            print(&format!("\n{}\n", self.style.bold(text)))?;
        }
        Ok(())
    }

    /// Says on stderr what is being done, for as long as it takes.
    pub(super) async fn during<T>(&self, task: &Task, work: impl Future<Output = T>) -> T {
        let Some(style) = self.progress else {
            return work.await;
        };
        let began = now();
        let mut line = Line::default();
        let mut beat = tokio::time::interval(BEAT);
        let mut work = std::pin::pin!(work);
        for turn in 0_usize.. {
            tokio::select! {
                done = &mut work => return done,
                _ = beat.tick() => {
                    let turning = SPINNER.get(turn % SPINNER.len()).filter(|_| style.signs);
                    let (sign, dots) = turning.map_or(("-", "..."), |sign| (*sign, "…"));
                    let waited = match began.elapsed().as_secs() {
                        0 | 1 => String::new(),
                        seconds => format!(" {seconds} s"),
                    };
                    line.write(&format!("{sign} {} {dots}{waited}", task.get()));
                }
            }
        }
        work.await
    }
}

/// One line on stderr that is written anew and leaves nothing.
#[derive(Default)]
struct Line {
    /// Columns that are written on.
    width: usize,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.width > 0 {
            self.write("");
        }
    }
}

impl Line {
    fn write(&mut self, text: &str) {
        let width = text.chars().count();
        let blanks = " ".repeat(self.width.saturating_sub(width));
        let back = if text.is_empty() { "\r" } else { "" };
        self.width = width;
        let mut stderr = std::io::stderr().lock();
        // Whoever does not look any more misses nothing.
        drop(stderr.write_all(format!("\r{text}{blanks}{back}").as_bytes()));
        drop(stderr.flush());
    }
}
