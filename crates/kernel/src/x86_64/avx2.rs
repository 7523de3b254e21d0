//! Kernels for AVX2 with FMA and F16C: eight lanes of float32.
//!
//! Every function here is safe and compiled for the same features, so that they inline into each
//! other; the table is handed out by `x86_64::detected` alone.

mod bf16;
mod blocks;
mod f16;
mod f32;
mod float;
mod q4_0;
mod q8_0;
mod tile;

use crate::Kernels;
use crate::kernels::BlockKernels;
use crate::scalar::SCALAR;
use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32,
    _mm_movehdup_ps, _mm_movehl_ps, _mm256_broadcastss_ps, _mm256_castps256_ps128,
    _mm256_extractf128_ps,
};

#[allow(clippy::needless_update, reason = "a new entry of the table is scalar until it is here")]
pub(crate) const AVX2: Kernels = Kernels {
    name: "avx2",
    f32: BlockKernels { dot: f32::dot, decode: f32::decode },
    f16: BlockKernels { dot: f16::dot, decode: f16::decode },
    bf16: BlockKernels { dot: bf16::dot, decode: bf16::decode },
    q4_0: BlockKernels { dot: q4_0::dot, decode: q4_0::decode },
    q8_0: BlockKernels { dot: q8_0::dot, decode: q8_0::decode },
    tile: tile::tile,
    dot: float::dot,
    add_scaled: float::add_scaled,
    ..SCALAR
};

/// The sum of all lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The scale of a block, from the bits of its f16, in every lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scale(bits: u16) -> __m256 {
    _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}
