//! `apr trace MODEL [-p PROMPT] [--against MODEL]`

use super::Task;
use super::model_args::MachineArgs;
use crate::Outcome;
use crate::open::{open, open_header};
use crate::output::Output;
use crate::progress::Bar;
use apr::{DEFAULT_THRESHOLD, Error, SAMPLE_TEXT, Trace};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME from the local cache; without a prompt also - for
    /// a pipe
    model: PathBuf,
    /// Show what every layer computes for this text
    #[arg(short, long)]
    prompt: Option<String>,
    /// Another file of the same model: show how far every layer is from it, and name the tensors
    /// that are damaged
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    /// The share of a layer's values by which it may depart
    #[arg(long, value_name = "X", default_value_t = DEFAULT_THRESHOLD, requires = "against")]
    threshold: f64,
    /// Fail if a layer departs by more, or a tensor is damaged
    #[arg(long, requires = "against")]
    assert: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

impl Task for Args {
    type Report = Trace;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let (load, progress) = (self.machine.options(), Bar::default());
        let trace = match (&self.against, &self.prompt) {
            (Some(against), prompt) => {
                let pair = (&open(&self.model)?, &open(against)?);
                let prompt = prompt.as_deref().unwrap_or(SAMPLE_TEXT);
                apr::trace_against(pair, prompt, self.threshold, &load, &progress)?
            }
            (None, Some(prompt)) => {
                apr::trace_prompt(&open(&self.model)?, prompt, &load, &progress)?
            }
            (None, None) => apr::trace(&open_header(&self.model)?)?,
        };
        output.report(&trace)?;
        if !self.assert || trace.is_sound() {
            return Ok(Outcome::Success);
        }
        output.verdict(&format!("{}: departs from the reference", self.model.display()));
        Ok(Outcome::Failure)
    }
}
