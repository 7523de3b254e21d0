//! What has to be read and computed for a token, by the shapes of the weights.

use crate::text_model::Loaded;
use crate::units;
use apr_kernel::{Kernels, Limits};
use apr_model::Part;
use apr_tensor::{DType, TensorLayout};
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
        let tied = loaded.decoder.config().tied;
        for (role, layout) in &loaded.weights {
            let is_table = matches!(role.part, Part::TokenEmbedding | Part::PositionEmbedding);
            let is_head = role.part == Part::Head || (role.part == Part::TokenEmbedding && tied);
            work.read(if is_table { layout.row_bytes() } else { layout.byte_len() });
            if is_table && is_head {
                work.read(layout.byte_len());
            }
            if role.is_matrix() {
                *work.types.entry(layout.dtype().name()).or_default() +=
                    units::size(layout.byte_len());
            }
            if is_head {
                count(&mut work.head, layout);
            } else if role.is_matrix() && !is_table {
                count(&mut work.layers, layout);
            }
        }
        work
    }

    fn read(&mut self, bytes: usize) {
        self.weight_bytes += units::size(bytes);
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

/// A multiplication and an addition for each element.
fn count(operations: &mut Operations, matrix: &TensorLayout) {
    *operations.entry(matrix.dtype()).or_default() += 2.0 * matrix.elem_count() as f64;
}
