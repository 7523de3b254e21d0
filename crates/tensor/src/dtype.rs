//! The one table of types. Every reader, writer, kernel and verb takes its facts from here.

pub(crate) mod float;
pub(crate) mod int;
pub(crate) mod iq1;
pub(crate) mod iq2;
pub(crate) mod iq3;
pub(crate) mod iq4_nl;
pub(crate) mod iq4_xs;
mod iq_grid;
mod k_quant;
pub(crate) mod mxfp4;
pub(crate) mod nibbles;
pub(crate) mod q2_k;
pub(crate) mod q3_k;
pub(crate) mod q4_0;
pub(crate) mod q4_1;
pub(crate) mod q4_k;
pub(crate) mod q5_0;
pub(crate) mod q5_1;
pub(crate) mod q5_k;
pub(crate) mod q6_k;
pub(crate) mod q8_0;
pub(crate) mod tq;

use crate::block::{Block, BlockTask, Codec, Number};
use crate::{EncodeError, TensorError};
use std::fmt;
use zerocopy::FromBytes;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $safetensors:expr, $block:ty;)*) => {
        /// Type of a tensor's elements. The discriminant is the GGML type number; types that GGML
        /// does not have are numbered from 0x1000 and never stored in `.apr` or GGUF.
        #[allow(non_camel_case_types, reason = "the names are GGML's")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum DType {
            $($(#[$doc])* $variant = $id,)*
        }

        impl DType {
            /// Every type, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The type with this number, if the table has it.
            #[must_use]
            pub const fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name as GGML writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// The name in a SafeTensors header, for the types that format has.
            #[must_use]
            pub const fn safetensors_name(self) -> Option<&'static str> {
                match self { $(Self::$variant => $safetensors,)* }
            }

            /// Does `task` with the block of this type.
            #[inline(always)]
            pub fn with_block<T: BlockTask>(self, task: T) -> T::Output {
                match self { $(Self::$variant => task.with::<$block>(),)* }
            }

            /// How blocks of this type are read and written.
            #[must_use]
            pub const fn codec(self) -> &'static Codec {
                match self {
                    $(Self::$variant => const {
                        assert!(<$block as Block>::DTYPE as u32 == $id);
                        &Codec::of::<$block>()
                    },)*
                }
            }
        }
    };
}

dtypes! {
    // type, number, SafeTensors name, block
    /// IEEE 754 single precision.
    F32 = 0, Some("F32"), float::BlockF32;
    /// IEEE 754 half precision.
    F16 = 1, Some("F16"), float::BlockF16;
    /// 4-bit integers with one f16 scale for 32 elements; the type behind `int4`.
    Q4_0 = 2, None, q4_0::BlockQ4_0;
    /// 4-bit integers with one f16 scale and one f16 offset for 32 elements.
    Q4_1 = 3, None, q4_1::BlockQ4_1;
    /// 5-bit integers with one f16 scale for 32 elements.
    Q5_0 = 6, None, q5_0::BlockQ5_0;
    /// 5-bit integers with one f16 scale and one f16 offset for 32 elements.
    Q5_1 = 7, None, q5_1::BlockQ5_1;
    /// 8-bit integers with one f16 scale for 32 elements; the type behind `int8`.
    Q8_0 = 8, None, q8_0::BlockQ8_0;
    /// 2-bit integers in sub-blocks of 16 with 4-bit scales and offsets.
    Q2_K = 10, None, q2_k::BlockQ2_K;
    /// 3-bit integers in sub-blocks of 16 with 6-bit scales.
    Q3_K = 11, None, q3_k::BlockQ3_K;
    /// 4-bit integers in sub-blocks of 32 with 6-bit scales and offsets.
    Q4_K = 12, None, q4_k::BlockQ4_K;
    /// 5-bit integers in sub-blocks of 32 with 6-bit scales and offsets.
    Q5_K = 13, None, q5_k::BlockQ5_K;
    /// 6-bit integers in sub-blocks of 16 with 8-bit scales.
    Q6_K = 14, None, q6_k::BlockQ6_K;
    /// 2-bit codebook of 256 points; read, not written.
    IQ2_XXS = 16, None, iq2::BlockIQ2_XXS;
    /// 2-bit codebook of 512 points; read, not written.
    IQ2_XS = 17, None, iq2::BlockIQ2_XS;
    /// 3-bit codebook of 256 points; read, not written.
    IQ3_XXS = 18, None, iq3::BlockIQ3_XXS;
    /// 1-bit codebook, scales of 32 elements; read, not written.
    IQ1_S = 19, None, iq1::BlockIQ1_S;
    /// 4-bit numbers into a table, with one f16 scale for 32 elements.
    IQ4_NL = 20, None, iq4_nl::BlockIQ4_NL;
    /// 3-bit codebook of 512 points; read, not written.
    IQ3_S = 21, None, iq3::BlockIQ3_S;
    /// 2-bit codebook of 1024 points; read, not written.
    IQ2_S = 22, None, iq2::BlockIQ2_S;
    /// 4-bit numbers into a table, with 6-bit scales for 32 elements.
    IQ4_XS = 23, None, iq4_xs::BlockIQ4_XS;
    /// Signed 8-bit integer.
    I8 = 24, Some("I8"), int::BlockI8;
    /// Signed 16-bit integer.
    I16 = 25, Some("I16"), int::BlockI16;
    /// Signed 32-bit integer.
    I32 = 26, Some("I32"), int::BlockI32;
    /// Signed 64-bit integer.
    I64 = 27, Some("I64"), int::BlockI64;
    /// IEEE 754 double precision.
    F64 = 28, Some("F64"), int::BlockF64;
    /// 1-bit codebook, scales of 16 elements; read, not written.
    IQ1_M = 29, None, iq1::BlockIQ1_M;
    /// bfloat16: the upper half of a single.
    BF16 = 30, Some("BF16"), float::BlockBF16;
    /// Ternary, five elements to a byte; read, not written.
    TQ1_0 = 34, None, tq::BlockTQ1_0;
    /// Ternary, four elements to a byte; read, not written.
    TQ2_0 = 35, None, tq::BlockTQ2_0;
    /// 4-bit floats with a power of two for 32 elements.
    MXFP4 = 39, None, mxfp4::BlockMXFP4;
    /// One byte, zero or one.
    BOOL = 0x1000, Some("BOOL"), int::BlockBool;
    /// Unsigned 8-bit integer.
    U8 = 0x1001, Some("U8"), int::BlockU8;
    /// Unsigned 16-bit integer.
    U16 = 0x1002, Some("U16"), int::BlockU16;
    /// Unsigned 32-bit integer.
    U32 = 0x1003, Some("U32"), int::BlockU32;
    /// Unsigned 64-bit integer.
    U64 = 0x1004, Some("U64"), int::BlockU64;
}

#[deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "lengths and numbers may be hostile"
)]
impl DType {
    /// First number of the types that GGML does not have.
    const PRIVATE: u32 = 0x1000;

    /// The type number: GGML's, or a private one from 0x1000.
    #[must_use]
    #[allow(clippy::as_conversions, reason = "the discriminant is the number")]
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Whether GGML has this type, so that `.apr` and GGUF files may contain it.
    #[must_use]
    pub const fn is_ggml(self) -> bool {
        self.id() < Self::PRIVATE
    }

    /// The type of this name in a SafeTensors header.
    #[must_use]
    pub fn from_safetensors(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.safetensors_name() == Some(name))
    }

    /// The type of this name, in capitals or not.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.name().eq_ignore_ascii_case(name))
    }

    /// Whether weights can be stored in this type: some are only read.
    #[must_use]
    pub fn is_encodable(self) -> bool {
        let codec = self.codec();
        let (zeros, mut block) = (vec![0.0; codec.elems], vec![0; codec.bytes]);
        self.encode(&zeros, &mut block).is_ok()
    }

    /// Elements per block: 1 unless the type shares a scale among several elements.
    #[must_use]
    pub const fn block_elems(self) -> usize {
        self.codec().elems
    }

    /// Bytes per block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        self.codec().bytes
    }

    /// Whether elements that are zero decode to zero.
    #[must_use]
    pub const fn keeps_zero(self) -> bool {
        self.codec().keeps_zero
    }

    /// Whether single precision does not hold every value of this type.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.codec().is_wide
    }

    /// The values of whole blocks, each exactly.
    ///
    /// # Errors
    /// When `bytes` is no whole number of blocks.
    pub fn numbers(self, bytes: &[u8]) -> Result<Vec<Number>, TensorError> {
        let blocks = bytes.len().checked_div(self.block_bytes()).unwrap_or_default();
        let elems = blocks.saturating_mul(self.block_elems());
        self.check_lengths(bytes.len(), elems)?;
        let wide = self.with_block(Numbers(bytes));
        if self.is_wide() {
            return Ok(wide);
        }
        let mut values = vec![0.0; elems];
        self.decode(bytes, &mut values)?;
        Ok(values.into_iter().map(|value| Number::Float(f64::from(value))).collect())
    }

    /// Turns whole blocks from a big-endian file into those of a little-endian one, or back.
    ///
    /// # Errors
    /// When `bytes` is no whole number of blocks.
    pub fn swap_bytes(self, bytes: &mut [u8]) -> Result<(), TensorError> {
        let codec = self.codec();
        let blocks = bytes.len().checked_div(codec.bytes).unwrap_or_default();
        let elems = blocks.saturating_mul(codec.elems);
        self.check_lengths(bytes.len(), elems)?;
        for block in bytes.chunks_exact_mut(codec.bytes) {
            for words in codec.words {
                let end = words.at.saturating_add(words.width.saturating_mul(words.count));
                let numbers = block.get_mut(words.at..end).unwrap_or_default();
                numbers.chunks_exact_mut(words.width).for_each(<[u8]>::reverse);
            }
        }
        Ok(())
    }

    /// Whether this is one of the three float types that weights are published in.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// Whether elements share a scale, so that encoding loses information.
    #[must_use]
    pub const fn is_quantized(self) -> bool {
        self.block_elems() > 1
    }

    /// Decodes whole blocks to single precision.
    ///
    /// # Errors
    /// When `bytes` is no whole number of blocks or `out` has not exactly their elements.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) -> Result<(), TensorError> {
        self.check_lengths(bytes.len(), out.len())?;
        (self.codec().decode)(bytes, out);
        Ok(())
    }

    /// Encodes single-precision values into whole blocks.
    ///
    /// # Errors
    /// When the lengths do not agree, when a value is not finite or past the range of the type,
    /// and for the types that are only read.
    pub fn encode(self, values: &[f32], out: &mut [u8]) -> Result<(), EncodeError> {
        self.check_lengths(out.len(), values.len())?;
        (self.codec().encode)(values, out)
    }

    /// The largest absolute difference that encoding may leave in any element of this block.
    #[must_use]
    pub fn error_bound(self, block: &[f32]) -> f32 {
        (self.codec().error_bound)(block)
    }

    /// Checks that so many bytes are whole blocks with so many elements.
    ///
    /// # Errors
    /// When they are not.
    pub fn check_lengths(self, bytes: usize, elems: usize) -> Result<(), TensorError> {
        let codec = self.codec();
        if !bytes.is_multiple_of(codec.bytes) {
            let blocks = bytes.div_ceil(codec.bytes);
            return Err(TensorError::ByteLength {
                dtype: self,
                shape: vec![elems],
                expected: blocks.saturating_mul(codec.bytes),
                found: bytes,
            });
        }
        match bytes.checked_div(codec.bytes).and_then(|blocks| blocks.checked_mul(codec.elems)) {
            Some(expected) if expected == elems => Ok(()),
            expected => Err(TensorError::ElementCount {
                expected: expected.unwrap_or(usize::MAX),
                found: elems,
            }),
        }
    }
}

/// The numbers of whole blocks, as far as their type is wide.
struct Numbers<'a>(&'a [u8]);

impl BlockTask for Numbers<'_> {
    type Output = Vec<Number>;

    fn with<B: Block>(self) -> Vec<Number> {
        let blocks = <[B]>::ref_from_bytes(self.0).unwrap_or_default();
        blocks.iter().filter_map(B::number).collect()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers and sizes from the GGML specification, for the types that it has.
    #[test]
    fn table_agrees_with_ggml() {
        for (dtype, id, elems, bytes) in [
            (DType::F32, 0, 1, 4),
            (DType::F16, 1, 1, 2),
            (DType::Q4_0, 2, 32, 18),
            (DType::Q4_1, 3, 32, 20),
            (DType::Q5_0, 6, 32, 22),
            (DType::Q5_1, 7, 32, 24),
            (DType::Q8_0, 8, 32, 34),
            (DType::Q2_K, 10, 256, 84),
            (DType::Q3_K, 11, 256, 110),
            (DType::Q4_K, 12, 256, 144),
            (DType::Q5_K, 13, 256, 176),
            (DType::Q6_K, 14, 256, 210),
            (DType::IQ2_XXS, 16, 256, 66),
            (DType::IQ2_XS, 17, 256, 74),
            (DType::IQ3_XXS, 18, 256, 98),
            (DType::IQ1_S, 19, 256, 50),
            (DType::IQ4_NL, 20, 32, 18),
            (DType::IQ3_S, 21, 256, 110),
            (DType::IQ2_S, 22, 256, 82),
            (DType::IQ4_XS, 23, 256, 136),
            (DType::I8, 24, 1, 1),
            (DType::I16, 25, 1, 2),
            (DType::I32, 26, 1, 4),
            (DType::I64, 27, 1, 8),
            (DType::F64, 28, 1, 8),
            (DType::IQ1_M, 29, 256, 56),
            (DType::BF16, 30, 1, 2),
            (DType::TQ1_0, 34, 256, 54),
            (DType::TQ2_0, 35, 256, 66),
            (DType::MXFP4, 39, 32, 17),
        ] {
            assert_eq!((dtype.id(), dtype.block_elems(), dtype.block_bytes()), (id, elems, bytes));
        }
    }

    #[test]
    fn every_type_is_found_by_its_number_and_name() {
        for &dtype in DType::ALL {
            assert_eq!(DType::from_id(dtype.id()), Some(dtype));
            assert_eq!(DType::from_name(&dtype.name().to_lowercase()), Some(dtype));
            if let Some(name) = dtype.safetensors_name() {
                assert_eq!(DType::from_safetensors(name), Some(dtype));
            }
        }
        assert_eq!(DType::from_id(4), None);
        assert_eq!(DType::from_safetensors("Q8_0"), None);
    }

    #[test]
    fn words_lie_within_their_blocks_and_swapping_twice_changes_nothing() {
        for &dtype in DType::ALL {
            for words in dtype.codec().words {
                assert!(words.at + words.width * words.count <= dtype.block_bytes(), "{dtype}");
            }
            let bytes: Vec<u8> = (0..=250).cycle().take(dtype.block_bytes() * 3).collect();
            let mut swapped = bytes.clone();
            dtype.swap_bytes(&mut swapped).unwrap();
            assert_eq!(swapped == bytes, dtype.codec().words.is_empty(), "{dtype}");
            dtype.swap_bytes(&mut swapped).unwrap();
            assert_eq!(swapped, bytes, "{dtype}");
        }
    }

    #[test]
    fn lengths_that_disagree_are_refused() {
        let mut out = [0.0; 32];
        assert!(matches!(
            DType::Q8_0.decode(&[0; 33], &mut out),
            Err(TensorError::ByteLength { .. })
        ));
        assert_eq!(
            DType::Q8_0.decode(&[0; 68], &mut out),
            Err(TensorError::ElementCount { expected: 64, found: 32 })
        );
        assert_eq!(
            DType::I32.encode(&[1.0], &mut [0; 4]),
            Err(EncodeError::NotEncodable { dtype: DType::I32 })
        );
    }
}
