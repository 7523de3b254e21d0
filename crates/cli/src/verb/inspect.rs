//! `apr inspect FILE`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Error, Inspection};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, hf://ORG/NAME, or - for a pipe
    model: PathBuf,
}

impl Task for Args {
    type Report = Inspection;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::inspect(&open_header(&self.model)?)?)?;
        Ok(Outcome::Success)
    }
}
