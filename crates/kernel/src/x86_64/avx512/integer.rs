//! The integer kernels for lanes of this instruction set.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::integer::{self, Unpack};
use super::super::lanes::Lanes;
use crate::integer::{IntegerKernels, PANEL_ROWS, PanelPart, RUN_ROWS, RunInputs};
use std::arch::x86_64::__m512i;

const INPUTS: usize = <__m512i as Lanes<16>>::INPUTS;

/// The functions of this instruction set. Three times as many inputs as meet a run of rows together
/// take as long as a panel of theirs.
pub(super) const fn integer_kernels<B: Unpack>() -> IntegerKernels {
    IntegerKernels {
        rows: multiply_rows::<B>,
        few: 3 * INPUTS,
        pack: pack::<B>,
        offsets: B::OFFSETS,
    }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn multiply_rows<B: Unpack>(rows: &[u8], inputs: RunInputs<'_>, sums: &mut [[f32; RUN_ROWS]]) {
    // SAFETY: this function is compiled for the instruction set.
    unsafe { integer::multiply_rows::<__m512i, B, 16>(rows, inputs, sums) }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pack<B: Unpack>(rows: [&[u8]; PANEL_ROWS], panel: &mut [PanelPart]) {
    // SAFETY: this function is compiled for the instruction set.
    unsafe { integer::pack::<__m512i, B, 16>(rows, panel) }
}
