//! `apr compare-hf FILE --hf ORG/NAME`

use super::Task;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, HubComparison};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME
    file: PathBuf,
    /// The published checkpoint: ORG/NAME[@REVISION] of the hub, or a folder or file
    #[arg(long, value_name = "ORG/NAME")]
    hf: PathBuf,
    /// Fail if a tensor is not that of the checkpoint, up to the rounding of its type
    #[arg(long)]
    assert: bool,
}

impl Task for Args {
    type Report = HubComparison;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let (file, reference) = (open(&self.file)?, open(&apr::published(&self.hf))?);
        let comparison = apr::compare_hf(&file, &reference, &Bar::default())?;
        output.report(&comparison)?;
        let Some(worst) = comparison.unfaithful().next().filter(|_| self.assert) else {
            return Ok(Outcome::Success);
        };
        let (file, reason) = (self.file.display(), worst.reason.as_deref().unwrap_or_default());
        let count = comparison.unfaithful().count();
        output.verdict(&format!(
            "{file}: {count} tensors are not those of {}; {:?}: {reason}",
            self.hf.display(),
            worst.name
        ));
        Ok(Outcome::Failure)
    }
}
