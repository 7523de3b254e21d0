//! Following a model layer by layer: what its layers are, what they compute for a prompt, and
//! where that departs from another file of the same model.

mod compare;
mod layers;
mod report;
mod run;
mod suspects;

use crate::{Checkpoint, Error, LoadOptions, Progress, Recipe, TextModel};
use apr_model::ModelConfig;
use compare::Tensors;
pub use report::{Against, DamagedTensor, Trace, TracedLayer, TracedOperation};
use run::{Pass, Run};

/// Tokens that are followed: what every operation computes for them is held in memory.
const MOST_TOKENS: usize = 128;

/// A share of values by which activations may depart.
pub const DEFAULT_THRESHOLD: f64 = 0.25;

/// The layers of a model, from its header.
///
/// # Errors
/// When its architecture is not supported.
pub fn trace(checkpoint: &Checkpoint) -> Result<Trace, Error> {
    layers::trace(checkpoint)
}

/// The same, with what every layer computes for `prompt`.
///
/// # Errors
/// When the model cannot be run, or the prompt has no tokens or more than 128.
pub fn trace_prompt(
    checkpoint: &Checkpoint,
    prompt: &str,
    load: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Trace, Error> {
    let model = TextModel::open(checkpoint, load, progress)?;
    let tokens = tokens(&model, prompt)?;
    let mut trace = layers::trace(checkpoint)?;
    trace.add_run(prompt, &tokens, Run::of(&model, &tokens, &Pass::Alone)?);
    Ok(trace)
}

/// The same, beside another file of the same model: how far every operation is from the
/// reference's, over all layers before it and by itself alone, and which tensors are damaged.
///
/// Every tensor is compared by value. One is damaged that departs from the reference by more than
/// twice what tensors of its kind, stored in its type, do: as a whole, or in the worst run of 32
/// values. So a quantized model can be held against the checkpoint that it was made from.
///
/// # Errors
/// When one of them cannot be run, or they are not files of one model.
pub fn trace_against(
    (checkpoint, against): (&Checkpoint, &Checkpoint),
    prompt: &str,
    threshold: f64,
    load: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Trace, Error> {
    let (config, reference_config) = (checkpoint.config()?, against.config()?);
    check_same(&config, &reference_config, against)?;
    let census = checkpoint.census(&config)?;
    let reference_census = against.census(&reference_config)?;
    let tensors = Tensors::new((checkpoint, &census), (against, &reference_census))?;
    let differences = tensors.compare(progress)?;
    let same_order = census.query_row_order() == reference_census.query_row_order();
    let open = |checkpoint: &Checkpoint| {
        // Heads in one order, so that queries and keys can be compared.
        let recipe = load.recipe.or_else(|| (!same_order).then_some(Recipe::KEEP));
        TextModel::open(checkpoint, &LoadOptions { recipe, ..load.clone() }, progress)
    };
    let reference = open(against)?;
    let tokens = tokens(&reference, prompt)?;
    let expected = Run::of(&reference, &tokens, &Pass::Alone)?;
    drop(reference);
    let model = open(checkpoint)?;
    let mut trace = layers::trace(checkpoint)?;
    let found = Run::of(&model, &tokens, &Pass::Beside(&expected))?;
    let alone = Run::of(&model, &tokens, &Pass::Corrected(&expected))?;
    trace.add_run(prompt, &tokens, found);
    trace.add_own_errors(&alone);
    trace.against = Some(Against {
        reference: against.path().display().to_string(),
        threshold,
        first_layer: trace.first_layer_past(threshold),
        damaged: suspects::damaged(&differences, &trace),
        compared: census.tensors.len(),
    });
    Ok(trace)
}

fn tokens(model: &TextModel, prompt: &str) -> Result<Vec<u32>, Error> {
    let tokens = model.tokenizer.encode(prompt).map_err(Error::token(&model.path))?;
    match tokens.len() {
        0 => Err(Error::Argument("the prompt is empty".to_owned())),
        1..=MOST_TOKENS => Ok(tokens),
        many => Err(Error::Argument(format!(
            "a prompt of {many} tokens; a trace follows at most {MOST_TOKENS}"
        ))),
    }
}

/// That both have the shapes of one model.
fn check_same(
    model: &ModelConfig,
    reference: &ModelConfig,
    against: &Checkpoint,
) -> Result<(), Error> {
    let facts = |config: &ModelConfig| {
        [
            ("architecture", config.arch.name.to_owned()),
            ("number of layers", config.layers.to_string()),
            ("hidden size", config.hidden_size.to_string()),
            ("number of heads", config.heads.to_string()),
            ("number of kv heads", config.kv_heads.to_string()),
            ("head size", config.head_dim.to_string()),
            ("MLP size", config.mlp_size.to_string()),
            ("vocabulary", config.vocab_size.to_string()),
            ("mixture of experts", format!("{:?}", config.experts)),
        ]
    };
    match facts(model).iter().zip(facts(reference)).find(|(one, other)| **one != *other) {
        None => Ok(()),
        Some(((what, found), (_, expected))) => Err(Error::Argument(format!(
            "{}: another model: its {what} is {expected}, that of the traced one {found}",
            against.path().display()
        ))),
    }
}
