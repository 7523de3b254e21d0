//! Why a model cannot be described, loaded or run.

use apr_format::FormatError;
use apr_kernel::KernelError;
use apr_tensor::{DType, EncodeError, TensorError};

/// A model that cannot be described, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// `config.json` lacks a parameter that nothing else tells.
    #[error("config.json: key {key:?} is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A parameter that is no such value.
    #[error("config.json: {key:?} is {value}, expected {expected}")]
    BadKey {
        /// The key.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What it must hold.
        expected: &'static str,
    },
    /// A setting that changes the computation in a way that is not built.
    #[error("config.json: {key:?} is {value}; {arch} models run only with {supported}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What it holds.
        value: String,
        /// The architecture.
        arch: &'static str,
        /// The value that runs.
        supported: String,
    },
    /// No description for this architecture.
    #[error("architecture {name} is not supported (supported: {supported})")]
    UnknownArchitecture {
        /// Its name in `config.json`, or what is known instead.
        name: String,
        /// Those that are.
        supported: String,
    },
    /// A weight that the architecture needs.
    #[error("tensor {tensor:?} is missing")]
    MissingTensor {
        /// Its name.
        tensor: String,
    },
    /// A tensor that the architecture does not have.
    #[error("tensor {tensor:?} belongs to no part of a {arch} model; refusing to drop it")]
    UnknownTensor {
        /// Its name.
        tensor: String,
        /// The architecture.
        arch: &'static str,
    },
    /// A shape that contradicts `config.json`.
    #[error("tensor {tensor:?} has shape {found:?}, config.json asks for {expected:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// Shape by the configuration.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// Experts of a layer in different types, which cannot be stacked.
    #[error("tensor {tensor:?} is {found}, the first expert of its layer is {expected}")]
    MixedTypes {
        /// Its name.
        tensor: String,
        /// Type of the first.
        expected: DType,
        /// Its type.
        found: DType,
    },
    /// A setting that GGUF has no key for, so that llama.cpp would compute something else.
    #[error("config.json: {key:?} is {value}, which a GGUF file cannot say; it means {implied}")]
    NotInGguf {
        /// The key.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What the file would be taken to say.
        implied: String,
    },
    /// A tensor that should follow from the rest and does not.
    #[error("tensor {tensor:?} {cause}")]
    Derived {
        /// Its name.
        tensor: String,
        /// How it differs.
        cause: &'static str,
    },
    /// A token past the embedding.
    #[error("token {token} is past the vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// Rows of the embedding.
        vocab: usize,
    },
    /// More positions than the model or the cache has.
    #[error("{needed} positions, the {what} holds {limit}")]
    TooLong {
        /// Model or cache.
        what: &'static str,
        /// Positions needed.
        needed: usize,
        /// Positions there are.
        limit: usize,
    },
    /// Not a token for each sequence.
    #[error("{tokens} tokens for {caches} caches")]
    Sequences {
        /// Caches of sequences.
        caches: usize,
        /// Tokens to go with them.
        tokens: usize,
    },
    /// A type of cache whose blocks the heads do not fill.
    #[error(
        "a cache of {cache} needs heads of whole blocks of {block} elements, the model's have {head_dim}; use --cache f32 or f16"
    )]
    CacheHeads {
        /// The type.
        cache: &'static str,
        /// Elements of a head.
        head_dim: usize,
        /// Elements of a block.
        block: usize,
    },
    /// Keys or values that a type of cache does not hold.
    #[error(
        "layer {layer}: keys or values do not fit a cache of {cache} ({source}); use --cache f32"
    )]
    CacheRange {
        /// The type.
        cache: &'static str,
        /// The layer.
        layer: usize,
        /// Why.
        source: EncodeError,
    },
    /// The file could not be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A type that no kernel multiplies with.
    #[error("tensor {tensor:?}: {source}")]
    Kernel {
        /// The tensor.
        tensor: String,
        /// Why.
        source: KernelError,
    },
    /// A tensor could not be decoded.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl ModelError {
    /// The tensor at fault, if one is.
    #[must_use]
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::MissingTensor { tensor }
            | Self::UnknownTensor { tensor, .. }
            | Self::Shape { tensor, .. }
            | Self::MixedTypes { tensor, .. }
            | Self::Derived { tensor, .. }
            | Self::Kernel { tensor, .. } => Some(tensor),
            Self::Format(error) => error.tensor(),
            Self::MissingKey { .. }
            | Self::BadKey { .. }
            | Self::Unsupported { .. }
            | Self::NotInGguf { .. }
            | Self::UnknownArchitecture { .. }
            | Self::Token { .. }
            | Self::TooLong { .. }
            | Self::Sequences { .. }
            | Self::CacheHeads { .. }
            | Self::CacheRange { .. }
            | Self::Tensor(_) => None,
        }
    }
}
