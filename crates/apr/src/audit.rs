//! What to think of a file that somebody else made: everything that can be told without running it.

mod template;
mod tensors;
mod tokenizer;

use crate::compare_hf::compare_hf;
use crate::lint::{Severity, Violation, lint, write_violations};
use crate::validate::check_bytes;
use crate::{Checkpoint, Error, Progress};
use apr_format::{FormatError, Malformed};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// What was found in a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Audit {
    /// Where it was opened.
    pub file: PathBuf,
    /// The model that it was held against, if it was.
    pub against: Option<PathBuf>,
    /// Container format.
    pub format: &'static str,
    /// Name of the architecture; none if it is not a supported one.
    pub architecture: Option<&'static str>,
    /// Number of tensors, of each of which every value was looked at.
    pub tensor_count: usize,
    /// Everything found, the gravest first.
    pub findings: Vec<Violation>,
    /// Number of errors among them.
    pub errors: usize,
    /// Number of warnings among them.
    pub warnings: usize,
    /// Number of remarks among them.
    pub infos: usize,
}

impl Audit {
    /// The gravest finding of this severity or a graver one, if there is any.
    #[must_use]
    pub fn worst(&self, severity: Severity) -> Option<&Violation> {
        self.findings.first().filter(|finding| finding.severity <= severity)
    }
}

/// Looks at everything in a file: its header and extents, the tensors that the architecture has,
/// hashes if there are any, every value and every block, tokenizer and chat template; with `base`, also where
/// it departs from the model that it is said to be.
///
/// # Errors
/// When a tensor cannot be read. What is wrong with the file is in the report.
pub fn audit(
    checkpoint: &Checkpoint,
    base: Option<&Checkpoint>,
    progress: &dyn Progress,
) -> Result<Audit, Error> {
    let header = lint(checkpoint)?;
    let mut findings = header.violations;
    findings.extend(extents(checkpoint, progress));
    findings.extend(tensors::findings(checkpoint, progress)?);
    findings.extend(tokenizer::findings(checkpoint, base));
    findings.extend(template::findings(checkpoint, base));
    if let Some(base) = base {
        findings.extend(departures(checkpoint, base, progress)?);
    }
    findings.sort();
    findings.dedup();
    let count = |severity| findings.iter().filter(|found| found.severity == severity).count();
    Ok(Audit {
        file: checkpoint.path().to_path_buf(),
        against: base.map(|base| base.path().to_path_buf()),
        format: header.format,
        architecture: header.architecture,
        tensor_count: header.tensor_count,
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        infos: count(Severity::Info),
        findings,
    })
}

fn finding(
    severity: Severity,
    rule: &'static str,
    tensor: Option<&str>,
    message: String,
) -> Violation {
    Violation { severity, rule, tensor: tensor.map(str::to_owned), message }
}

/// Sizes and extents were checked when the file was opened: what is left are hashes, and what lies
/// between the tensors.
fn extents(checkpoint: &Checkpoint, progress: &dyn Progress) -> Vec<Violation> {
    let container = checkpoint.container();
    // The seal promises that nothing lies between the tensors; without one it is only odd.
    let (severity, checked) = if container.seal().is_some() {
        (Severity::Error, check_bytes(checkpoint, progress))
    } else {
        (Severity::Warning, container.check_padding().map_err(Error::from))
    };
    let Err(error) = checked else { return Vec::new() };
    let (rule, message) = if let Error::Format(FormatError::Malformed { cause, .. }) = &error {
        let rule = if matches!(cause, Malformed::Padding { .. }) { "padding" } else { "hash" };
        (rule, cause.to_string())
    } else {
        ("bytes", error.to_string())
    };
    vec![finding(severity, rule, error.tensor(), message)]
}

/// Tensors that are not those of the model that the file is said to be.
fn departures(
    checkpoint: &Checkpoint,
    base: &Checkpoint,
    progress: &dyn Progress,
) -> Result<Vec<Violation>, Error> {
    let comparison = compare_hf(checkpoint, base, progress)?;
    let departures = comparison.unfaithful().map(|tensor| {
        let reason = tensor.reason.clone().unwrap_or_default();
        finding(Severity::Warning, "departs-from-base", Some(&tensor.name), reason)
    });
    Ok(departures.collect())
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_violations(f, &self.findings)?;
        let Self { errors, warnings, infos, tensor_count, format, .. } = self;
        let architecture = self.architecture.unwrap_or("unknown architecture");
        writeln!(f, "{} ({format}, {architecture}, {tensor_count} tensors)", self.file.display())?;
        if let Some(base) = &self.against {
            writeln!(f, "against {}", base.display())?;
        }
        let verdict = match (errors, warnings) {
            (0, 0) => "CLEAN",
            (0, _) => "DOUBTFUL",
            (_, _) => "DAMAGED",
        };
        writeln!(f, "{verdict}  {errors} errors, {warnings} warnings, {infos} remarks")
    }
}
