//! Architectures as plain data.
//!
//! To add one: a file in `arch/` with its description, and its line in [`ARCHS`]. The decoder
//! changes only if a description needs a variant that no architecture had before.

mod form;
mod gemma;
mod gpt2;
mod gpt_neox;
mod keys;
mod llama;
mod mistral;
mod moe;
mod phi3;
mod qwen;
mod role;

pub use form::{Form, RowOrder};
pub use keys::{ConfigKeys, ExpertKeys, Requirement, Setting, ShareKey};
pub use role::{Param, Part, TensorRole};

use role::in_layer;

/// Every architecture that runs.
pub static ARCHS: &[&Arch] = &[
    &llama::LLAMA,
    &mistral::MISTRAL,
    &moe::MIXTRAL,
    &qwen::QWEN2,
    &qwen::QWEN3,
    &moe::QWEN3_MOE,
    &phi3::PHI3,
    &gemma::GEMMA2,
    &gemma::GEMMA3,
    &gpt_neox::GPT_NEOX,
    &gpt2::GPT2,
];

/// What the decoder and the importer need to know of an architecture.
#[derive(Debug)]
pub struct Arch {
    /// Short name, as in `model_type` of `config.json`.
    pub name: &'static str,
    /// Class name, as in `architectures` of `config.json`.
    pub class: &'static str,
    /// Name in GGUF files, which several may share.
    pub gguf: &'static str,
    /// What the embedding is multiplied with.
    pub embedding_scale: EmbeddingScale,
    /// Every normalisation.
    pub norm: Norm,
    /// How positions enter.
    pub position: Position,
    /// Which layers see only the positions just before.
    pub window: WindowRule,
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

/// What the embedding is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingScale {
    /// Nothing.
    One,
    /// The square root of `hidden_size`.
    SqrtHidden,
}

/// Normalisation of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// x / √(mean x² + ε) · weight (Zhang & Sennrich 2019).
    Rms,
    /// The same with 1 + weight: what is stored is the distance from one.
    RmsPlusOne,
    /// (x − mean x) / √(var x + ε) · weight + bias (Ba et al. 2016).
    Layer,
}

/// How positions enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Queries and keys are rotated, element i with element i + d/2 of the first d of a head (Su
    /// et al. 2021). Beside the plain one, these kinds of scaling are built, by their names in
    /// `config.json`.
    Rope {
        /// Kinds of scaling.
        scalings: &'static [&'static str],
    },
    /// A learned row per position is added to the embedding.
    Learned,
}

/// Which layers see only so many positions (Beltagy et al. 2020).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowRule {
    /// None, and there is no setting for it.
    Never,
    /// All of them, if `sliding_window` is a number.
    All,
    /// All but every n-th; `layer_types` or `sliding_window_pattern` may say otherwise.
    AllButEvery(usize),
}

/// The non-linearity of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x) with the exact error function (Hendrycks & Gimpel 2016), `gelu` in transformers.
    Gelu,
    /// Its tanh approximation, `gelu_new` and `gelu_pytorch_tanh` in transformers.
    GeluTanh,
}

/// The feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mlp {
    /// down(act(gate(x)) · up(x)).
    Gated(Activation),
    /// down(act(up(x))).
    Plain(Activation),
    /// Gated blocks of which a router picks a few for each token (Shazeer et al. 2017).
    Experts(Activation),
}

/// A tensor of an architecture.
#[derive(Debug)]
pub struct TensorName {
    /// What it is for.
    pub role: TensorRole,
    /// Its Hugging Face name; `{}` stands for the layer, `{e}` for the expert.
    pub name: &'static str,
    /// How the checkpoint stores it.
    pub stored: Stored,
}

/// How a checkpoint stores a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// `[out, in]`, a row per output; also everything that is no matrix.
    OutIn,
    /// `[in, out]`, to be transposed at import.
    InOut,
    /// `[out, in]`, where query, key and value of a head stand together.
    HeadByHead,
    /// `[out, in]` for each expert, to be stacked to `[experts, out, in]` at import.
    PerExpert,
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
    /// The frequencies of rotary positions, `[rotated / 2]`.
    RopeFrequencies,
    /// What a GGUF file says of scaled rotary positions by a tensor, `[rotated / 2]`.
    RopeFactors,
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
            Self::RopeFrequencies => "rope_frequencies",
            Self::RopeFactors => "rope_factors",
            Self::TiedHead => "tied_head",
        }
    }

    /// What it does, for people.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::CausalMask => {
                "Marks which positions may see which; it follows from the number of positions, and no program needs it."
            }
            Self::MaskedBias => {
                "The score of positions that must not be seen; no program needs it."
            }
            Self::RopeFrequencies => {
                "The frequencies of rotary positions; they follow from the configuration."
            }
            Self::RopeFactors => "What the frequencies of rotary positions are divided by.",
            Self::TiedHead => "A copy of the token embedding, which is the output head too.",
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

    /// Whether positions are rotary.
    #[must_use]
    pub const fn is_rotary(&self) -> bool {
        matches!(self.position, Position::Rope { .. })
    }
}

impl TensorName {
    /// Its canonical name in a layer: as published, but the experts of a layer are one tensor.
    #[must_use]
    pub fn name(&self, layer: Option<usize>) -> String {
        in_layer(&self.name.replace(".{e}", ""), layer)
    }

    /// Its name in a published checkpoint; `expert` counts where there is a tensor for each.
    #[must_use]
    pub fn published(&self, layer: Option<usize>, expert: usize) -> String {
        in_layer(&self.name.replace("{e}", &expert.to_string()), layer)
    }
}

const fn tensor(part: Part, param: Param, name: &'static str, stored: Stored) -> TensorName {
    TensorName { role: TensorRole { part, param }, name, stored }
}

const fn weight(part: Part, name: &'static str) -> TensorName {
    tensor(part, Param::Weight, name, Stored::OutIn)
}

const fn bias(part: Part, name: &'static str) -> TensorName {
    tensor(part, Param::Bias, name, Stored::OutIn)
}

const fn conv1d(part: Part, name: &'static str) -> TensorName {
    tensor(part, Param::Weight, name, Stored::InOut)
}

const fn expert(part: Part, name: &'static str) -> TensorName {
    tensor(part, Param::Weight, name, Stored::PerExpert)
}
