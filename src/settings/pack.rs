//! What `pack` needs to know.
//!
//! In: checking the words and options of the command line that goes into the extension. Out: what
//! the options mean when it is used (the other files here).

use crate::cli::Pack;
use crate::error::Failure;

/// What `pack` needs to know.
#[derive(Clone, Debug)]
pub struct PackSettings {}

impl PackSettings {
    /// Gives the options of `pack` their meaning.
    ///
    /// # Errors
    /// A [`Failure`] that names the option and says what would be right.
    pub fn resolve(_pack: &Pack) -> Result<Self, Failure> {
        unimplemented!()
    }
}
