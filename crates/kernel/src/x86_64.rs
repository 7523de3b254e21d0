//! The instruction sets of x86-64 processors, and which of them this one has.

mod attention;
pub(crate) mod avx2;
mod avx512;
mod float;
mod integer;
mod lanes;
mod load;

use crate::Kernels;
use avx2::AVX2;
use avx512::AVX512;

/// The tables that this CPU can run, best last.
pub(crate) fn detected() -> impl Iterator<Item = &'static Kernels> {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    [avx2.then_some(&AVX2), avx512.then_some(&AVX512)].into_iter().flatten()
}
