//! Values of every kind: refused by name, or encoded within the bound that the type states.
#![no_main]

use apr_fuzz::bounded;
use apr_tensor::{DType, EncodeError};
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

/// Elements: whole blocks of every type.
const ELEMS: usize = 256;

#[derive(Arbitrary, Debug)]
struct Input {
    dtype: u8,
    kind: Kind,
    values: Vec<u16>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    /// The upper halves of singles: every sign and exponent.
    Bits,
    /// Small integers times a power of two, as weights are.
    Scaled(i8),
    /// Nearly the same, up to some bits.
    Constant(f32, u8),
}

fuzz_target!(|input: Input| bounded(ELEMS * 4, || check(&input)));

fn check(input: &Input) {
    let dtype = DType::ALL[usize::from(input.dtype) % DType::ALL.len()];
    let words = input.values.iter().copied().cycle().chain(std::iter::repeat(0));
    let words: Vec<u16> =
        if input.values.is_empty() { vec![0; ELEMS] } else { words.take(ELEMS).collect() };
    let value = |word: &u16| match input.kind {
        Kind::Bits => f32::from_bits(u32::from(*word) << 16),
        Kind::Scaled(exponent) => f32::from(word.cast_signed()) * 2.0_f32.powi(exponent.into()),
        Kind::Constant(base, bits) => {
            let low = u32::from(*word) & ((1_u32 << (bits % 17)) - 1);
            f32::from_bits(base.to_bits() ^ low)
        }
    };
    let values: Vec<f32> = words.iter().map(value).collect();
    let mut bytes = vec![0; ELEMS / dtype.block_elems() * dtype.block_bytes()];
    match dtype.encode(&values, &mut bytes) {
        Ok(()) => within_bounds(dtype, &values, &bytes),
        Err(EncodeError::NotFinite { index, value }) => {
            assert!(!values[index].is_finite() && values[index].to_bits() == value.to_bits());
        }
        Err(EncodeError::OutOfRange { index, value, .. }) => {
            assert_eq!(values[index].to_bits(), value.to_bits(), "{dtype}");
        }
        Err(EncodeError::NotEncodable { .. }) => assert!(!dtype.is_encodable(), "{dtype}"),
        Err(error) => panic!("{dtype}: {error}"),
    }
}

fn within_bounds(dtype: DType, values: &[f32], bytes: &[u8]) {
    let mut decoded = vec![f32::NAN; values.len()];
    dtype.decode(bytes, &mut decoded).expect("whole blocks");
    let block = dtype.block_elems();
    for (values, decoded) in values.chunks(block).zip(decoded.chunks(block)) {
        let bound = f64::from(dtype.error_bound(values));
        for (value, found) in values.iter().zip(decoded) {
            let error = (f64::from(*value) - f64::from(*found)).abs();
            assert!(error <= bound, "{dtype}: {value} became {found}, bound {bound}");
            assert!(!dtype.keeps_zero() || *value != 0.0 || *found == 0.0, "{dtype}: {found}");
        }
    }
}
