//! `apr audit FILE [--against BASE] [--fail-on LEVEL]`

use super::Task;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Audit, Error, Severity};
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME
    file: PathBuf,
    /// The model that it is said to be: show also where it departs from that
    #[arg(long, value_name = "BASE")]
    against: Option<PathBuf>,
    /// Fail if there is a finding of this level or a graver one
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::Error)]
    fail_on: Level,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    /// The model cannot run, or is damaged
    Error,
    /// It is in a way that nobody may want
    Warning,
    /// Worth knowing
    Info,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warning => Self::Warning,
            Level::Info => Self::Info,
        }
    }
}

impl Task for Args {
    type Report = Audit;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let base = self.against.as_deref().map(open).transpose()?;
        let audit = apr::audit(&open(&self.file)?, base.as_ref(), &Bar::default())?;
        output.report(&audit)?;
        let Some(worst) = audit.worst(self.fail_on.into()) else { return Ok(Outcome::Success) };
        let (file, errors, warnings) = (self.file.display(), audit.errors, audit.warnings);
        let (rule, message) = (worst.rule, &worst.message);
        let tensor = worst.tensor.as_ref().map(|name| format!("tensor {name:?}: "));
        output.verdict(&format!(
            "{file}: {errors} errors, {warnings} warnings; {rule}: {}{message}",
            tensor.unwrap_or_default()
        ));
        Ok(Outcome::Failure)
    }
}
