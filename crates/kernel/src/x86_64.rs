//! The instruction sets of x86-64 processors, and which of them this one has.

pub(crate) mod avx2;
mod load;

use crate::Kernels;
use avx2::AVX2;

/// The tables that this CPU can run, best last.
pub(crate) fn detected() -> Option<&'static Kernels> {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    avx2.then_some(&AVX2)
}
