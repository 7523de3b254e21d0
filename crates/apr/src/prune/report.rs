//! What pruning did or would do, for people and programs.

use super::{Operation, PruneMethod, Pruning};
use crate::{Plan, Proof, units};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// What is pruned, and how.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PruneSettings {
    /// Name of the method.
    pub method: &'static str,
    /// The share of the pruned matrices' weights that was to become zero.
    pub target_ratio: f64,
    /// Matrices that are pruned: those of the layers, not the embeddings, head, norms, biases and
    /// routers.
    pub pruned_tensors: usize,
    /// Their weights.
    pub pruned_elements: u64,
}

/// A pruned model and its proof.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Prune {
    /// What was pruned.
    #[serde(flatten)]
    pub settings: PruneSettings,
    /// The share of the pruned matrices' weights that is zero in the file.
    pub actual_sparsity: f64,
    /// The share of all weights that is zero in the file.
    pub model_sparsity: f64,
    /// Bytes of the tensors in the source.
    pub input_size: u64,
    /// The comparison of the file with the pruned values.
    #[serde(flatten)]
    pub proof: Proof,
}

/// What pruning would write.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PrunePlan {
    /// What would be pruned.
    #[serde(flatten)]
    pub settings: PruneSettings,
    /// The file.
    #[serde(flatten)]
    pub plan: Plan,
}

impl Prune {
    pub(super) fn new(method: PruneMethod, input_size: u64, proof: Proof) -> Self {
        let is_pruned = |role: apr_model::TensorRole| role.is_matrix() && role.part.is_per_layer();
        let pruned = || proof.tensors.iter().filter(|tensor| is_pruned(tensor.role()));
        let elements: u64 = pruned().map(|tensor| tensor.elem_count()).sum();
        let zeros: u64 = pruned().map(|tensor| tensor.certificate.zeros).sum();
        let all_zeros: u64 = proof.tensors.iter().map(|tensor| tensor.certificate.zeros).sum();
        Self {
            settings: PruneSettings {
                method: method.name(),
                target_ratio: method.ratio(),
                pruned_tensors: pruned().count(),
                pruned_elements: elements,
            },
            actual_sparsity: zeros as f64 / elements.max(1) as f64,
            model_sparsity: all_zeros as f64 / proof.elements.max(1) as f64,
            input_size,
            proof,
        }
    }
}

impl PrunePlan {
    pub(super) fn new(method: PruneMethod, plan: Plan) -> Self {
        let pruning = Pruning(method);
        let pruned = plan.tensors.iter().filter(|tensor| pruning.changes(&tensor.placed));
        let settings = PruneSettings {
            method: method.name(),
            target_ratio: method.ratio(),
            pruned_tensors: pruned.clone().count(),
            pruned_elements: pruned.map(|t| units::size(t.layout.elem_count())).sum(),
        };
        Self { settings, plan }
    }
}

impl fmt::Display for PruneSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} pruning to {:.1} % zeros: {} matrices of the layers, {} weights",
            self.method,
            self.target_ratio * 100.0,
            units::count(units::size(self.pruned_tensors)),
            units::count(self.pruned_elements),
        )?;
        writeln!(f, "embeddings, head, norms, biases and routers stay as they are\n")
    }
}

impl fmt::Display for Prune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.settings, self.proof)?;
        let (pruned, all) = (self.actual_sparsity * 100.0, self.model_sparsity * 100.0);
        writeln!(f, "zeros     {pruned:.2} % of the pruned matrices, {all:.2} % of all weights")
    }
}

impl fmt::Display for PrunePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.settings, self.plan)
    }
}
