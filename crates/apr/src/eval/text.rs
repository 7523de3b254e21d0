//! The text that is scored.

use crate::Error;
use std::fs;
use std::path::Path;

/// A text and where it comes from.
#[derive(Debug, Clone)]
pub struct EvalText {
    /// Its name.
    pub name: String,
    /// Who wrote it, and what its licence is, if that is known.
    pub source: Option<&'static str>,
    /// The text itself.
    pub text: String,
}

impl EvalText {
    /// The text of a file, in UTF-8.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, source: None, text })
    }
}

/// The text that comes with this crate.
impl Default for EvalText {
    fn default() -> Self {
        Self {
            name: "A Small Primer".to_owned(),
            source: Some("written for apr; as free as apr itself, MIT or Apache 2.0"),
            text: include_str!("default.txt").to_owned(),
        }
    }
}
