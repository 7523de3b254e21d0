//! A file at a glance: what it is, and whether its header is sound.

use crate::lint::{Severity, lint};
use crate::units;
use crate::{Checkpoint, Error};
use apr_format::Hash128;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// A file at a glance.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Debug {
    /// Where it was opened.
    pub path: PathBuf,
    /// Whether anything keeps it from being the model that it says it is.
    pub health: Health,
    /// Container format.
    pub format: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Name of the architecture; none if it is not a supported one.
    pub architecture: Option<&'static str>,
    /// Number of files.
    pub files: usize,
    /// Bytes of the weight files.
    pub file_size: u64,
    /// Whether tensors can be read: not from a pipe.
    pub has_data: bool,
    /// One digest over the whole file, in the formats that have it.
    #[schemars(with = "Option<String>")]
    pub seal: Option<Hash128>,
    /// Tensors whose proof is in the file.
    pub certified_tensors: usize,
    /// Whether a configuration belongs to it.
    pub has_config: bool,
    /// Whether a tokenizer belongs to it.
    pub has_tokenizer: bool,
    /// Whether a chat template belongs to it.
    pub has_chat_template: bool,
    /// What is wrong.
    pub problems: Vec<String>,
    /// Number of warnings that `apr lint` has.
    pub warnings: usize,
}

/// Whether a file is sound as far as its header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Health {
    /// It is.
    #[serde(rename = "OK")]
    Ok,
    /// It cannot be run as it is.
    #[serde(rename = "BROKEN")]
    Broken,
}

/// Shows a file at a glance, from its header.
///
/// # Errors
/// None of its own: what is wrong is in the report.
pub fn debug(checkpoint: &Checkpoint) -> Result<Debug, Error> {
    let (container, lint) = (checkpoint.container(), lint(checkpoint)?);
    let errors = lint.violations.iter().filter(|found| found.severity == Severity::Error);
    let problems: Vec<String> = errors
        .map(|found| match &found.tensor {
            Some(tensor) => format!("tensor {tensor:?} {}", found.message),
            None => found.message.clone(),
        })
        .collect();
    let certified = container.tensors().iter().filter(|entry| entry.certificate.is_some());
    Ok(Debug {
        path: checkpoint.path().to_path_buf(),
        health: if problems.is_empty() { Health::Ok } else { Health::Broken },
        format: container.format(),
        tensors: container.tensors().len(),
        architecture: lint.architecture,
        files: container.files().len(),
        file_size: container.byte_len(),
        has_data: container.files().iter().all(|file| file.bytes().is_some()),
        seal: container.seal(),
        certified_tensors: certified.count(),
        has_config: checkpoint.config_json().is_some(),
        has_tokenizer: checkpoint.tokenizer_json().is_ok_and(|json| json.is_some()),
        has_chat_template: checkpoint.chat_template().is_some(),
        problems,
        warnings: lint.warnings,
    })
}

impl fmt::Display for Debug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let health = if self.health == Health::Ok { "OK" } else { "BROKEN" };
        let files =
            if self.files == 1 { String::new() } else { format!(" in {} files", self.files) };
        let seal = self.seal.map_or_else(|| "none".to_owned(), |seal| seal.to_string());
        for (what, value) in [
            ("health", health.to_owned()),
            ("file", self.path.display().to_string()),
            ("format", self.format.to_owned()),
            ("architecture", self.architecture.unwrap_or("unknown").to_owned()),
            ("tensors", format!("{}, {} of them certified", self.tensors, self.certified_tensors)),
            ("size", format!("{}{files}", units::bytes(self.file_size))),
            ("seal", seal),
            ("configuration", yes(self.has_config)),
            ("tokenizer", yes(self.has_tokenizer)),
            ("chat template", yes(self.has_chat_template)),
            ("warnings", format!("{} (apr lint lists them)", self.warnings)),
        ] {
            writeln!(f, "{what:<16}{value}")?;
        }
        for problem in self.problems.iter().take(SHOWN) {
            writeln!(f, "{:<16}{problem}", "problem")?;
        }
        match self.problems.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "{:<16}and {more} more (apr lint lists them)", ""),
        }
    }
}

/// Problems that are shown.
const SHOWN: usize = 5;
