//! `apr eval MODEL --text FILE`

use super::Task;
use super::model_args::LoadArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, EvalOptions, Evaluation, TextModel};
use std::fs;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An .apr or SafeTensors file, a Hugging Face folder, or hf://ORG/NAME
    model: PathBuf,
    /// The text to score, UTF-8
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens per window; every window is scored alone
    #[arg(long, value_name = "N", default_value_t = 256)]
    window: usize,
    #[command(flatten)]
    load: LoadArgs,
}

impl Task for Args {
    type Report = Evaluation;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let text = fs::read_to_string(&self.text)
            .map_err(|source| Error::Io { path: self.text.clone(), source })?;
        let name = self.text.file_name().unwrap_or_default().to_string_lossy();
        let progress = Bar::default();
        let checkpoint = open(&self.model)?;
        let model = TextModel::open(&checkpoint, &self.load.options()?, &progress)?;
        let options = EvalOptions { window: self.window };
        output.report(&apr::evaluate(&model, (&name, &text), options, &progress)?)?;
        Ok(Outcome::Success)
    }
}
