//! The reference kernels: portable, for every type, through the type's own decoder. Other tables
//! are tested against them and inherit from them what they do not have.

use crate::kernels::{BlockKernels, Kernels, TILE_ROWS, TILE_TOKENS, TileSums};
use apr_tensor::{Block, BlockBF16, BlockF16, BlockF32, BlockQ4_0, BlockQ8_0};
use zerocopy::FromBytes;

pub(crate) const SCALAR: Kernels = Kernels {
    name: "scalar",
    f32: block_kernels::<BlockF32>(),
    f16: block_kernels::<BlockF16>(),
    bf16: block_kernels::<BlockBF16>(),
    q4_0: block_kernels::<BlockQ4_0>(),
    q8_0: block_kernels::<BlockQ8_0>(),
    tile,
    dot,
    add_scaled,
};

/// Elements that are decoded at a time.
const RUN: usize = 256;
/// Independent partial sums, so that compilers can use the vectors of any machine.
const LANES: usize = 8;

const fn block_kernels<B: Block>() -> BlockKernels {
    assert!(RUN.is_multiple_of(B::ELEMS));
    BlockKernels { dot: dot_blocks::<B>, decode: decode_blocks::<B> }
}

/// The blocks that these bytes are.
///
/// # Panics
/// When the last one is cut off.
pub(crate) fn blocks<B: Block>(bytes: &[u8]) -> &[B] {
    <[B]>::ref_from_bytes(bytes).expect("whole blocks: checked by the caller")
}

fn dot_blocks<B: Block>(row: &[u8], x: &[f32]) -> f32 {
    let mut values = [0.0; RUN];
    let mut sum = 0.0;
    for (run, x) in blocks::<B>(row).chunks(RUN / B::ELEMS).zip(x.chunks(RUN)) {
        let values = &mut values[..x.len()];
        decode_run(run, values);
        sum += dot(values, x);
    }
    sum
}

fn decode_blocks<B: Block>(row: &[u8], out: &mut [f32]) {
    decode_run(blocks::<B>(row), out);
}

fn decode_run<B: Block>(blocks: &[B], out: &mut [f32]) {
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(B::ELEMS)) {
        block.decode(out);
    }
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
