//! `apr list`

use crate::Outcome;
use crate::output::Output;
use apr::Error;

#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::list()?)?;
        Ok(Outcome::Success)
    }
}
