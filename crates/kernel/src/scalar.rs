//! The reference kernels: portable. Other tables are tested against them and inherit from them what
//! they do not have.

use crate::activations::quantize;
use crate::float;
use crate::integer::{integer_kernels, integer_types, multiply_panel};
use crate::kernels::Kernels;
use crate::task::Target;
use crate::vector;
use apr_tensor::{Block, DType};
use zerocopy::FromBytes;
use zerocopy::little_endian::U16;

pub(crate) const SCALAR: Kernels = Kernels {
    name: "scalar",
    target: Target::Baseline,
    decoders: &[],
    floats: &[(DType::F32, float::multiply)],
    integers: integer_types!(integer_kernels),
    multiply_panel,
    quantize,
    add_scaled,
    max: vector::max,
    exp_sum: vector::exp_sum,
    silu: vector::silu,
    gelu_tanh: vector::gelu_tanh,
    transpose: vector::transpose,
    add_weighted: vector::add_weighted,
};

/// The blocks that these bytes are.
///
/// # Panics
/// When the last one is cut off.
pub(crate) fn blocks<B: Block>(bytes: &[u8]) -> &[B] {
    <[B]>::ref_from_bytes(bytes).expect("whole blocks: checked by the caller")
}

/// The value of an f16, without a branch, so that it can become part of a vector operation.
#[inline(always)]
pub(crate) fn half(bits: U16) -> f32 {
    let bits = u32::from(bits.get());
    // The exponent is 112 less than that of a single; what is subnormal becomes normal.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    // Infinity and NaN have the largest exponent, and the multiplication made 2^16 of it.
    let special = if bits & 0x7c00 == 0x7c00 { 0xff << 23 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | (bits & 0x8000) << 16)
}

fn add_scaled(scale: f32, x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += scale * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn every_f16_has_its_value() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (half(U16::new(bits)), f16::from_bits(bits).to_f32());
            assert!(
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                "{bits:#x}"
            );
        }
    }
}
