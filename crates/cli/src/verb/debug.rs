//! `apr debug FILE`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Debug, Error};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, hf://ORG/NAME from the local cache, or - for a pipe
    model: PathBuf,
}

impl Task for Args {
    type Report = Debug;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::debug(&open_header(&self.model)?)?)?;
        Ok(Outcome::Success)
    }
}
