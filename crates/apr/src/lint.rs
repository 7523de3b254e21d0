//! What is questionable about a file, from its header alone. Nothing here reads a weight.

mod rules;

use crate::units::{self, Table};
use crate::{Checkpoint, Error};
use rules::{RULES, Subject};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Violations of a rule that are shown.
const SHOWN: usize = 3;

/// What is questionable about a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Lint {
    /// Container format.
    pub format: &'static str,
    /// Name of the architecture; none if it is not a supported one.
    pub architecture: Option<&'static str>,
    /// Number of tensors.
    pub tensor_count: usize,
    /// Everything found, the gravest first.
    pub violations: Vec<Violation>,
    /// Number of errors among them.
    pub errors: usize,
    /// Number of warnings among them.
    pub warnings: usize,
}

/// A rule that a file breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Violation {
    /// How grave it is.
    pub severity: Severity,
    /// Name of the rule.
    pub rule: &'static str,
    /// The tensor that breaks it, if it is one.
    pub tensor: Option<String>,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The model cannot run.
    Error,
    /// It runs, or other programs do not run it, in a way that nobody may want.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// Looks for everything questionable about a file, in its header.
///
/// # Errors
/// None of its own: what is wrong is in the report.
pub fn lint(checkpoint: &Checkpoint) -> Result<Lint, Error> {
    let subject = Subject::new(checkpoint);
    let mut violations: Vec<Violation> = RULES.iter().flat_map(|rule| rule(&subject)).collect();
    violations.sort();
    let count = |severity| violations.iter().filter(|found| found.severity == severity).count();
    Ok(Lint {
        format: checkpoint.container().format(),
        architecture: checkpoint.arch_and_layers().ok().map(|(arch, _)| arch.name),
        tensor_count: checkpoint.container().tensors().len(),
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        violations,
    })
}

/// A table of violations, of each rule the first few.
pub(crate) fn write_violations(
    f: &mut fmt::Formatter<'_>,
    violations: &[Violation],
) -> fmt::Result {
    let mut rules: BTreeMap<(Severity, &str), Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        rules.entry((violation.severity, violation.rule)).or_default().push(violation);
    }
    let mut table = Table::new(&["severity", "rule", ""]);
    for ((severity, rule), violations) in &rules {
        for violation in violations.iter().take(SHOWN) {
            let tensor = violation.tensor.as_ref();
            let tensor = tensor.map_or_else(String::new, |name| format!("{name:?}: "));
            let message = format!("{tensor}{}", violation.message);
            table.row([severity.to_string(), (*rule).to_owned(), message]);
        }
        if let Some(more) = violations.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let more = format!("and {} more", units::count(units::size(more)));
            table.row([severity.to_string(), (*rule).to_owned(), more]);
        }
    }
    if !rules.is_empty() {
        writeln!(f, "{table}")?;
    }
    Ok(())
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_violations(f, &self.violations)?;
        let infos = self.violations.len() - self.errors - self.warnings;
        let (errors, warnings, tensors) = (self.errors, self.warnings, self.tensor_count);
        writeln!(
            f,
            "{errors} errors, {warnings} warnings, {infos} remarks on {tensors} tensors ({})",
            self.format
        )
    }
}
