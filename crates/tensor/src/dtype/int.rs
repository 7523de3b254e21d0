//! Plain numbers that no weight is made of: masks, positions, double precision. They are read
//! (values past 2²⁴ round to single precision, unless they are asked for exactly) and copied, never
//! encoded.

use crate::DType;
use crate::block::{Block, Number, Words};
use zerocopy::little_endian::{F64, I16, I32, I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

macro_rules! plain {
    ($($block:ident($raw:ty) = $dtype:ident, $bytes:literal, $value:ident => $to_f32:expr
        $(, exact $number:expr)?;)*) => {$(
        #[doc = concat!("One element of type ", stringify!($dtype), ".")]
        #[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub(crate) struct $block(pub(crate) $raw);
        const _: () = assert!(size_of::<$block>() == $bytes);

        impl Block for $block {
            const DTYPE: DType = DType::$dtype;
            const ELEMS: usize = 1;
            const WORDS: &'static [Words] =
                if $bytes == 1 { &[] } else { &[Words::one(0, $bytes)] };

            fn decode(&self, out: &mut [f32]) {
                let $value = self.0;
                out[0] = $to_f32;
            }

            $(
                const IS_WIDE: bool = true;

                fn number(&self) -> Option<Number> {
                    let $value = self.0;
                    Some($number)
                }
            )?
        }
    )*};
}

plain! {
    BlockI8(i8) = I8, 1, raw => f32::from(raw);
    BlockI16(I16) = I16, 2, raw => f32::from(raw.get());
    BlockI32(I32) = I32, 4, raw => raw.get() as f32,
        exact Number::Integer(raw.get().into());
    BlockI64(I64) = I64, 8, raw => raw.get() as f32,
        exact Number::Integer(raw.get().into());
    BlockF64(F64) = F64, 8, raw => narrow(raw), exact Number::Float(raw.get());
    BlockBool(u8) = BOOL, 1, raw => f32::from(raw);
    BlockU8(u8) = U8, 1, raw => f32::from(raw);
    BlockU16(U16) = U16, 2, raw => f32::from(raw.get());
    BlockU32(U32) = U32, 4, raw => raw.get() as f32,
        exact Number::Integer(raw.get().into());
    BlockU64(U64) = U64, 8, raw => raw.get() as f32,
        exact Number::Integer(raw.get().into());
}

#[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is the contract")]
fn narrow(raw: F64) -> f32 {
    raw.get() as f32
}

#[cfg(test)]
mod tests {
    use crate::{DType, Number};

    #[test]
    fn little_endian_values_are_read() {
        for (dtype, bytes, value) in [
            (DType::I8, &[0xfe][..], -2.0),
            (DType::I16, &[0xfe, 0xff], -2.0),
            (DType::I32, &[0, 1, 0, 0], 256.0),
            (DType::I64, &[0xff; 8], -1.0),
            (DType::F64, &1.5_f64.to_le_bytes(), 1.5),
            (DType::BOOL, &[1], 1.0),
            (DType::U8, &[200], 200.0),
            (DType::U16, &[0xff, 0xff], 65_535.0),
            (DType::U32, &[0, 0, 0, 0x80], 2_147_483_648.0),
            (DType::U64, &[0, 0, 0, 0, 1, 0, 0, 0], 4_294_967_296.0),
        ] {
            let mut out = [0.0];
            dtype.decode(bytes, &mut out).unwrap();
            assert_eq!(out, [value], "{dtype}");
        }
    }

    #[test]
    fn wide_types_give_their_numbers_exactly() {
        let past = (1_u64 << 53) + 1;
        for (dtype, bytes, number) in [
            (DType::I32, &i32::MIN.to_le_bytes()[..], Number::Integer(i32::MIN.into())),
            (DType::U32, &u32::MAX.to_le_bytes(), Number::Integer(u32::MAX.into())),
            (DType::I64, &past.to_le_bytes(), Number::Integer(past.into())),
            (DType::U64, &u64::MAX.to_le_bytes(), Number::Integer(u64::MAX.into())),
            (DType::F64, &0.1_f64.to_le_bytes(), Number::Float(0.1)),
        ] {
            assert!(dtype.is_wide());
            assert_eq!(dtype.numbers(bytes).unwrap(), [number], "{dtype}");
        }
        assert!(!DType::I16.is_wide() && !DType::F32.is_wide());
        let halves = DType::I8.numbers(&[0xff, 2]).unwrap();
        assert_eq!(halves, [Number::Float(-1.0), Number::Float(2.0)]);
        assert!(DType::I64.numbers(&[0; 9]).is_err());
        let integer = Number::Integer(i128::from(past));
        assert_eq!(integer.minus(Number::Integer(i128::from(past) - 1)), 1.0);
        assert!(!integer.is_same(Number::Integer(i128::from(past) - 1)));
        assert!(Number::Float(f64::NAN).is_same(Number::Float(f64::NAN)));
    }
}
