//! Panels of sixteen rows: a vector is a pair of elements of all of them, and one instruction
//! multiplies it with a pair of activations and adds.

use super::super::load;
use crate::activations::{GROUPS, Part};
use crate::integer::{PANEL_ROWS, PanelInputs, PanelPart};
use std::arch::x86_64::{
    __m512, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32, _mm512_fmadd_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512,
};

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
pub(super) fn multiply_panel(operands: PanelInputs<'_>, sums: &mut [[f32; PANEL_ROWS]]) {
    let (eights, rest) = sums.as_chunks_mut::<8>();
    for (i, sums) in eights.iter_mut().enumerate() {
        multiply(operands, 8 * i, sums);
    }
    for (i, sums) in rest.iter_mut().enumerate() {
        multiply(operands, 8 * eights.len() + i, std::array::from_mut(sums));
    }
}

/// The panel and `TOKENS` inputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
fn multiply<const TOKENS: usize>(
    operands: PanelInputs<'_>,
    token: usize,
    sums: &mut [[f32; PANEL_ROWS]; TOKENS],
) {
    let inputs: [&[Part]; TOKENS] = std::array::from_fn(|t| operands.input(token + t));
    let mut acc = [_mm512_setzero_ps(); TOKENS];
    for (acc, sums) in acc.iter_mut().zip(sums.iter()) {
        *acc = load::f32_zmm(sums);
    }
    for (i, panel) in operands.panel.iter().enumerate() {
        let x: [&Part; TOKENS] = std::array::from_fn(|t| &inputs[t][i]);
        let scales = load::f32_zmm(&panel.scales);
        for (acc, u) in acc.iter_mut().zip(part_sums(panel, &x)) {
            *acc = _mm512_fmadd_ps(u, scales, *acc);
        }
        for half in 0..operands.offsets {
            let offsets = load::f32_zmm(&panel.offsets[half]);
            for (acc, x) in acc.iter_mut().zip(x) {
                let sum = if operands.offsets == 1 { x.sums[0] + x.sums[1] } else { x.sums[half] };
                *acc = _mm512_fmadd_ps(offsets, _mm512_set1_ps(sum), *acc);
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        load::store_f32_zmm(sums, acc);
    }
}

/// The products with a part, scaled as the activations are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
fn part_sums<const TOKENS: usize>(panel: &PanelPart, x: &[&Part; TOKENS]) -> [__m512; TOKENS] {
    let mut u = [_mm512_setzero_ps(); TOKENS];
    for group in 0..GROUPS {
        let low = load::pairs_zmm(&panel.pairs[group]);
        let high = load::pairs_zmm(&panel.pairs[group + GROUPS]);
        for (u, x) in u.iter_mut().zip(x) {
            let pairs = x.values.as_chunks::<2>().0;
            let sums = _mm512_setzero_si512();
            let sums = _mm512_dpwssd_epi32(sums, low, load::pair_zmm(&pairs[group]));
            let sums = _mm512_dpwssd_epi32(sums, high, load::pair_zmm(&pairs[group + GROUPS]));
            *u = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(x.scales[group]), *u);
        }
    }
    u
}
