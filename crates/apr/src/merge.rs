//! Several models of one architecture become one.

mod change;
mod dare;
mod linear;
mod report;
mod slerp;
mod ties;

pub use report::{Merge, MergePlan, MergedModels};

use crate::operation::{Operation, Origin, Piece};
use crate::source::Source;
use crate::{Checkpoint, ConvertOptions, Error, Progress, convert, derived};
use apr_model::{ModelConfig, PlacedTensor};
use apr_token::Difference;
use dare::Dare;
use linear::Linear;
use serde_json::{Map, Value, json};
use slerp::Slerp;
use std::collections::BTreeMap;
use std::path::Path;
use ties::Ties;

/// How models are merged; docs/operations.md has the formulas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strategy {
    /// The weighted mean of every value.
    Linear,
    /// Along the arc between two tensors, from the first (0) to the second (1).
    Slerp {
        /// Where on the arc.
        t: f64,
    },
    /// Of what each model changed in the base: the largest changes, where the models agree on the
    /// sign.
    Ties {
        /// Share of the changes that are kept.
        density: f64,
    },
    /// Of what each model changed in the base: a random part, scaled up for what is dropped.
    Dare {
        /// Share of the changes that are kept.
        density: f64,
        /// Decides which.
        seed: u64,
    },
}

impl Strategy {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Slerp { .. } => "slerp",
            Self::Ties { .. } => "ties",
            Self::Dare { .. } => "dare",
        }
    }

    /// Whether it is about changes of a base.
    #[must_use]
    pub const fn needs_base(self) -> bool {
        matches!(self, Self::Ties { .. } | Self::Dare { .. })
    }

    fn settings(self) -> Map<String, Value> {
        let mut settings = Map::new();
        let mut set = |key: &str, value: Value| settings.insert(key.to_owned(), value);
        set("name", json!("merge"));
        set("strategy", json!(self.name()));
        match self {
            Self::Linear => {}
            Self::Slerp { t } => _ = set("t", json!(t)),
            Self::Ties { density } => _ = set("density", json!(density)),
            Self::Dare { density, seed } => {
                set("density", json!(density));
                set("seed", json!(seed));
            }
        }
        settings
    }
}

/// What to merge, and how.
#[derive(Clone, Copy)]
pub struct MergeInput<'a> {
    /// The models; what is not a weight is taken from the first.
    pub models: &'a [Checkpoint],
    /// What the models were made from, if the strategy needs it.
    pub base: Option<&'a Checkpoint>,
    /// How much each model counts; all the same if empty.
    pub weights: &'a [f64],
    /// How.
    pub strategy: Strategy,
}

/// What a merge would write.
///
/// # Errors
/// When the models cannot be merged, or the result not be stored.
pub fn merge_plan(
    input: &MergeInput<'_>,
    target: &Path,
    options: &ConvertOptions,
) -> Result<MergePlan, Error> {
    let merging = Merging::new(input)?;
    let plan = convert::plan_origin(merging.origin(), target, options)?;
    Ok(MergePlan::new(&merging, plan))
}

/// Merges models tensor by tensor into the file `target` and proves it: the file is read back and
/// every element compared with its value, computed anew. Types, names and shapes are those of the
/// first model. The same input gives the same bytes.
///
/// # Errors
/// When the models differ in architecture, shapes or vocabulary, when one of them is damaged, or
/// the file cannot be written or proven. Then no file is left behind.
pub fn merge(
    input: &MergeInput<'_>,
    target: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Merge, Error> {
    let merging = Merging::new(input)?;
    let proof = convert::write(merging.origin(), target, options, progress)?;
    Ok(Merge::new(&merging, proof))
}

/// A model and where its tensors are, by canonical name.
struct Member<'a> {
    checkpoint: &'a Checkpoint,
    tensors: BTreeMap<String, PlacedTensor>,
}

/// Models that fit together.
struct Merging<'a> {
    /// The first is where everything else comes from.
    first: &'a Checkpoint,
    others: Vec<Member<'a>>,
    base: Option<Member<'a>>,
    /// How much each counts: a share of all.
    weights: Vec<f64>,
    strategy: Strategy,
}

impl<'a> Merging<'a> {
    fn new(input: &MergeInput<'a>) -> Result<Self, Error> {
        let MergeInput { models, base, weights, strategy } = *input;
        let [first, others @ ..] = models else {
            return Err(Error::Argument("nothing to merge".to_owned()));
        };
        check_strategy(input)?;
        let config = first.config()?;
        let tensors = Member::new(first, &config)?;
        let fitting = |other: &'a Checkpoint| tensors.check(&config, other);
        Ok(Self {
            first,
            others: others.iter().map(fitting).collect::<Result<_, _>>()?,
            base: base.filter(|_| strategy.needs_base()).map(fitting).transpose()?,
            weights: shares(weights, models.len())?,
            strategy,
        })
    }

    fn origin(&self) -> Origin<'_> {
        Origin { checkpoint: self.first, operation: Some(self) }
    }
}

/// Refuses what the strategy cannot do with these models.
fn check_strategy(input: &MergeInput<'_>) -> Result<(), Error> {
    let (count, name) = (input.models.len(), input.strategy.name());
    let refuse = |why: String| Err(Error::Argument(why));
    if count < 2 {
        return refuse("merge needs at least two models".to_owned());
    }
    if let Strategy::Slerp { .. } = input.strategy {
        if count != 2 {
            return refuse(format!("slerp is between two models, these are {count}"));
        }
        if !input.weights.is_empty() {
            return refuse("slerp has no weights: --t says where between the two".to_owned());
        }
    }
    if input.strategy.needs_base() != input.base.is_some() {
        return refuse(if input.base.is_none() {
            format!("{name} merges what the models changed: --base names what they were made from")
        } else {
            format!("{name} has no use for a base")
        });
    }
    Ok(())
}

/// The weights as shares of their sum.
fn shares(weights: &[f64], count: usize) -> Result<Vec<f64>, Error> {
    if weights.is_empty() {
        return Ok(vec![1.0 / count as f64; count]);
    }
    if weights.len() != count {
        return Err(Error::Argument(format!("{} weights for {count} models", weights.len())));
    }
    let sum: f64 = weights.iter().sum();
    let sound = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
    if !sound || sum <= 0.0 || !sum.is_finite() {
        return Err(Error::Argument("weights must be at least 0, and one above".to_owned()));
    }
    Ok(weights.iter().map(|weight| weight / sum).collect())
}

impl<'a> Member<'a> {
    fn new(checkpoint: &'a Checkpoint, config: &ModelConfig) -> Result<Self, Error> {
        let census = checkpoint.census(config)?;
        derived::check(checkpoint, config, &census)?;
        let placed = census.tensors.into_iter().map(|placed| (placed.name.clone(), placed));
        Ok(Self { checkpoint, tensors: placed.collect() })
    }

    /// The other model, if it fits to this one with parameters `config`.
    fn check(&self, config: &ModelConfig, other: &'a Checkpoint) -> Result<Self, Error> {
        let refuse = |why: String| {
            let (first, other) = (self.checkpoint.path().display(), other.path().display());
            Err(Error::Argument(format!("{other} does not fit to {first}: {why}")))
        };
        let others = other.config()?;
        if let Some((what, here, there)) = config.difference(&others) {
            return refuse(format!("its {what} is {there}, there {here}"));
        }
        if let (Some(_), Some(_)) = (self.checkpoint.tokenizer_json()?, other.tokenizer_json()?)
            && let Some(difference) = self.checkpoint.tokenizer()?.difference(&other.tokenizer()?)
            && !is_padding(&difference)
        {
            return refuse(format!("its vocabulary is another: {difference}"));
        }
        let member = Self::new(other, &others)?;
        for (name, placed) in &self.tensors {
            let found = member.tensors.get(name).map(canonical_shape);
            let expected = canonical_shape(placed);
            if found.as_ref() != Some(&expected) {
                let found = found.map_or("missing".to_owned(), |shape| format!("{shape:?}"));
                return refuse(format!("tensor {name:?} is {found}, there {expected:?}"));
            }
        }
        Ok(member)
    }

    fn source(&self, piece: &Piece<'_>) -> Result<Source, Error> {
        let missing = || {
            let (path, tensor) = (self.checkpoint.path().to_path_buf(), &piece.placed.name);
            Error::NoTensor { path, cause: format!("there is no tensor {tensor:?}") }
        };
        let placed = self.tensors.get(&piece.placed.name).ok_or_else(missing)?;
        piece.of(self.checkpoint, placed)
    }
}

/// Whether one vocabulary ends where the other only fills the rows of the embedding, as in GGUF.
fn is_padding(difference: &Difference) -> bool {
    match &difference.texts {
        [Some(text), None] | [None, Some(text)] => text.starts_with("[PAD"),
        [Some(_), Some(_)] | [None, None] => false,
    }
}

/// The shape that the tensor has in `.apr`.
fn canonical_shape(placed: &PlacedTensor) -> Vec<usize> {
    let mut shape = placed.layout.shape().to_vec();
    if placed.form.transposed {
        shape.reverse();
    }
    shape
}

impl Operation for Merging<'_> {
    fn changes(&self, _: &PlacedTensor) -> bool {
        true
    }

    fn apply(&self, own: Source, piece: &Piece<'_>) -> Result<Source, Error> {
        let plain = piece.plain();
        let first = plain.of(self.first, piece.placed)?;
        let others = self.others.iter().map(|other| other.source(&plain));
        let models: Vec<Source> =
            [Ok(first)].into_iter().chain(others).collect::<Result<_, _>>()?;
        let base = self.base.as_ref().map(|base| base.source(&plain)).transpose()?;
        let (weights, offset) = (self.weights.clone(), piece.form.offset);
        Ok(match (self.strategy, base) {
            (Strategy::Slerp { t }, _) => own.computed(Slerp::new(models, t)?, offset),
            (Strategy::Ties { density }, Some(base)) => {
                own.computed(Ties::new(base, models, weights, density)?, offset)
            }
            (Strategy::Dare { density, seed }, Some(base)) => {
                own.computed(Dare::new(base, (models, weights), (density, seed), &plain), offset)
            }
            (Strategy::Linear | Strategy::Ties { .. } | Strategy::Dare { .. }, _) => {
                own.computed(Linear::new(models, weights), offset)
            }
        })
    }

    fn others(&self) -> Vec<&Checkpoint> {
        self.others.iter().chain(&self.base).map(|member| member.checkpoint).collect()
    }

    fn settings(&self) -> Map<String, Value> {
        let mut settings = self.strategy.settings();
        if !matches!(self.strategy, Strategy::Slerp { .. }) {
            settings.insert("weights".to_owned(), json!(self.weights));
        }
        if self.base.is_some() {
            settings.insert("base".to_owned(), json!("the last of the others"));
        }
        settings
    }

    fn label(&self) -> String {
        let count = self.others.len() + 1;
        format!("the {} merge of {count} models", self.strategy.name())
    }
}
