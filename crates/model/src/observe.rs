//! Seeing, and changing, what the forward pass computes, operation by operation.

use crate::Part;

/// Called after each operation with the layer, what was computed, and its rows, one per token.
/// What it writes there is what the next operation reads.
pub type Observer<'a> = dyn FnMut(Option<usize>, Point, &mut [f32]) + 'a;

/// What an operation computed; in the order of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Rows of the embedding, with learned positions, scaled: what the first layer reads.
    Embedding,
    /// What attention reads.
    AttentionNorm,
    /// Projected queries.
    Query,
    /// Projected keys.
    Key,
    /// Projected values.
    Value,
    /// Normalised queries.
    QueryNorm,
    /// Normalised keys.
    KeyNorm,
    /// Rotated queries.
    RotatedQuery,
    /// Rotated keys.
    RotatedKey,
    /// What the heads saw: sums of values.
    Attended,
    /// Its projection.
    AttentionOutput,
    /// The same, normalised.
    PostAttentionNorm,
    /// The residual stream after attention.
    AttentionSum,
    /// What the MLP reads.
    MlpNorm,
    /// The shares of the experts.
    Router,
    /// Projected gate.
    MlpGate,
    /// Projected input of the MLP.
    MlpUp,
    /// After the non-linearity.
    MlpInner,
    /// Projected output of the MLP, or the sum of its experts.
    MlpOutput,
    /// The same, normalised.
    PostMlpNorm,
    /// The residual stream after the layer.
    LayerOutput,
    /// What the head reads.
    FinalNorm,
}

impl Point {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The parts of the model whose parameters the operation used, where the architecture has
    /// them.
    #[must_use]
    pub const fn parts(self) -> &'static [Part] {
        self.facts().1
    }

    const fn facts(self) -> (&'static str, &'static [Part]) {
        match self {
            Self::Embedding => ("embedding", &[Part::TokenEmbedding, Part::PositionEmbedding]),
            Self::AttentionNorm => ("attention_norm", &[Part::AttentionNorm]),
            Self::Query => ("query", &[Part::Query, Part::QueryKeyValue]),
            Self::Key => ("key", &[Part::Key, Part::QueryKeyValue]),
            Self::Value => ("value", &[Part::Value, Part::QueryKeyValue]),
            Self::QueryNorm => ("query_norm", &[Part::QueryNorm]),
            Self::KeyNorm => ("key_norm", &[Part::KeyNorm]),
            Self::RotatedQuery => ("rotated_query", &[]),
            Self::RotatedKey => ("rotated_key", &[]),
            Self::Attended => ("attended", &[]),
            Self::AttentionOutput => ("attention_output", &[Part::AttentionOutput]),
            Self::PostAttentionNorm => ("post_attention_norm", &[Part::PostAttentionNorm]),
            Self::AttentionSum => ("attention_sum", &[]),
            Self::MlpNorm => ("mlp_norm", &[Part::MlpNorm]),
            Self::Router => ("router", &[Part::Router]),
            Self::MlpGate => ("mlp_gate", &[Part::MlpGate, Part::MlpGateUp]),
            Self::MlpUp => ("mlp_up", &[Part::MlpUp, Part::MlpGateUp]),
            Self::MlpInner => ("mlp_inner", &[]),
            Self::MlpOutput => {
                ("mlp_output", &[Part::MlpDown, Part::ExpertGate, Part::ExpertUp, Part::ExpertDown])
            }
            Self::PostMlpNorm => ("post_mlp_norm", &[Part::PostMlpNorm]),
            Self::LayerOutput => ("layer_output", &[]),
            Self::FinalNorm => ("final_norm", &[Part::FinalNorm]),
        }
    }
}

/// An observer, and where the forward pass is.
pub(crate) struct Watch<'a, 'o> {
    observer: &'a mut Observer<'o>,
    /// Within none before the first and after the last.
    pub(crate) layer: Option<usize>,
}

impl<'a, 'o> Watch<'a, 'o> {
    pub(crate) fn new(observer: &'a mut Observer<'o>) -> Self {
        Self { observer, layer: None }
    }

    pub(crate) fn at(&mut self, point: Point, rows: &mut [f32]) {
        (self.observer)(self.layer, point, rows);
    }
}
