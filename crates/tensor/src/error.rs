//! Everything that can be wrong with a tensor, each with the values that disagree.

use crate::DType;

/// A layout or a view that cannot exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The product of the dimensions, or its size in bytes, does not fit the address space.
    #[error("shape {shape:?} of type {dtype} is too large to address")]
    TooLarge {
        /// Type of the elements.
        dtype: DType,
        /// Dimensions, outermost first.
        shape: Vec<usize>,
    },
    /// More dimensions than any model uses.
    #[error("{rank} dimensions, at most {} are supported", crate::MAX_RANK)]
    RankTooHigh {
        /// Number of dimensions.
        rank: usize,
    },
    /// Rows must hold whole blocks.
    #[error("rows of {row} elements are no multiple of the {block}-element blocks of {dtype}")]
    PartialBlock {
        /// Type of the elements.
        dtype: DType,
        /// Elements per row (the last dimension).
        row: usize,
        /// Elements per block of the type.
        block: usize,
    },
    /// The bytes are not those of the layout.
    #[error("{dtype} {shape:?} takes {expected} bytes, found {found}")]
    ByteLength {
        /// Type of the elements.
        dtype: DType,
        /// Dimensions, outermost first.
        shape: Vec<usize>,
        /// Bytes of the layout.
        expected: usize,
        /// Bytes that were offered.
        found: usize,
    },
    /// A number of elements that differs from what the operation needs.
    #[error("expected {expected} elements, found {found}")]
    ElementCount {
        /// Elements needed.
        expected: usize,
        /// Elements offered.
        found: usize,
    },
    /// Typed access under the wrong type.
    #[error("tensor is {found}, not {expected}")]
    WrongType {
        /// Type asked for.
        expected: DType,
        /// Type of the tensor.
        found: DType,
    },
    /// Columns that a row does not have, or that cut a block.
    #[error("columns {start}..{end} of rows with {row} elements in blocks of {block}")]
    ColumnRange {
        /// First column asked for.
        start: usize,
        /// Column after the last one asked for.
        end: usize,
        /// Elements of a row.
        row: usize,
        /// Elements of a block.
        block: usize,
    },
    /// A row that the tensor does not have.
    #[error("rows {start}..{end} of a tensor with {rows} rows")]
    RowRange {
        /// First row asked for.
        start: usize,
        /// Row after the last one asked for.
        end: usize,
        /// Rows of the tensor.
        rows: usize,
    },
}

/// Values that a type cannot hold. Indices count from the first value given to the encoder.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// NaN or an infinity.
    #[error("element {index} is {value}; only finite values can be stored")]
    NotFinite {
        /// Index of the first such element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A magnitude past the largest value of the type.
    #[error("element {index} is {value}, past the range of {dtype}")]
    OutOfRange {
        /// Type asked for.
        dtype: DType,
        /// Index of the element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// The type is read but not written.
    #[error("values cannot be encoded as {dtype}")]
    NotEncodable {
        /// Type asked for.
        dtype: DType,
    },
    /// Values and bytes do not describe the same elements.
    #[error(transparent)]
    Shape(#[from] TensorError),
}

impl EncodeError {
    /// The same error with its element index moved by `offset`, for callers that encode in parts.
    #[must_use]
    pub fn offset_by(self, offset: usize) -> Self {
        match self {
            Self::NotFinite { index, value } => {
                Self::NotFinite { index: index.saturating_add(offset), value }
            }
            Self::OutOfRange { dtype, index, value } => {
                Self::OutOfRange { dtype, index: index.saturating_add(offset), value }
            }
            other @ (Self::NotEncodable { .. } | Self::Shape(_)) => other,
        }
    }
}
