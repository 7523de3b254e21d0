//! Kernels for AVX-512 with VNNI: the table for AVX2 with sixteen lanes where these pay.

mod attention;
mod float;
mod integer;
mod lanes;
mod panel;

use super::avx2::AVX2;
use crate::Kernels;
use crate::integer::integer_types;
use crate::task::Target;
use apr_tensor::{BlockBF16, BlockF16, BlockF32, DType};
use integer::integer_kernels;

pub(crate) const AVX512: Kernels = Kernels {
    name: "avx512",
    target: Target::Avx512,
    floats: &[
        (DType::F32, float::multiply::<BlockF32>),
        (DType::F16, float::multiply::<BlockF16>),
        (DType::BF16, float::multiply::<BlockBF16>),
    ],
    integers: integer_types!(integer_kernels),
    multiply_panel: panel::multiply_panel,
    transpose: attention::transpose,
    add_weighted: attention::add_weighted,
    ..AVX2
};
