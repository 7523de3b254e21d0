//! Kernels for AVX2 with FMA and F16C: eight lanes of float32.
//!
//! Every function here is safe and compiled for the same features, so that they inline into each
//! other; the table is handed out by `x86_64::detected` alone.

mod attention;
mod bf16;
mod exp;
mod f16;
mod f32;
mod float;
mod integer;
mod lanes;
mod panel;
mod quantize;

use crate::Kernels;
use crate::integer::integer_types;
use crate::scalar::SCALAR;
use crate::task::Target;
use apr_tensor::{BlockBF16, BlockF16, BlockF32, DType};
use integer::integer_kernels;
pub(super) use lanes::eight_halves;
use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps,
};

#[allow(clippy::needless_update, reason = "a new entry of the table is scalar until it is here")]
pub(crate) const AVX2: Kernels = Kernels {
    name: "avx2",
    target: Target::Avx2,
    decoders: &[
        (DType::F32, float::decode::<BlockF32>),
        (DType::F16, float::decode::<BlockF16>),
        (DType::BF16, float::decode::<BlockBF16>),
    ],
    floats: &[
        (DType::F32, float::multiply::<BlockF32>),
        (DType::F16, float::multiply::<BlockF16>),
        (DType::BF16, float::multiply::<BlockBF16>),
    ],
    integers: integer_types!(integer_kernels),
    multiply_panel: panel::multiply_panel,
    quantize: quantize::quantize,
    add_scaled: float::add_scaled,
    max: exp::max,
    exp_sum: exp::exp_sum,
    silu: exp::silu,
    gelu_tanh: exp::gelu_tanh,
    transpose: attention::transpose,
    add_weighted: attention::add_weighted,
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
