//! Why a task failed: one line that names file, tensor and cause.

use crate::ProofFailure;
use apr_format::FormatError;
use apr_hub::HubError;
use apr_kernel::KernelError;
use apr_model::ModelError;
use apr_tensor::{DType, EncodeError, TensorError};
use apr_token::TokenError;
use std::io;
use std::path::{Path, PathBuf};

/// A task that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that could not be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A model that cannot be described, loaded or run.
    #[error("{}: {source}", path.display())]
    Model {
        /// Where it was opened.
        path: PathBuf,
        /// Why.
        source: Box<ModelError>,
    },
    /// A tokenizer that cannot be loaded or failed.
    #[error("{}: {source}", path.display())]
    Token {
        /// Where it was opened.
        path: PathBuf,
        /// Why.
        source: TokenError,
    },
    /// A file beside the weights that the task needs.
    #[error("{}: {what} is missing", path.display())]
    MissingPart {
        /// The folder or file.
        path: PathBuf,
        /// What it lacks.
        what: &'static str,
    },
    /// A file beside the weights that is not what it should be.
    #[error("{}: {cause}", path.display())]
    BadPart {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A value of the source that no model should have.
    #[error("{}: tensor {tensor:?}: element {index:?} is {value}; the source is damaged", path.display())]
    NotFinite {
        /// The source.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Index of the element in the source's shape.
        index: Vec<usize>,
        /// NaN or an infinity.
        value: f32,
    },
    /// A tensor that cannot be stored in the type it was planned for.
    #[error("{}: tensor {tensor:?}: {source}", path.display())]
    Encode {
        /// The source.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Why.
        source: EncodeError,
    },
    /// A weight of a type that is not quantized again.
    #[error(
        "{}: tensor {tensor:?} is {dtype}; only F32, F16 and BF16 are quantized: start from the original checkpoint, or --allow-requantize",
        path.display()
    )]
    SourceType {
        /// The source.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// What was written, or is claimed, is not what the source says.
    #[error("{}: {source}", path.display())]
    Proof {
        /// The file that failed.
        path: PathBuf,
        /// How.
        source: Box<ProofFailure>,
    },
    /// No recipe of this name.
    #[error("unknown recipe {name:?} (known: {known})")]
    UnknownRecipe {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A model that the hub or its cache does not give.
    #[error("{name}: {source}")]
    Hub {
        /// The name, as given.
        name: String,
        /// Why.
        source: Box<HubError>,
    },
    /// A computation on an accelerator, of which there is none.
    #[error(
        "{}: no gpu: no CUDA device nor any other accelerator is used by apr; --path cpu holds the vector kernels against the portable ones",
        path.display()
    )]
    NoAccelerator {
        /// The model.
        path: PathBuf,
    },
    /// Bytes that are to be compared with a hash, of which the file has none.
    #[error(
        "{}: tensor {tensor:?} has no hash in the file to compare with: run without --verify, or import the model first, which proves it and stores the hashes",
        path.display()
    )]
    NoHash {
        /// The model.
        path: PathBuf,
        /// The first tensor without a hash.
        tensor: String,
    },
    /// A name that is not that of one tensor.
    #[error("{}: {cause}", path.display())]
    NoTensor {
        /// The model.
        path: PathBuf,
        /// Why no tensor, or which, is meant.
        cause: String,
    },
    /// The settings of the hub or its cache as a whole.
    #[error(transparent)]
    HubCache(HubError),
    /// An argument that makes no sense for this model.
    #[error("{0}")]
    Argument(String),
    /// The kernels that were asked for.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The receiver of the text failed, for example a closed pipe.
    #[error("output: {0}")]
    Output(#[source] io::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn hub(name: impl ToString) -> impl FnOnce(HubError) -> Self {
        move |source| Self::Hub { name: name.to_string(), source: Box::new(source) }
    }

    pub(crate) fn token(path: &Path) -> impl FnOnce(TokenError) -> Self {
        move |source| Self::Token { path: path.to_path_buf(), source }
    }

    /// Errors of a model carry the place where it was opened, unless they name a file already.
    pub(crate) fn model(path: &Path) -> impl FnOnce(ModelError) -> Self {
        move |source| {
            if let ModelError::Format(error) = source {
                return Self::Format(error);
            }
            Self::Model { path: path.to_path_buf(), source: Box::new(source) }
        }
    }

    /// A tensor's layout and bytes were checked when it was opened; should they disagree later,
    /// say which.
    pub(crate) fn layout(path: &Path, tensor: &str) -> impl Fn(TensorError) -> Self {
        move |source| {
            let (path, tensor) = (path.to_path_buf(), tensor.to_owned());
            Self::Encode { path, tensor, source: EncodeError::Shape(source) }
        }
    }

    /// A stable word for the kind of error.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Format(_) => "format",
            Self::Model { .. } => "model",
            Self::Token { .. } => "tokenizer",
            Self::MissingPart { .. } => "missing_part",
            Self::BadPart { .. } => "bad_part",
            Self::Io { .. } => "io",
            Self::NotFinite { .. } => "not_finite",
            Self::Encode { .. } => "encode",
            Self::SourceType { .. } => "source_type",
            Self::Proof { .. } => "proof",
            Self::UnknownRecipe { .. } => "unknown_recipe",
            Self::NoAccelerator { .. } => "no_gpu",
            Self::NoHash { .. } => "no_hash",
            Self::NoTensor { .. } => "no_tensor",
            Self::Hub { .. } | Self::HubCache(_) => "hub",
            Self::Argument(_) => "argument",
            Self::Kernel(_) => "kernel",
            Self::Output(_) => "output",
        }
    }

    /// The tensor at fault, if one is.
    #[must_use]
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::Format(error) => error.tensor(),
            Self::Model { source, .. } => source.tensor(),
            Self::Proof { source, .. } => source.tensor(),
            Self::NoHash { tensor, .. }
            | Self::NotFinite { tensor, .. }
            | Self::Encode { tensor, .. }
            | Self::SourceType { tensor, .. } => Some(tensor),
            Self::Token { .. }
            | Self::MissingPart { .. }
            | Self::BadPart { .. }
            | Self::Io { .. }
            | Self::UnknownRecipe { .. }
            | Self::Hub { .. }
            | Self::NoAccelerator { .. }
            | Self::NoTensor { .. }
            | Self::HubCache(_)
            | Self::Argument(_)
            | Self::Kernel(_)
            | Self::Output(_) => None,
        }
    }
}
