//! `apr prune SRC --method METHOD -o OUT`

use super::Task;
use super::convert_args::ConvertArgs;
use super::merge::share;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Error, Prune, PruneMethod, PrunePlan, Recipe};
use clap::ValueEnum;
use schemars::JsonSchema;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Hugging Face folder, a SafeTensors, GGUF or .apr file, or hf://ORG/NAME
    source: PathBuf,
    /// Which weights of the layers' matrices become zero
    #[arg(long, default_value = "magnitude")]
    method: Method,
    /// magnitude: the share of each matrix that becomes zero [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    target_ratio: Option<f64>,
    #[command(flatten)]
    convert: ConvertArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The smallest of each matrix
    Magnitude,
    /// The two smallest of every four inputs of an output that follow each other
    #[value(name = "2:4")]
    TwoOfFour,
}

/// What the verb reports: the proof of the file, or the plan of it.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(crate) enum Pruned {
    Prune(Box<Prune>),
    Plan(Box<PrunePlan>),
}

impl Args {
    fn method(&self) -> Result<PruneMethod, Error> {
        let ratio = self.target_ratio.unwrap_or(0.5);
        match self.method {
            Method::Magnitude => Ok(PruneMethod::Magnitude { ratio }),
            Method::TwoOfFour if ratio == 0.5 => Ok(PruneMethod::TwoOfFour),
            Method::TwoOfFour => Err(Error::Argument(
                "--method 2:4 makes half of the weights zero: it has no other --target-ratio"
                    .into(),
            )),
        }
    }
}

impl Task for Args {
    type Report = Pruned;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let (method, target) = (self.method()?, self.convert.target()?);
        let options = self.convert.options(Recipe::KEEP);
        let checkpoint = open(&self.source)?;
        if self.convert.is_plan() {
            output.report(&apr::prune_plan(&checkpoint, method, target, &options)?)?;
        } else {
            let bar = Bar::default();
            output.report(&apr::prune(&checkpoint, method, target, &options, &bar)?)?;
        }
        Ok(Outcome::Success)
    }
}
