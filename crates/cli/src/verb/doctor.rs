//! `apr doctor`

use super::Task;
use super::model_args::forced_kernels;
use crate::Outcome;
use crate::output::Output;
use apr::{Doctor, Error};

#[derive(clap::Args)]
pub(crate) struct Args {}

impl Task for Args {
    type Report = Doctor;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::doctor(forced_kernels().as_deref())?)?;
        Ok(Outcome::Success)
    }
}
