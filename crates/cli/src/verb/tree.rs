//! `apr tree FILE`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Error, Tree};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, hf://ORG/NAME from the local cache, or - for a pipe
    model: PathBuf,
}

impl Task for Args {
    type Report = Tree;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::tree(&open_header(&self.model)?)?)?;
        Ok(Outcome::Success)
    }
}
