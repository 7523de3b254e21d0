//! `apr rosetta diff-tensors A B`

use super::Task;
use crate::Outcome;
use crate::open::open_header;
use crate::output::Output;
use apr::{Error, TensorNames};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(clap::Subcommand)]
enum Question {
    /// Which tensors of two files of a model are called or laid out differently
    DiffTensors {
        /// A model file or folder, hf://ORG/NAME, or - for a pipe
        a: PathBuf,
        /// Another, of any format
        b: PathBuf,
    },
}

impl Task for Args {
    type Report = TensorNames;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let Question::DiffTensors { a, b } = self.question;
        output.report(&apr::diff_tensors(&open_header(&a)?, &open_header(&b)?)?)?;
        Ok(Outcome::Success)
    }
}
