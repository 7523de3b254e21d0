//! Does this model compute? Its stages, one by one, on a short text.

mod stages;

use crate::units::Table;
use crate::validate::{Check, Status};
use crate::{Checkpoint, Error, LoadOptions, Progress, TextModel};
use schemars::JsonSchema;
use serde::Serialize;
use stages::Stages;
use std::fmt;

/// A short text with words, numbers and signs, where no other is given.
pub const SAMPLE_TEXT: &str = "The quick brown fox jumps over the lazy dog. 12 + 30 = 42";

/// The stages of a model.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SelfCheck {
    /// Every stage, in the order in which data flows.
    pub stages: Vec<Check>,
    /// Number of stages.
    pub total_stages: usize,
    /// Number that failed.
    pub failed: usize,
    /// Where it was opened.
    pub model: String,
    /// Name of the architecture.
    pub architecture: &'static str,
    /// The text that went through it.
    pub text: &'static str,
    /// Its tokens.
    pub tokens: Vec<u32>,
}

impl SelfCheck {
    /// The stages that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.stages.iter().filter(|stage| stage.status == Status::Fail)
    }
}

/// Runs a model stage by stage. A stage fails if a value is not finite, if values have lost all
/// size or grown out of all proportion, or if what it must keep is not kept: that a rotation
/// keeps lengths, or that what attention hands on lies between values that it saw.
///
/// # Errors
/// When the model cannot be loaded.
pub fn check(
    checkpoint: &Checkpoint,
    load: &LoadOptions,
    progress: &dyn Progress,
) -> Result<SelfCheck, Error> {
    let model = TextModel::open(checkpoint, load, progress)?;
    let census = checkpoint.census(model.decoder.config())?;
    check_model(&model, &census.tensors)
}

/// The same of a model that is loaded, whose tensors are these.
pub(crate) fn check_model(
    model: &TextModel,
    tensors: &[apr_model::PlacedTensor],
) -> Result<SelfCheck, Error> {
    let (text_stage, tokens) = stages::tokenizer(model);
    let seen = Stages::run(model, &tokens, tensors)?;
    let stages = vec![
        text_stage,
        seen.embedding(),
        seen.positions(model, tokens.last().copied().unwrap_or_default())?,
        seen.norms(),
        seen.projections(),
        seen.attention(),
        seen.mlp(),
        seen.residual(),
        seen.head(),
        seen.sampling(),
    ];
    Ok(SelfCheck {
        total_stages: stages.len(),
        failed: stages.iter().filter(|stage| stage.status == Status::Fail).count(),
        stages,
        model: model.path.display().to_string(),
        architecture: model.decoder.config().arch.name,
        text: SAMPLE_TEXT,
        tokens,
    })
}

impl fmt::Display for SelfCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["stage", "status", ""]);
        for stage in &self.stages {
            table.row([stage.name.to_owned(), stage.status.to_string(), stage.message.clone()]);
        }
        table.fmt(f)?;
        let passed = self.total_stages - self.failed;
        writeln!(f, "{passed} of {} stages passed ({})", self.total_stages, self.architecture)
    }
}
