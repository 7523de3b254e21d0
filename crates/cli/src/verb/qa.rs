//! `apr qa MODEL`

use super::Task;
use super::model_args::LoadArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, Qa};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME from the local cache
    model: PathBuf,
    #[command(flatten)]
    load: LoadArgs,
    /// Accepted for callers that leave out this gate: there is none
    #[arg(long)]
    skip_ollama: bool,
    /// Accepted for callers that leave out this gate: there is none
    #[arg(long)]
    skip_gpu_speedup: bool,
    /// Accepted for callers that leave out this gate: there is none
    #[arg(long)]
    skip_ptx_parity: bool,
}

impl Task for Args {
    type Report = Qa;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let load = self.load.options()?;
        let qa = apr::qa(&open(&self.model)?, &load, &Bar::default())?;
        output.report(&qa)?;
        if qa.passed {
            return Ok(Outcome::Success);
        }
        let failed: Vec<String> = qa.failures().map(ToString::to_string).collect();
        output.verdict(&format!("{}: {}", self.model.display(), failed.join("; ")));
        Ok(Outcome::Failure)
    }
}
