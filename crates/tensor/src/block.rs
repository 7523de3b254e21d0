//! The block: the unit in which a type is stored, and the codec that follows from it.

use crate::{DType, EncodeError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A struct that is the bytes of one block on disk.
///
/// `Unaligned` makes alignment 1 a compile-time fact, so a cast from bytes can fail on length
/// alone. Each implementation asserts its size beside its definition.
pub trait Block: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy {
    /// The type that is stored in these blocks.
    const DTYPE: DType;
    /// Elements per block.
    const ELEMS: usize;
    /// Whether an element that is zero decodes to zero. Types with an offset per block, or whose
    /// table has no zero, hold it as nearly as any other value.
    const KEEPS_ZERO: bool = true;
    /// Whether single precision does not hold every value of this type. Such a block has one
    /// element.
    const IS_WIDE: bool = false;
    /// Where the block holds numbers of several bytes: what differs in a big-endian file.
    const WORDS: &'static [Words];

    /// Writes the [`ELEMS`](Self::ELEMS) values of this block.
    fn decode(&self, out: &mut [f32]);

    /// The element of a [wide](Self::IS_WIDE) type, exactly; none for the others.
    fn number(&self) -> Option<Number> {
        None
    }

    /// The block nearest to these [`ELEMS`](Self::ELEMS) values by the type's own measure.
    ///
    /// # Errors
    /// When a value is not finite or past the range of the type. A type that is only read
    /// inherits this body, which refuses everything.
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let _ = values;
        Err(EncodeError::NotEncodable { dtype: Self::DTYPE })
    }

    /// The largest absolute error that `encode` may leave in any element, given these values.
    /// It depends on the source alone, so that a wrong block cannot widen its own bound.
    #[must_use]
    fn error_bound(values: &[f32]) -> f32 {
        let _ = values;
        0.0
    }

    /// Decodes the blocks that these bytes are.
    ///
    /// # Panics
    /// When they are no whole blocks.
    #[inline(always)]
    fn decode_run(bytes: &[u8], out: &mut [f32]) {
        let blocks = <[Self]>::ref_from_bytes(bytes).expect("whole blocks: checked by the caller");
        for (block, values) in blocks.iter().zip(out.chunks_exact_mut(Self::ELEMS)) {
            block.decode(values);
        }
    }

    /// Encodes a run of values into the blocks that these bytes are.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), with the index within the run.
    ///
    /// # Panics
    /// When the bytes are no whole blocks.
    #[inline(always)]
    fn encode_run(values: &[f32], out: &mut [u8]) -> Result<(), EncodeError> {
        let blocks = <[Self]>::mut_from_bytes(out).expect("whole blocks: checked by the caller");
        let runs = blocks.iter_mut().zip(values.chunks_exact(Self::ELEMS));
        for (at, (block, values)) in runs.enumerate() {
            *block = Self::encode(values).map_err(|error| error.offset_by(at * Self::ELEMS))?;
        }
        Ok(())
    }
}

/// A value, exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Of a type of integers.
    Integer(i128),
    /// Of a type of floats.
    Float(f64),
}

impl Number {
    /// The nearest double-precision number.
    #[must_use]
    pub const fn to_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The difference; of integers it is exact before it is rounded.
    #[must_use]
    pub fn minus(self, other: Self) -> f64 {
        match (self, other) {
            // Types have 64 bits at most.
            (Self::Integer(a), Self::Integer(b)) => (a - b) as f64,
            (a, b) => a.to_f64() - b.to_f64(),
        }
    }

    /// Whether both are the same number, or neither is one.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (a, b) => {
                let (a, b) = (a.to_f64(), b.to_f64());
                a == b || (a.is_nan() && b.is_nan())
            }
        }
    }
}

/// What is to be done with the block of a type that is known only when the program runs.
pub trait BlockTask {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with<B: Block>(self) -> Self::Output;
}

/// Numbers of several bytes within a block, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Byte of the block at which they begin.
    pub at: usize,
    /// Bytes of each.
    pub width: usize,
    /// How many there are.
    pub count: usize,
}

impl Words {
    /// One number of `width` bytes at this byte.
    pub(crate) const fn one(at: usize, width: usize) -> Self {
        Self { at, width, count: 1 }
    }
}

/// A type's operations on runs of blocks, derived from its [`Block`]. The callers in
/// [`DType`] check lengths first.
#[derive(Debug)]
pub struct Codec {
    pub(crate) elems: usize,
    pub(crate) bytes: usize,
    pub(crate) keeps_zero: bool,
    pub(crate) is_wide: bool,
    pub(crate) words: &'static [Words],
    pub(crate) decode: fn(&[u8], &mut [f32]),
    pub(crate) encode: fn(&[f32], &mut [u8]) -> Result<(), EncodeError>,
    pub(crate) error_bound: fn(&[f32]) -> f32,
}

impl Codec {
    pub(crate) const fn of<B: Block>() -> Self {
        Self {
            elems: B::ELEMS,
            bytes: size_of::<B>(),
            keeps_zero: B::KEEPS_ZERO,
            is_wide: B::IS_WIDE,
            words: B::WORDS,
            decode: B::decode_run,
            encode: B::encode_run,
            error_bound: B::error_bound,
        }
    }
}

/// The largest magnitude among the values.
///
/// # Errors
/// The first value that is not finite.
#[inline(always)]
pub(crate) fn finite_amax(values: &[f32]) -> Result<f32, EncodeError> {
    let amax = amax(values);
    if amax.is_finite() {
        return Ok(amax);
    }
    let (index, &value) = values
        .iter()
        .enumerate()
        .find(|(_, value)| !value.is_finite())
        .expect("the maximum is one of them");
    Err(EncodeError::NotFinite { index, value })
}

/// The largest magnitude: infinity comes after all finite ones, NaN after that.
#[inline(always)]
pub(crate) fn amax(values: &[f32]) -> f32 {
    // Magnitudes are in the order of their bits, and the maximum of integers may be taken in any
    // order, so that it is one of vectors.
    f32::from_bits(values.iter().fold(0, |max, value| (value.to_bits() & 0x7fff_ffff).max(max)))
}

/// The error for values of which the largest is past the range of the type.
pub(crate) fn out_of_range(dtype: DType, values: &[f32]) -> EncodeError {
    let larger = |a: usize, b: usize| if values[b].abs() > values[a].abs() { b } else { a };
    let index = (0..values.len()).reduce(larger).unwrap_or_default();
    EncodeError::OutOfRange { dtype, index, value: values[index] }
}
