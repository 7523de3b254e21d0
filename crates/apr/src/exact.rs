//! Numbers as they are stored, where single precision does not hold them.

use crate::units;
pub(crate) use apr_tensor::Number;
use apr_tensor::{DType, TensorView};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 16;

/// A value in a report: exact, also past the integers that double precision holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Figure {
    /// An integer.
    Integer(i64),
    /// An integer past these.
    Unsigned(u64),
    /// Any other number.
    Float(f64),
}

impl Figure {
    /// The nearest double-precision number.
    #[must_use]
    pub const fn to_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    pub(crate) const fn number(self) -> Number {
        match self {
            Self::Integer(value) => Number::Integer(value as i128),
            Self::Unsigned(value) => Number::Integer(value as i128),
            Self::Float(value) => Number::Float(value),
        }
    }

    /// A number; none if it is not finite, which JSON does not have.
    pub(crate) fn of(number: Number) -> Option<Self> {
        let of_integer = |value: i128| {
            let signed = i64::try_from(value).ok().map(Self::Integer);
            signed.or_else(|| u64::try_from(value).ok().map(Self::Unsigned))
        };
        match number {
            Number::Integer(value) => of_integer(value),
            Number::Float(value) => value.is_finite().then_some(Self::Float(value)),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Float(value) => f.pad(&units::number(*value)),
        }
    }
}

/// The values of whole blocks.
pub(crate) fn of_bytes(dtype: DType, bytes: &[u8]) -> Vec<Number> {
    dtype.numbers(bytes).unwrap_or_else(|_| unreachable!("whole blocks, by their layout"))
}

/// The values of a tensor, a piece at a time.
pub(crate) fn numbers(view: TensorView<'_>) -> impl Iterator<Item = Number> {
    let dtype = view.dtype();
    let piece = (PIECE / dtype.block_bytes()).max(1) * dtype.block_bytes();
    view.bytes().chunks(piece).flat_map(move |bytes| of_bytes(dtype, bytes))
}
