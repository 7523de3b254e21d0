//! How a token's vector goes through a model: every step, what it computes, and how wide its
//! result is.

use crate::formula::{formula, has};
use crate::inspect::total_params;
use crate::units::{self, Table};
use crate::{Checkpoint, Error};
use apr_model::{Arch, ModelConfig, Param, Part, PlacedTensor, Residual, layers_in};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// How data flows through a model.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Flow {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Elements of all tensors that have dimensions.
    pub total_params: u64,
    /// From tokens to the first layer.
    pub input: Vec<FlowStep>,
    /// What every layer does.
    pub layers: FlowLayers,
    /// From the last layer to the scores of the next token.
    pub output: Vec<FlowStep>,
}

/// What every layer does.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FlowLayers {
    /// Number of layers.
    pub count: usize,
    /// The steps of one.
    pub steps: Vec<FlowStep>,
}

/// A step.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FlowStep {
    /// Its name.
    pub name: String,
    /// What it computes. x is the vector of a position, n the same after a norm.
    pub formula: String,
    /// Width of its result for each position, where a tensor tells it.
    pub width: Option<usize>,
    /// Names of its tensors in the file; of those that every layer has, in the first.
    pub tensors: Vec<String>,
    /// Elements of these.
    pub params: u64,
}

/// The parts in the order in which they compute.
const INPUT: [Part; 2] = [Part::TokenEmbedding, Part::PositionEmbedding];
const BEFORE_ATTENTION: [Part; 7] = [
    Part::AttentionNorm,
    Part::QueryKeyValue,
    Part::Query,
    Part::Key,
    Part::Value,
    Part::QueryNorm,
    Part::KeyNorm,
];
const AFTER_ATTENTION: [Part; 12] = [
    Part::AttentionOutput,
    Part::PostAttentionNorm,
    Part::MlpNorm,
    Part::Router,
    Part::MlpGate,
    Part::MlpUp,
    Part::MlpGateUp,
    Part::MlpDown,
    Part::ExpertGate,
    Part::ExpertUp,
    Part::ExpertDown,
    Part::PostMlpNorm,
];

/// Shows how data flows through a model, from its header.
///
/// # Errors
/// When the architecture is not supported.
pub fn flow(checkpoint: &Checkpoint) -> Result<Flow, Error> {
    let (arch, survey) = checkpoint.survey()?;
    let config = checkpoint.known_config()?;
    let stage = Stage { arch, config: config.as_ref(), tensors: &survey.tensors };
    let mut steps = stage.steps(&BEFORE_ATTENTION);
    steps.extend(stage.rotation());
    steps.push(stage.attention());
    steps.extend(stage.steps(&AFTER_ATTENTION));
    let mut output = stage.steps(&[Part::FinalNorm, Part::Head]);
    output.extend(stage.tied_head());
    Ok(Flow {
        architecture: arch.name,
        total_params: total_params(checkpoint.container()),
        input: stage.steps(&INPUT),
        layers: FlowLayers { count: layers_in(checkpoint.container()), steps },
        output,
    })
}

struct Stage<'a> {
    arch: &'static Arch,
    config: Option<&'a ModelConfig>,
    tensors: &'a [PlacedTensor],
}

impl Stage<'_> {
    fn steps(&self, parts: &[Part]) -> Vec<FlowStep> {
        parts.iter().filter_map(|part| self.step(*part)).collect()
    }

    /// The tensors of a part, in the first layer that has it.
    fn of(&self, part: Part) -> Vec<&PlacedTensor> {
        let mut of_part = self.tensors.iter().filter(|tensor| tensor.role.part == part);
        let layer = of_part.clone().map(|tensor| tensor.layer).min();
        of_part.by_ref().filter(|tensor| Some(tensor.layer) == layer).collect()
    }

    fn step(&self, part: Part) -> Option<FlowStep> {
        let tensors = self.of(part);
        let weight = tensors.iter().find(|tensor| tensor.role.param == Param::Weight)?;
        let parallel = self.config.is_some_and(|config| config.residual == Residual::Parallel);
        let mut formula = formula(self.arch, part);
        if parallel && part == Part::MlpNorm {
            formula += ", of the x that attention read";
        }
        Some(FlowStep {
            name: part.name().to_owned(),
            formula,
            width: Some(width(weight)),
            tensors: tensors.iter().flat_map(|tensor| tensor.sources.clone()).collect(),
            params: units::total(
                tensors.iter().map(|tensor| units::size(tensor.layout.elem_count())),
            ),
        })
    }

    fn rotation(&self) -> Option<FlowStep> {
        let formula = self.config.and_then(|config| config.rope.as_ref()).map_or_else(
            || "q, k rotated by their position".to_owned(),
            |rope| {
                let (dims, theta) = (rope.dims, rope.theta);
                format!(
                    "first {dims} of each head of q, k rotated by position · {theta}^(−2i/{dims})"
                )
            },
        );
        self.arch.is_rotary().then(|| bare("rotary positions", formula, None))
    }

    fn attention(&self) -> FlowStep {
        let output = self.of(Part::AttentionOutput);
        let weight = output.iter().find(|tensor| tensor.role.param == Param::Weight);
        let width = weight.map(|tensor| {
            let (rows, cols) = (tensor.layout.row_count(), tensor.layout.row_elems());
            if tensor.form.transposed { rows } else { cols }
        });
        let mut formula = "a = softmax(q·kᵀ / √d)·v over positions up to its own".to_owned();
        if let Some(config) = self.config {
            formula += &format!(", {} heads, {} of keys", config.heads, config.kv_heads);
        }
        bare("attention", formula, width)
    }

    /// The head where it is the embedding.
    fn tied_head(&self) -> Option<FlowStep> {
        let embedding = self.of(Part::TokenEmbedding);
        let [embedding] = embedding[..] else { return None };
        let tied = match self.config {
            Some(config) => config.tied,
            None => self.of(Part::Head).is_empty(),
        };
        let vocabulary = embedding.layout.row_count();
        let may_be_tied = has(self.arch, Part::Head, Param::Weight) && tied;
        may_be_tied.then(|| {
            let formula = "logits = E·x, E the token embedding".to_owned();
            bare("output head", formula, Some(vocabulary))
        })
    }
}

/// A step without tensors of its own.
fn bare(name: &str, formula: String, width: Option<usize>) -> FlowStep {
    FlowStep { name: name.to_owned(), formula, width, tensors: Vec::new(), params: 0 }
}

/// Width of what comes of a weight: rows of a matrix, columns of a table, elements of a vector.
fn width(weight: &PlacedTensor) -> usize {
    let layout = &weight.layout;
    let is_table = matches!(weight.role.part, Part::TokenEmbedding | Part::PositionEmbedding);
    match layout.shape() {
        [.., _, cols] if is_table || weight.form.transposed => *cols,
        [.., rows, _] => *rows,
        _ => layout.row_elems(),
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arch, params) = (self.architecture, units::count(self.total_params));
        writeln!(f, "{arch}, {} layers, {params} parameters\n", self.layers.count)?;
        let mut table = Table::new(&["step", "computes", "width", "parameters"]);
        let mut add = |mark: &str, step: &FlowStep| {
            let width = step.width.map_or_else(String::new, |width| width.to_string());
            let params = if step.params > 0 { units::count(step.params) } else { String::new() };
            table.row([format!("{mark}{}", step.name), step.formula.clone(), width, params]);
        };
        self.input.iter().for_each(|step| add("", step));
        for (at, step) in self.layers.steps.iter().enumerate() {
            let first = if at == 0 { "┌ " } else { "│ " };
            add(if at + 1 == self.layers.steps.len() { "└ " } else { first }, step);
        }
        self.output.iter().for_each(|step| add("", step));
        write!(f, "{}", table.right_align([2, 3]))?;
        writeln!(f, "\nwhat is bracketed happens {} times, once in each layer", self.layers.count)
    }
}
