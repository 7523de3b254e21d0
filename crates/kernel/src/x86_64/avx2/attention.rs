//! Rows of a cache, eight elements in a vector.
#![allow(unsafe_code, reason = "code is compiled for instruction sets that must be detected")]

use super::super::attention;
use crate::attention::{Strided, Weights};
use std::arch::x86_64::{__m256, __m256i};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn transpose(rows: Strided<'_>, count: usize, out: &mut [f32]) {
    // SAFETY: this function is compiled for the instruction set.
    unsafe { attention::transpose::<__m256i, 8>(rows, count, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add_weighted(weights: Weights<'_>, rows: Strided<'_>, out: &mut [f32]) {
    // SAFETY: this function is compiled for the instruction set.
    unsafe { attention::add_weighted::<__m256>(weights, rows, out) }
}
