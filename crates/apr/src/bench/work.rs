//! What has to be read and computed for a token, by the shapes of the weights. Of experts that is
//! the share that a token goes through.

use crate::text_model::Loaded;
use crate::units;
use apr_kernel::{Kernels, Limits};
use apr_model::Part;
use apr_tensor::DType;
use std::collections::BTreeMap;

/// Multiplications and additions of matrix products, by the type of the weights.
type Operations = BTreeMap<DType, f64>;

pub(super) struct Work {
    /// Bytes of weights that one token reads: all of them once, but of tables a row.
    pub(super) weight_bytes: u64,
    /// Bytes of the matrices of each type.
    pub(super) types: BTreeMap<&'static str, u64>,
    /// Of the layers, for each token.
    layers: Operations,
    /// Of the head, for each token whose logits are asked for.
    head: Operations,
}

impl Work {
    pub(super) fn of(loaded: &Loaded) -> Self {
        let mut work = Self {
            weight_bytes: 0,
            types: BTreeMap::new(),
            layers: Operations::new(),
            head: Operations::new(),
        };
        let (tied, experts) = (loaded.decoder.config().tied, loaded.decoder.config().experts);
        for (role, layout) in &loaded.weights {
            let is_table = matches!(role.part, Part::TokenEmbedding | Part::PositionEmbedding);
            let is_head = role.part == Part::Head || (role.part == Part::TokenEmbedding && tied);
            let share = match experts {
                Some(experts) if role.part.is_expert() => (experts.used, experts.count),
                _ => (1, 1),
            };
            if is_table {
                work.weight_bytes += units::size(layout.row_bytes());
            }
            if is_head || !is_table {
                work.weight_bytes += units::size(layout.byte_len() / share.1 * share.0);
            }
            if role.is_matrix() {
                let bytes = work.types.entry(layout.dtype().name()).or_default();
                *bytes += units::size(layout.byte_len());
                // A multiplication and an addition for each element.
                let operations = 2.0 * layout.elem_count() as f64 * share.0 as f64 / share.1 as f64;
                match (is_head, is_table) {
                    (true, _) => *work.head.entry(layout.dtype()).or_default() += operations,
                    (false, true) => {}
                    (false, false) => *work.layers.entry(layout.dtype()).or_default() += operations,
                }
            }
        }
        work
    }

    /// The seconds in which the matrix products of a prompt can be done at best, each in the
    /// arithmetic that the kernels use for its type; unknown if one has no peak.
    pub(super) fn least_prefill_seconds(
        &self,
        tokens: usize,
        limits: &Limits,
        kernels: &Kernels,
    ) -> Option<f64> {
        let seconds = |(dtype, operations): (&DType, &f64)| {
            let peak = limits.peak(kernels.arithmetic(*dtype), kernels.name());
            peak.map(|peak| operations / peak)
        };
        let layers: Option<f64> = self.layers.iter().map(seconds).sum();
        let head: Option<f64> = self.head.iter().map(seconds).sum();
        Some(tokens as f64 * layers? + head?)
    }
}
