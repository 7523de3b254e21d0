//! Kernels for AVX-512 with VNNI: the table for AVX2 with sixteen lanes where these pay.

mod panel;

use super::avx2::AVX2;
use crate::Kernels;
use crate::task::Target;

pub(crate) const AVX512: Kernels = Kernels {
    name: "avx512",
    target: Target::Avx512,
    multiply_panel: panel::multiply_panel,
    ..AVX2
};
