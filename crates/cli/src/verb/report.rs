//! `apr report FILE [--against SRC] -o report.html`

use super::Task;
use super::model_args::MachineArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, EvalText, ModelReport, ReportOptions, ReportText, VerdictStatus};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An .apr, GGUF or SafeTensors file, a Hugging Face folder, or hf://ORG/NAME
    file: PathBuf,
    /// What it was made from: everything is measured against it, and both are run over a text
    #[arg(long, value_name = "SRC")]
    against: Option<PathBuf>,
    /// The page to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The text to run both over, UTF-8 [default: a text that comes with apr]
    #[arg(long, value_name = "FILE", requires = "against")]
    text: Option<PathBuf>,
    /// Tokens per window of the text; every window is scored alone [default: 256, or what the
    /// model holds]
    #[arg(long, value_name = "N", requires = "against")]
    window: Option<usize>,
    /// Do not run them over a text
    #[arg(long, conflicts_with = "text")]
    no_eval: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Task for Args {
    type Report = ModelReport;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let text = match &self.text {
            Some(path) => ReportText::Given(EvalText::read(path)?),
            None if self.no_eval => ReportText::None,
            None => ReportText::Default,
        };
        let checkpoint = open(&self.file)?;
        let against = self.against.as_deref().map(open).transpose()?;
        let options = ReportOptions {
            against: against.as_ref(),
            text,
            window: self.window,
            load: self.machine.options(),
        };
        let report = apr::report(&checkpoint, &self.output, &options, &Bar::default())?;
        output.report(&report)?;
        let verdict = &report.content.verdict;
        if verdict.status != VerdictStatus::NotProven {
            return Ok(Outcome::Success);
        }
        output.verdict(&format!("{}: not proven: {}", self.file.display(), verdict.reason));
        Ok(Outcome::Failure)
    }
}
