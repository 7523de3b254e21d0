//! `apr flow FILE`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Error, Flow};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, hf://ORG/NAME from the local cache, or - for a pipe
    model: PathBuf,
}

impl Task for Args {
    type Report = Flow;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::flow(&open_header(&self.model)?)?)?;
        Ok(Outcome::Success)
    }
}
