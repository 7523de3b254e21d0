//! What can be wrong with a request to the kernels, each with the values that disagree.

use apr_tensor::DType;

/// A product that cannot be computed, or a table that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// No table of this name runs on this CPU.
    #[error("no kernels named {name:?} on this CPU; available: {}", available.join(", "))]
    UnknownKernels {
        /// Name asked for.
        name: String,
        /// Names of the tables that this CPU can run.
        available: Vec<&'static str>,
    },
    /// Threads that could not be kept on processors.
    #[error("threads cannot be pinned: {reason}; run without --pin")]
    Pin {
        /// What the system says.
        reason: String,
    },
    /// The kernels do not multiply with weights of this type.
    #[error("no matrix product with weights of type {dtype}")]
    Unsupported {
        /// Type of the weights.
        dtype: DType,
    },
    /// Weights that are not a matrix.
    #[error("weights must be [rows, cols], found {shape:?}")]
    NotAMatrix {
        /// Dimensions of the weights.
        shape: Vec<usize>,
    },
    /// An operand whose length does not fit the weights and the other operand.
    #[error(
        "{operand} of a product with weights {weights:?} takes {expected} elements, found {found}"
    )]
    Shape {
        /// `"input"` or `"output"`.
        operand: &'static str,
        /// Dimensions of the weights, `[rows, cols]`.
        weights: Vec<usize>,
        /// Elements needed; for an input that ends within a row, up to the end of that row.
        expected: usize,
        /// Elements offered.
        found: usize,
    },
}
