//! `apr diff A B`

use super::Task;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Diff, Error};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME
    a: PathBuf,
    /// Another, of any format
    b: PathBuf,
    /// Fail if they differ
    #[arg(long)]
    assert: bool,
}

impl Task for Args {
    type Report = Diff;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let diff = apr::diff(&open(&self.a)?, &open(&self.b)?, &Bar::default())?;
        output.report(&diff)?;
        if diff.identical || !self.assert {
            return Ok(Outcome::Success);
        }
        let (a, b) = (self.a.display(), self.b.display());
        output.verdict(&format!("{a} and {b}: {} differences", diff.difference_count));
        Ok(Outcome::Failure)
    }
}
