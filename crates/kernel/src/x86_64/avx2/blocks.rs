//! What the quantized types share: the walk over the blocks of a row.

use super::super::load;
use super::sum;
use crate::scalar::blocks;
use apr_tensor::Block;
use std::arch::x86_64::{__m256, _mm256_add_ps, _mm256_setzero_ps};

/// Row product of blocks of `ELEMS` elements, given how the product of one is added to sums. Two
/// sums hide the latency of the additions.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_with<B: Block, const ELEMS: usize>(
    row: &[u8],
    x: &[f32],
    add_block: impl Fn(&B, &[f32; ELEMS], __m256) -> __m256,
) -> f32 {
    const { assert!(ELEMS == B::ELEMS) };
    let (pairs, last) = blocks::<B>(row).as_chunks::<2>();
    let (x_pairs, x_last) = x.as_chunks::<ELEMS>().0.as_chunks::<2>();
    let mut sums = [_mm256_setzero_ps(); 2];
    for (blocks, x) in pairs.iter().zip(x_pairs) {
        load::prefetch_after(blocks);
        sums[0] = add_block(&blocks[0], &x[0], sums[0]);
        sums[1] = add_block(&blocks[1], &x[1], sums[1]);
    }
    for (block, x) in last.iter().zip(x_last) {
        sums[0] = add_block(block, x, sums[0]);
    }
    sum(_mm256_add_ps(sums[0], sums[1]))
}
