//! `apr validate FILE`

use super::Task;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, Validation};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME
    model: PathBuf,
}

impl Task for Args {
    type Report = Validation;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let validation = apr::validate(&open(&self.model)?, &Bar::default())?;
        output.report(&validation)?;
        if validation.failed == 0 {
            return Ok(Outcome::Success);
        }
        let failed: Vec<String> = validation.failures().map(ToString::to_string).collect();
        output.verdict(&format!("{}: {}", self.model.display(), failed.join("; ")));
        Ok(Outcome::Failure)
    }
}
