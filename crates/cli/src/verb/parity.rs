//! `apr parity MODEL [--path cpu]`

use super::Task;
use super::model_args::LoadArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, Parity, ParityPath};
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME from the local cache
    model: PathBuf,
    /// The path to compare with the reference path
    #[arg(long, value_enum, default_value = "gpu")]
    path: Path,
    /// Fail if they do not match
    #[arg(long)]
    assert: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Path {
    /// An accelerator's, with the processor's
    Gpu,
    /// The kernels for vector instructions, with the portable ones
    Cpu,
}

impl Task for Args {
    type Report = Parity;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let path = match self.path {
            Path::Gpu => ParityPath::Gpu,
            Path::Cpu => ParityPath::Cpu,
        };
        let (checkpoint, load) = (open(&self.model)?, self.load.options()?);
        let parity = apr::parity(&checkpoint, path, &load, &Bar::default())?;
        output.report(&parity)?;
        if parity.matches || !self.assert {
            return Ok(Outcome::Success);
        }
        output.verdict(&format!("{}: the paths do not match", self.model.display()));
        Ok(Outcome::Failure)
    }
}
