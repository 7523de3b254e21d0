//! `apr rm hf://ORG/NAME[@REVISION]`

use super::Task;
use crate::Outcome;
use crate::output::Output;
use apr::{Error, RemovedModel};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model: hf://ORG/NAME, or hf://ORG/NAME@REVISION for that revision alone
    #[arg(value_name = "MODEL")]
    name: String,
}

impl Task for Args {
    type Report = RemovedModel;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::remove(&self.name)?)?;
        Ok(Outcome::Success)
    }
}
