//! `apr oracle FILE`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Error, Oracle};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, hf://ORG/NAME from the local cache, or - for a pipe
    model: PathBuf,
}

impl Task for Args {
    type Report = Oracle;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::oracle(&open_header(&self.model)?)?)?;
        Ok(Outcome::Success)
    }
}
