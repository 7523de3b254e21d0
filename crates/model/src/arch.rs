//! Architectures as plain data.
//!
//! To add one: a file in `arch/` with its description, and its line in [`ARCHS`]. The decoder
//! changes only if a description needs a variant that no architecture had before.

mod gpt2;
mod llama;
mod qwen2;

use std::fmt;

/// Every architecture that runs.
pub static ARCHS: &[&Arch] = &[&llama::LLAMA, &qwen2::QWEN2, &gpt2::GPT2];

/// What the decoder and the importer need to know of an architecture.
#[derive(Debug)]
pub struct Arch {
    /// Short name, as in `model_type` of `config.json`.
    pub name: &'static str,
    /// Class name, as in `architectures` of `config.json`.
    pub class: &'static str,
    /// Normalisation before attention, before the MLP, and at the end.
    pub norm: Norm,
    /// How positions enter.
    pub position: Position,
    /// The feed-forward block.
    pub mlp: Mlp,
    /// Where `config.json` keeps the parameters.
    pub config: ConfigKeys,
    /// Settings of `config.json` that would change the computation and have one value here.
    pub requirements: &'static [Requirement],
    /// Every tensor: role and Hugging Face name.
    pub tensors: &'static [TensorName],
    /// How GGUF files order the rows of query and key.
    pub gguf_heads: RowOrder,
    /// A prefix that some checkpoints put before every name.
    pub optional_prefix: Option<&'static str>,
    /// Tensors that follow from the rest and are not weights.
    pub derived: &'static [DerivedName],
}

/// Normalisation of a vector of `hidden_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// x / √(mean x² + ε) · weight (Zhang & Sennrich 2019).
    Rms,
    /// (x − mean x) / √(var x + ε) · weight + bias (Ba et al. 2016).
    Layer,
}

/// How positions enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Queries and keys are rotated, element i with element i + head_dim/2 (Su et al. 2021).
    Rope,
    /// A learned row per position is added to the embedding.
    Learned,
}

/// The non-linearity of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// The tanh approximation of GELU (Hendrycks & Gimpel 2016), `gelu_new` in transformers.
    GeluTanh,
}

/// The feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mlp {
    /// down(act(gate(x)) · up(x)).
    Gated(Activation),
    /// down(act(up(x))).
    Plain(Activation),
}

/// Names of the parameters in `config.json`.
#[derive(Debug)]
pub struct ConfigKeys {
    /// Width of the residual stream.
    pub hidden_size: &'static str,
    /// Number of layers.
    pub layers: &'static str,
    /// Number of query heads.
    pub heads: &'static str,
    /// Number of key and value heads; `None` where it is always that of the query heads.
    pub kv_heads: Option<&'static str>,
    /// Width of the MLP.
    pub mlp_size: &'static str,
    /// What a null or absent MLP width means, in multiples of the hidden size, where the
    /// architecture defines that.
    pub mlp_default: Option<usize>,
    /// Number of rows of the embedding.
    pub vocab_size: &'static str,
    /// Longest sequence.
    pub max_positions: &'static str,
    /// ε of the norms.
    pub norm_eps: &'static str,
    /// Whether the head is the embedding when the key `tie_word_embeddings` is absent.
    pub tied_default: bool,
}

/// A setting of `config.json` that must be absent, null, or equal to this value.
#[derive(Debug)]
pub struct Requirement {
    /// Key; `a.b` is the key `b` of the object `a`.
    pub key: &'static str,
    /// The one supported value.
    pub value: Setting,
}

/// A value in `config.json`.
#[derive(Debug, Clone, Copy)]
pub enum Setting {
    /// Absent or null.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A string.
    Text(&'static str),
    /// A number.
    Number(f64),
}

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
    /// Attention output projection, `[hidden, heads · head_dim]`.
    AttentionOutput,
    /// Norm before the MLP, `[hidden]`.
    MlpNorm,
    /// MLP gate, `[mlp, hidden]`.
    MlpGate,
    /// MLP up projection, `[mlp, hidden]`.
    MlpUp,
    /// MLP down projection, `[hidden, mlp]`.
    MlpDown,
    /// Norm after the last layer, `[hidden]`.
    FinalNorm,
    /// Output head, `[vocab, hidden]`.
    Head,
}

impl Part {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenEmbedding => "token embedding",
            Self::PositionEmbedding => "position embedding",
            Self::AttentionNorm => "attention norm",
            Self::Query => "attention query",
            Self::Key => "attention key",
            Self::Value => "attention value",
            Self::QueryKeyValue => "attention query/key/value",
            Self::AttentionOutput => "attention output",
            Self::MlpNorm => "MLP norm",
            Self::MlpGate => "MLP gate",
            Self::MlpUp => "MLP up",
            Self::MlpDown => "MLP down",
            Self::FinalNorm => "final norm",
            Self::Head => "output head",
        }
    }

    /// Its name in GGUF files, which do not distinguish architectures; `{}` stands for the layer.
    const fn gguf_name(self) -> &'static str {
        match self {
            Self::TokenEmbedding => "token_embd",
            Self::PositionEmbedding => "position_embd",
            Self::AttentionNorm => "blk.{}.attn_norm",
            Self::Query => "blk.{}.attn_q",
            Self::Key => "blk.{}.attn_k",
            Self::Value => "blk.{}.attn_v",
            Self::QueryKeyValue => "blk.{}.attn_qkv",
            Self::AttentionOutput => "blk.{}.attn_output",
            Self::MlpNorm => "blk.{}.ffn_norm",
            Self::MlpGate => "blk.{}.ffn_gate",
            Self::MlpUp => "blk.{}.ffn_up",
            Self::MlpDown => "blk.{}.ffn_down",
            Self::FinalNorm => "output_norm",
            Self::Head => "output",
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
    /// embedding, rows are looked up in): what recipes quantize.
    #[must_use]
    pub const fn is_matrix(self) -> bool {
        matches!(self.param, Param::Weight)
            && !matches!(
                self.part,
                Part::PositionEmbedding | Part::AttentionNorm | Part::MlpNorm | Part::FinalNorm
            )
    }
}

impl TensorRole {
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

impl TensorName {
    /// Its Hugging Face name in a layer.
    #[must_use]
    pub fn name(&self, layer: Option<usize>) -> String {
        in_layer(self.name, layer)
    }
}

/// The name with the layer's number in place of `{}`.
fn in_layer(pattern: &str, layer: Option<usize>) -> String {
    match layer {
        Some(layer) => pattern.replace("{}", &layer.to_string()),
        None => pattern.to_owned(),
    }
}

impl fmt::Display for TensorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.param == Param::Bias { " bias" } else { "" };
        f.pad(&format!("{}{suffix}", self.part.name()))
    }
}

/// A tensor of an architecture.
#[derive(Debug)]
pub struct TensorName {
    /// What it is for.
    pub role: TensorRole,
    /// Its Hugging Face name; `{}` stands for the layer.
    pub name: &'static str,
    /// How the checkpoint stores it.
    pub stored: Stored,
}

/// How a checkpoint stores a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// `[out, in]`, a row per output; also everything that is no matrix.
    OutIn,
    /// `[in, out]`, to be transposed at import.
    InOut,
}

/// The order of the rows within each head of query and key: where rotary positions find the two
/// elements of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// As published: element i is rotated with element i + head_dim/2.
    Halves,
    /// As GGML's original rotation wants it: element 2i with element 2i + 1.
    Neighbours,
}

/// A tensor that is not a weight.
#[derive(Debug)]
pub struct DerivedName {
    /// What it is.
    pub kind: DerivedKind,
    /// Its Hugging Face name; `{}` stands for the layer.
    pub name: &'static str,
}

/// Tensors that follow from the rest of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivedKind {
    /// Lower-triangular ones, `[1, 1, positions, positions]`.
    CausalMask,
    /// The number that masked scores are replaced by.
    MaskedBias,
    /// A head that equals the embedding it is tied to.
    TiedHead,
}

impl DerivedKind {
    /// Its name in metadata and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CausalMask => "causal_mask",
            Self::MaskedBias => "masked_bias",
            Self::TiedHead => "tied_head",
        }
    }
}

impl Arch {
    /// The architecture of this short or class name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ARCHS.iter().copied().find(|arch| arch.name == name || arch.class == name)
    }

    /// Name of the token embedding, which every architecture has.
    #[must_use]
    pub fn token_embedding(&self) -> &'static str {
        let role = TensorRole { part: Part::TokenEmbedding, param: Param::Weight };
        self.tensor(role).map_or("", |tensor| tensor.name)
    }

    /// The row of a role, if the architecture has it.
    #[must_use]
    pub fn tensor(&self, role: TensorRole) -> Option<&'static TensorName> {
        self.tensors.iter().find(|tensor| tensor.role == role)
    }
}

const fn weight(part: Part, name: &'static str) -> TensorName {
    TensorName { role: TensorRole { part, param: Param::Weight }, name, stored: Stored::OutIn }
}

const fn bias(part: Part, name: &'static str) -> TensorName {
    TensorName { role: TensorRole { part, param: Param::Bias }, name, stored: Stored::OutIn }
}

const fn conv1d(part: Part, name: &'static str) -> TensorName {
    TensorName { role: TensorRole { part, param: Param::Weight }, name, stored: Stored::InOut }
}
