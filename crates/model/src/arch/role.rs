//! What a tensor is for, and its name in GGUF files.

use std::fmt;

/// A part of the model that has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Token embedding, `[vocab, hidden]`.
    TokenEmbedding,
    /// Position table, `[positions, hidden]`.
    PositionEmbedding,
    /// Norm before attention, `[hidden]`.
    AttentionNorm,
    /// Query projection, `[heads · head_dim, hidden]`.
    Query,
    /// Key projection, `[kv_heads · head_dim, hidden]`.
    Key,
    /// Value projection, `[kv_heads · head_dim, hidden]`.
    Value,
    /// Query, key and value in one, `[(heads + 2 · kv_heads) · head_dim, hidden]`.
    QueryKeyValue,
    /// Norm of every query, `[head_dim]`.
    QueryNorm,
    /// Norm of every key, `[head_dim]`.
    KeyNorm,
    /// Attention output projection, `[hidden, heads · head_dim]`.
    AttentionOutput,
    /// Norm of what attention adds, `[hidden]`.
    PostAttentionNorm,
    /// Norm before the MLP, `[hidden]`.
    MlpNorm,
    /// MLP gate, `[mlp, hidden]`.
    MlpGate,
    /// MLP up projection, `[mlp, hidden]`.
    MlpUp,
    /// MLP gate and up projection in one, `[2 · mlp, hidden]`.
    MlpGateUp,
    /// MLP down projection, `[hidden, mlp]`.
    MlpDown,
    /// Scores of the experts, `[experts, hidden]`.
    Router,
    /// MLP gates of the experts, `[experts, expert, hidden]`.
    ExpertGate,
    /// MLP up projections of the experts, `[experts, expert, hidden]`.
    ExpertUp,
    /// MLP down projections of the experts, `[experts, hidden, expert]`.
    ExpertDown,
    /// Norm of what the MLP adds, `[hidden]`.
    PostMlpNorm,
    /// Norm after the last layer, `[hidden]`.
    FinalNorm,
    /// Output head, `[vocab, hidden]`.
    Head,
}

impl Part {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names().0
    }

    /// Its name in GGUF files, which do not distinguish architectures; `{}` stands for the layer.
    const fn gguf_name(self) -> &'static str {
        self.names().1
    }

    /// Names for people and in GGUF files.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::TokenEmbedding => ("token embedding", "token_embd"),
            Self::PositionEmbedding => ("position embedding", "position_embd"),
            Self::AttentionNorm => ("attention norm", "blk.{}.attn_norm"),
            Self::Query => ("attention query", "blk.{}.attn_q"),
            Self::Key => ("attention key", "blk.{}.attn_k"),
            Self::Value => ("attention value", "blk.{}.attn_v"),
            Self::QueryKeyValue => ("attention query/key/value", "blk.{}.attn_qkv"),
            Self::QueryNorm => ("attention query norm", "blk.{}.attn_q_norm"),
            Self::KeyNorm => ("attention key norm", "blk.{}.attn_k_norm"),
            Self::AttentionOutput => ("attention output", "blk.{}.attn_output"),
            Self::PostAttentionNorm => ("attention output norm", "blk.{}.post_attention_norm"),
            Self::MlpNorm => ("MLP norm", "blk.{}.ffn_norm"),
            Self::MlpGate => ("MLP gate", "blk.{}.ffn_gate"),
            Self::MlpUp => ("MLP up", "blk.{}.ffn_up"),
            Self::MlpGateUp => ("MLP gate/up", "blk.{}.ffn_up"),
            Self::MlpDown => ("MLP down", "blk.{}.ffn_down"),
            Self::Router => ("expert router", "blk.{}.ffn_gate_inp"),
            Self::ExpertGate => ("expert gates", "blk.{}.ffn_gate_exps"),
            Self::ExpertUp => ("expert ups", "blk.{}.ffn_up_exps"),
            Self::ExpertDown => ("expert downs", "blk.{}.ffn_down_exps"),
            Self::PostMlpNorm => ("MLP output norm", "blk.{}.post_ffw_norm"),
            Self::FinalNorm => ("final norm", "output_norm"),
            Self::Head => ("output head", "output"),
        }
    }

    /// What it does, for people.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::TokenEmbedding => {
                "A row for each token of the vocabulary: the vector with which the token enters the model."
            }
            Self::PositionEmbedding => {
                "A row for each position, added to the token's vector so that the order of the text counts."
            }
            Self::AttentionNorm => "Brings the vector that attention reads to a common scale.",
            Self::Query => {
                "Makes the queries of attention: what each head of a position looks for in the text before it."
            }
            Self::Key => {
                "Makes the keys of attention: what the queries of later positions are compared with."
            }
            Self::Value => {
                "Makes the values of attention: what a position hands on where a query matches its key."
            }
            Self::QueryKeyValue => {
                "Makes the queries, keys and values of attention in one product."
            }
            Self::QueryNorm => {
                "Brings the query of every head to a common scale before it is compared."
            }
            Self::KeyNorm => {
                "Brings the key of every head to a common scale before it is compared."
            }
            Self::AttentionOutput => {
                "Mixes what the heads of attention have gathered; the result is added to the position's vector."
            }
            Self::PostAttentionNorm => {
                "Brings what attention adds to a common scale before it is added."
            }
            Self::MlpNorm => "Brings the vector that the MLP reads to a common scale.",
            Self::MlpGate => "Decides how far each unit of the MLP opens.",
            Self::MlpUp => "Widens the vector to the units of the MLP.",
            Self::MlpGateUp => {
                "Widens the vector to the units of the MLP and decides how far each opens, in one product."
            }
            Self::MlpDown => {
                "Makes a vector of the units of the MLP again; the result is added to the position's vector."
            }
            Self::Router => "Scores the experts for each position; only the best few compute.",
            Self::ExpertGate => "For each expert: decides how far each unit of its MLP opens.",
            Self::ExpertUp => "For each expert: widens the vector to the units of its MLP.",
            Self::ExpertDown => {
                "For each expert: makes a vector of the units of its MLP again; the results, weighted by the router, are added to the position's vector."
            }
            Self::PostMlpNorm => "Brings what the MLP adds to a common scale before it is added.",
            Self::FinalNorm => "Brings the vector that leaves the last layer to a common scale.",
            Self::Head => {
                "A row for each token of the vocabulary: its product with the last vector is the token's score."
            }
        }
    }

    /// Whether there is one in every layer.
    #[must_use]
    pub const fn is_per_layer(self) -> bool {
        !matches!(
            self,
            Self::TokenEmbedding | Self::PositionEmbedding | Self::FinalNorm | Self::Head
        )
    }

    /// Whether this is a norm.
    #[must_use]
    pub const fn is_norm(self) -> bool {
        matches!(
            self,
            Self::AttentionNorm
                | Self::QueryNorm
                | Self::KeyNorm
                | Self::PostAttentionNorm
                | Self::MlpNorm
                | Self::PostMlpNorm
                | Self::FinalNorm
        )
    }

    /// Whether its matrices are those of all experts, one behind the other.
    #[must_use]
    pub const fn is_expert(self) -> bool {
        matches!(self, Self::ExpertGate | Self::ExpertUp | Self::ExpertDown)
    }
}

/// Which of a part's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Param {
    /// The matrix, table or scale.
    Weight,
    /// What is added.
    Bias,
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorRole {
    /// Part of the model.
    pub part: Part,
    /// Which of its parameters.
    pub param: Param,
}

impl TensorRole {
    /// Whether this is a matrix that activations are multiplied with (or, for the token
    /// embedding, rows are looked up in): what recipes quantize. The router is not: it is small,
    /// and an error there picks another expert.
    #[must_use]
    pub const fn is_matrix(self) -> bool {
        matches!(self.param, Param::Weight)
            && !self.part.is_norm()
            && !matches!(self.part, Part::PositionEmbedding | Part::Router)
    }

    /// Its name in GGUF files.
    #[must_use]
    pub fn gguf_name(self, layer: Option<usize>) -> String {
        let suffix = match self.param {
            Param::Weight => ".weight",
            Param::Bias => ".bias",
        };
        in_layer(self.part.gguf_name(), layer) + suffix
    }
}

impl fmt::Display for TensorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.param == Param::Bias { " bias" } else { "" };
        f.pad(&format!("{}{suffix}", self.part.name()))
    }
}

/// The name with the layer's number in place of `{}`.
pub(super) fn in_layer(pattern: &str, layer: Option<usize>) -> String {
    match layer {
        Some(layer) => pattern.replace("{}", &layer.to_string()),
        None => pattern.to_owned(),
    }
}
