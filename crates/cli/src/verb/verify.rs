//! `apr verify FILE.apr --against SRC`

use super::Task;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, Proof};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The .apr file
    file: PathBuf,
    /// The checkpoint that it was made from
    #[arg(long, value_name = "SRC")]
    against: PathBuf,
}

impl Task for Args {
    type Report = Proof;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let stored = open(&self.file)?;
        let source = open(&self.against)?;
        output.report(&apr::verify(&stored, &source, &Bar::default())?)?;
        Ok(Outcome::Success)
    }
}
