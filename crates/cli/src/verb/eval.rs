//! `apr eval MODEL [--text FILE] [--reference MODEL]`

use super::Task;
use super::model_args::LoadArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, EvalOptions, EvalText, Evaluation, LoadOptions, Reference, TextModel};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An .apr or SafeTensors file, a Hugging Face folder, or hf://ORG/NAME
    model: PathBuf,
    /// The text to score, UTF-8 [default: a text that comes with apr]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens per window; every window is scored alone
    #[arg(long, value_name = "N", default_value_t = 256)]
    window: usize,
    /// Fail if the perplexity is above this
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// Compare the distributions of the next token with those of this model
    #[arg(long, value_name = "MODEL", conflicts_with = "reference_logits")]
    reference: Option<PathBuf>,
    /// Compare them with the logits in this file
    #[arg(long, value_name = "FILE")]
    reference_logits: Option<PathBuf>,
    /// Write the logits of the model, for --reference-logits: 2 bytes a value
    #[arg(long, value_name = "FILE")]
    save_logits: Option<PathBuf>,
    #[command(flatten)]
    load: LoadArgs,
}

impl Task for Args {
    type Report = Evaluation;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let text = self.text.as_deref().map_or_else(|| Ok(EvalText::default()), EvalText::read)?;
        let (load, progress) = (self.load.options()?, Bar::default());
        let model = TextModel::open(&open(&self.model)?, &load, &progress)?;
        let as_stored = LoadOptions { recipe: None, ..load };
        let reference =
            self.reference.map(|path| TextModel::open(&open(&path)?, &as_stored, &progress));
        let reference = reference.transpose()?;
        let options = EvalOptions {
            window: self.window,
            threshold: self.threshold,
            reference: match (&reference, &self.reference_logits) {
                (Some(model), _) => Some(Reference::Model(model)),
                (None, logits) => logits.as_deref().map(Reference::Logits),
            },
            save_logits: self.save_logits.as_deref(),
        };
        let evaluation = apr::evaluate(&model, &text, &options, &progress)?;
        output.report(&evaluation)?;
        let (Some(threshold), Some(false)) = (evaluation.threshold, evaluation.passed) else {
            return Ok(Outcome::Success);
        };
        let (model, perplexity) = (self.model.display(), evaluation.perplexity);
        output.verdict(&format!("{model}: perplexity {perplexity:.4} is above {threshold}"));
        Ok(Outcome::Failure)
    }
}
