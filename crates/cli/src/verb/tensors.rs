//! `apr tensors FILE`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Error, TensorList};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, hf://ORG/NAME, or - for a pipe
    model: PathBuf,
}

impl Task for Args {
    type Report = TensorList;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::tensors(&open_header(&self.model)?))?;
        Ok(Outcome::Success)
    }
}
