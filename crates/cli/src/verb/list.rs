//! `apr list`

use super::Task;
use crate::Outcome;
use crate::output::Output;
use apr::{CachedModels, Error};

#[derive(clap::Args)]
pub(crate) struct Args {}

impl Task for Args {
    type Report = CachedModels;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::list()?)?;
        Ok(Outcome::Success)
    }
}
