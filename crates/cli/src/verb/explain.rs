//! `apr explain --tensor NAME --file FILE`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Error, Explanation};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tensor of this name, else the only one whose name contains it
    #[arg(long, value_name = "NAME")]
    tensor: String,
    /// A model file or folder, hf://ORG/NAME from the local cache, or - for a pipe
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

impl Task for Args {
    type Report = Explanation;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        output.report(&apr::explain(&open_header(&self.file)?, &self.tensor)?)?;
        Ok(Outcome::Success)
    }
}
