//! What `doctor` needs to know.
//!
//! In: which part of the options it uses. Out: what the options mean (the other files here).

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Notice, Settings};
use crate::cli::{Doctor, Typed};
use crate::error::Failure;

/// What `doctor` needs to know.
#[derive(Clone, Debug)]
pub struct DoctorSettings {
    /// Those of the bridge that is looked at.
    pub settings: Settings,
    /// The options of the bridge that were typed, for the report. Values may be secret.
    pub typed: Vec<Typed>,
    /// Whether to print JSON.
    pub json: bool,
    /// Where to write a report for others.
    pub report: Option<PathBuf>,
    /// Whether to sign in where that is needed.
    pub login: bool,
}

impl DoctorSettings {
    /// Gives the options of `doctor` their meaning.
    ///
    /// # Errors
    /// As [`Settings::resolve`].
    pub fn resolve(
        doctor: &Doctor,
        env: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, Vec<Notice>), Failure> {
        let (settings, notices) = Settings::resolve(&doctor.cli, env)?;
        let settings = Self {
            settings,
            typed: doctor.typed.clone(),
            json: doctor.json,
            report: doctor.report.clone(),
            login: doctor.login,
        };
        Ok((settings, notices))
    }
}
