//! `apr pull hf://ORG/NAME[@REVISION]`

use super::Task;
use crate::Outcome;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, PulledModel};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model: hf://ORG/NAME, or hf://ORG/NAME@REVISION for a branch, a tag or a commit
    #[arg(value_name = "MODEL")]
    name: String,
    /// Of several weight files take this one; a part of its name that no other has is enough
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
}

impl Task for Args {
    type Report = PulledModel;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::pull(&self.name, self.file.as_deref(), &Bar::default())?)?;
        Ok(Outcome::Success)
    }
}
