//! `apr merge MODEL MODEL … --strategy STRATEGY -o OUT`

use super::Task;
use super::convert_args::ConvertArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Checkpoint, Error, Merge, MergeInput, MergePlan, Recipe, Strategy};
use clap::ValueEnum;
use schemars::JsonSchema;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The models, two or more: files, folders or hf://ORG/NAME; types, names and everything beside
    /// the weights are those of the first
    #[arg(num_args = 2.., required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// How to merge
    #[arg(long, default_value = "linear")]
    strategy: Name,
    /// How much a model counts, once for each model in their order [default: all the same]
    #[arg(long, value_name = "WEIGHT")]
    weight: Vec<f64>,
    /// slerp: where between the first model (0) and the second (1) [default: 0.5]
    #[arg(long, value_parser = share)]
    t: Option<f64>,
    /// ties, dare: share of the changes that is kept, above 0 [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    density: Option<f64>,
    /// dare: the same seed keeps the same changes [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// ties, dare: the model that the others were made from
    #[arg(long, value_name = "MODEL", required_if_eq_any([("strategy", "ties"), ("strategy", "dare")]))]
    base: Option<PathBuf>,
    #[command(flatten)]
    convert: ConvertArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The weighted mean
    Linear,
    /// Along the arc between two models
    Slerp,
    /// The largest changes of a base, where the models agree on the sign
    Ties,
    /// A random part of the changes of a base, scaled up for what is dropped
    Dare,
}

/// What the verb reports: the proof of the file, or the plan of it.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(crate) enum Merged {
    Merge(Box<Merge>),
    Plan(Box<MergePlan>),
}

impl Args {
    fn strategy(&self) -> Result<Strategy, Error> {
        let Self { t, density, seed, .. } = *self;
        let refuse = |option: &str, of: &str| {
            Err(Error::Argument(format!("{option} is a setting of {of} alone")))
        };
        if t.is_some() && self.strategy != Name::Slerp {
            return refuse("--t", "slerp");
        }
        if seed.is_some() && self.strategy != Name::Dare {
            return refuse("--seed", "dare");
        }
        if density.is_some() && !matches!(self.strategy, Name::Ties | Name::Dare) {
            return refuse("--density", "ties and dare");
        }
        let density = density.unwrap_or(0.5);
        if density == 0.0 {
            return Err(Error::Argument(
                "--density 0 keeps no change: the result is the base".into(),
            ));
        }
        Ok(match self.strategy {
            Name::Linear => Strategy::Linear,
            Name::Slerp => Strategy::Slerp { t: t.unwrap_or(0.5) },
            Name::Ties => Strategy::Ties { density },
            Name::Dare => Strategy::Dare { density, seed: seed.unwrap_or(0) },
        })
    }
}

impl Task for Args {
    type Report = Merged;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let strategy = self.strategy()?;
        let (target, options) = (self.convert.target()?, self.convert.options(Recipe::KEEP));
        let models = self.models.iter().map(|model| open(model));
        let models: Vec<Checkpoint> = models.collect::<Result<_, _>>()?;
        let base = self.base.as_deref().map(open).transpose()?;
        let (base, weights) = (base.as_ref(), &self.weight[..]);
        let input = MergeInput { models: &models, base, weights, strategy };
        if self.convert.is_plan() {
            output.report(&apr::merge_plan(&input, target, &options)?)?;
        } else {
            output.report(&apr::merge(&input, target, &options, &Bar::default())?)?;
        }
        Ok(Outcome::Success)
    }
}

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "not a number from 0 to 1".to_owned())
}
