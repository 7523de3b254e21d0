//! The reference kernels: portable. Other tables are tested against them and inherit from them what
//! they do not have.

use crate::activations::quantize;
use crate::integer::{integer_kernels, integer_types, multiply_panel};
use crate::kernels::{Kernels, TILE_ROWS, TILE_TOKENS, TileSums};
use apr_tensor::Block;
use half::f16;
use zerocopy::FromBytes;
use zerocopy::little_endian::U16;

pub(crate) const SCALAR: Kernels = Kernels {
    name: "scalar",
    rows: &[],
    integers: integer_types!(integer_kernels),
    multiply_panel,
    quantize,
    tile,
    dot,
    add_scaled,
};

/// Independent partial sums, so that compilers can use the vectors of any machine.
const LANES: usize = 8;

/// The blocks that these bytes are.
///
/// # Panics
/// When the last one is cut off.
pub(crate) fn blocks<B: Block>(bytes: &[u8]) -> &[B] {
    <[B]>::ref_from_bytes(bytes).expect("whole blocks: checked by the caller")
}

/// The value of an f16.
pub(crate) fn half(bits: U16) -> f32 {
    f16::from_bits(bits.get()).to_f32()
}

fn tile(inputs: [&[f32]; TILE_TOKENS], weights: [&[f32]; TILE_ROWS]) -> TileSums {
    inputs.map(|input| weights.map(|weights| dot(input, weights)))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_tail).zip(b_tail) {
        *sum += a * b;
    }
    sums.iter().sum()
}

fn add_scaled(scale: f32, x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += scale * x;
    }
}
