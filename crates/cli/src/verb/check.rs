//! `apr check MODEL`

use super::Task;
use super::model_args::LoadArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, SelfCheck};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME from the local cache
    model: PathBuf,
    #[command(flatten)]
    load: LoadArgs,
}

impl Task for Args {
    type Report = SelfCheck;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let load = self.load.options()?;
        let check = apr::check(&open(&self.model)?, &load, &Bar::default())?;
        output.report(&check)?;
        if check.failed == 0 {
            return Ok(Outcome::Success);
        }
        let failed: Vec<String> = check.failures().map(ToString::to_string).collect();
        output.verdict(&format!("{}: {}", self.model.display(), failed.join("; ")));
        Ok(Outcome::Failure)
    }
}
