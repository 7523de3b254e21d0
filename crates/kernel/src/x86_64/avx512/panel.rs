//! Panels of two vectors of rows: a vector is a pair of elements of sixteen of them, and one
//! instruction multiplies it with a pair of activations and adds.

use super::super::load;
use crate::activations::{GROUP, GROUPS, Part};
use crate::integer::{PANEL_ROWS, PanelInputs, PanelPart};
use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtepi32_ps, _mm512_dpwssds_epi32, _mm512_fmadd_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512,
};

/// Vectors of a panel's rows.
const VECTORS: usize = PANEL_ROWS / 16;
/// Pairs of a group.
const PAIRS: usize = GROUP / 2;
/// Inputs that meet a panel at a time, at most: their sums stay in registers.
const TOKENS: usize = 4;

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
pub(super) fn multiply_panel(operands: PanelInputs<'_>, mut sums: &mut [[f32; PANEL_ROWS]]) {
    let mut token = 0;
    while !sums.is_empty() {
        // As even as can be, so that no input is alone with the panel.
        let count = sums.len().div_ceil(sums.len().div_ceil(TOKENS));
        let (now, rest) = sums.split_at_mut(count);
        match count {
            1 => multiply::<1>(operands, token, now),
            2 => multiply::<2>(operands, token, now),
            3 => multiply::<3>(operands, token, now),
            _ => multiply::<TOKENS>(operands, token, now),
        }
        (token, sums) = (token + count, rest);
    }
}

/// The panel and `TOKENS` inputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
fn multiply<const TOKENS: usize>(
    operands: PanelInputs<'_>,
    token: usize,
    sums: &mut [[f32; PANEL_ROWS]],
) {
    let Some(sums) = sums.first_chunk_mut::<TOKENS>() else { unreachable!("as many as inputs") };
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; TOKENS];
    for (acc, sums) in acc.iter_mut().zip(sums.iter()) {
        *acc = vectors(sums);
    }
    for (i, panel) in operands.panel.iter().enumerate() {
        let x: [&Part; TOKENS] = operands.parts(token, i);
        let scales = vectors(&panel.scales);
        for (acc, u) in acc.iter_mut().zip(part_sums(panel, &x)) {
            for v in 0..VECTORS {
                acc[v] = _mm512_fmadd_ps(u[v], scales[v], acc[v]);
            }
        }
        for half in 0..operands.offsets {
            let offsets = vectors(&panel.offsets[half]);
            for (acc, x) in acc.iter_mut().zip(x) {
                let sum = if operands.offsets == 1 { x.sums[0] + x.sums[1] } else { x.sums[half] };
                for v in 0..VECTORS {
                    acc[v] = _mm512_fmadd_ps(offsets[v], _mm512_set1_ps(sum), acc[v]);
                }
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        for (sums, acc) in sums.as_chunks_mut::<16>().0.iter_mut().zip(acc) {
            load::store_f32_zmm(sums, acc);
        }
    }
}

/// The products with a part, scaled as the activations are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
fn part_sums<const TOKENS: usize>(
    panel: &PanelPart,
    x: &[&Part; TOKENS],
) -> [[__m512; VECTORS]; TOKENS] {
    let mut u = [[_mm512_setzero_ps(); VECTORS]; TOKENS];
    for group in 0..GROUPS {
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; TOKENS];
        for pair in PAIRS * group..PAIRS * (group + 1) {
            let weights = pairs(&panel.pairs[pair]);
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = load::pair_zmm(&x.values.as_chunks::<2>().0[pair]);
                for v in 0..VECTORS {
                    sums[v] = _mm512_dpwssds_epi32(sums[v], weights[v], x);
                }
            }
        }
        for ((u, sums), x) in u.iter_mut().zip(sums).zip(x) {
            let scale = _mm512_set1_ps(x.scales[group]);
            for v in 0..VECTORS {
                u[v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[v]), scale, u[v]);
            }
        }
    }
    u
}

/// A pair of elements of each row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
fn pairs(values: &[[i16; 2]; PANEL_ROWS]) -> [__m512i; VECTORS] {
    let sixteens = values.as_chunks::<16>().0;
    [load::pairs_zmm(&sixteens[0]), load::pairs_zmm(&sixteens[1])]
}

/// A number for each row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vnni")]
fn vectors(values: &[f32; PANEL_ROWS]) -> [__m512; VECTORS] {
    let sixteens = values.as_chunks::<16>().0;
    [load::f32_zmm(&sixteens[0]), load::f32_zmm(&sixteens[1])]
}
