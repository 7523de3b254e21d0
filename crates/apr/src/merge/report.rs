//! What a merge did or would do, for people and programs.

use super::{Merging, Strategy};
use crate::{Plan, Proof};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// What was merged, and how.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MergedModels {
    /// Name of the strategy.
    pub strategy: &'static str,
    /// The models; what is not a weight is that of the first.
    pub models: Vec<PathBuf>,
    /// What they were made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// How much each counts, as a share of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// Where on the arc between the two models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t: Option<f64>,
    /// Share of the changes that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub density: Option<f64>,
    /// What decides which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A merged model and its proof.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Merge {
    /// What was merged.
    #[serde(flatten)]
    pub merged: MergedModels,
    /// The comparison of the file with the merged values.
    #[serde(flatten)]
    pub proof: Proof,
}

/// What a merge would write.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MergePlan {
    /// What would be merged.
    #[serde(flatten)]
    pub merged: MergedModels,
    /// The file.
    #[serde(flatten)]
    pub plan: Plan,
}

impl Merge {
    pub(super) fn new(merging: &Merging<'_>, proof: Proof) -> Self {
        Self { merged: MergedModels::new(merging), proof }
    }
}

impl MergePlan {
    pub(super) fn new(merging: &Merging<'_>, plan: Plan) -> Self {
        Self { merged: MergedModels::new(merging), plan }
    }
}

impl MergedModels {
    fn new(merging: &Merging<'_>) -> Self {
        let others = merging.others.iter().map(|other| other.checkpoint);
        let models = [merging.first].into_iter().chain(others);
        let weights = Some(merging.weights.clone());
        let (t, density, seed) = match merging.strategy {
            Strategy::Linear => (None, None, None),
            Strategy::Slerp { t } => (Some(t), None, None),
            Strategy::Ties { density } => (None, Some(density), None),
            Strategy::Dare { density, seed } => (None, Some(density), Some(seed)),
        };
        Self {
            strategy: merging.strategy.name(),
            models: models.map(|model| model.path().to_path_buf()).collect(),
            base: merging.base.as_ref().map(|base| base.checkpoint.path().to_path_buf()),
            weights: weights.filter(|_| t.is_none()),
            t,
            density,
            seed,
        }
    }
}

impl fmt::Display for MergedModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} models", self.strategy, self.models.len())?;
        for (name, setting) in [("t", self.t), ("density", self.density)] {
            if let Some(setting) = setting {
                write!(f, ", {name} {setting}")?;
            }
        }
        if let Some(seed) = self.seed {
            write!(f, ", seed {seed}")?;
        }
        writeln!(f)?;
        for (at, model) in self.models.iter().enumerate() {
            let weight = self.weights.as_ref().and_then(|weights| weights.get(at));
            let weight = weight.map(|weight| format!("{:5.1} %  ", weight * 100.0));
            writeln!(f, "  {}{}", weight.unwrap_or_default(), model.display())?;
        }
        if let Some(base) = &self.base {
            writeln!(f, "  from base {}", base.display())?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.merged, self.proof)
    }
}

impl fmt::Display for MergePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.merged, self.plan)
    }
}
