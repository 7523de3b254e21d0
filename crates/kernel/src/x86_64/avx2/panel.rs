//! Panels of rows: a lane is a row, and a pair of activations meets sixteen of them at once.

use super::super::load;
use crate::activations::{GROUP, GROUPS, Part};
use crate::integer::{PANEL_ROWS, PanelInputs, PanelPart};
use std::arch::x86_64::{
    __m256, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_madd_epi16,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
};

/// Vectors of rows that meet some inputs at a time: their sums stay in registers.
const VECTORS: usize = 2;
/// Pairs of a group.
const PAIRS: usize = GROUP / 2;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply_panel(operands: PanelInputs<'_>, sums: &mut [[f32; PANEL_ROWS]]) {
    let (fours, rest) = sums.as_chunks_mut::<4>();
    for (i, sums) in fours.iter_mut().enumerate() {
        multiply(operands, 4 * i, sums);
    }
    for (i, sums) in rest.iter_mut().enumerate() {
        multiply(operands, 4 * fours.len() + i, std::array::from_mut(sums));
    }
}

/// Sixteen of the rows of a panel: which, in sixteens.
type Sixteen = usize;

/// The panel and `TOKENS` inputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply<const TOKENS: usize>(
    operands: PanelInputs<'_>,
    token: usize,
    sums: &mut [[f32; PANEL_ROWS]; TOKENS],
) {
    for sixteen in 0..PANEL_ROWS / 16 {
        multiply_sixteen(operands, (token, sixteen), sums);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn multiply_sixteen<const TOKENS: usize>(
    operands: PanelInputs<'_>,
    (token, sixteen): (usize, Sixteen),
    sums: &mut [[f32; PANEL_ROWS]; TOKENS],
) {
    let mut acc = [[_mm256_setzero_ps(); VECTORS]; TOKENS];
    for (acc, sums) in acc.iter_mut().zip(sums.iter()) {
        *acc = load::f32x16(&sums.as_chunks::<16>().0[sixteen]);
    }
    for (i, panel) in operands.panel.iter().enumerate() {
        let x: [&Part; TOKENS] = operands.parts(token, i);
        let u = part_sums((panel, sixteen), &x);
        let scales = load::f32x16(&panel.scales.as_chunks::<16>().0[sixteen]);
        for (acc, u) in acc.iter_mut().zip(u) {
            for v in 0..VECTORS {
                acc[v] = _mm256_fmadd_ps(u[v], scales[v], acc[v]);
            }
        }
        add_offsets((panel, sixteen), operands.offsets, &x, &mut acc);
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        load::store_f32x16(&mut sums.as_chunks_mut::<16>().0[sixteen], acc);
    }
}

/// The products with a part, scaled as the activations are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn part_sums<const TOKENS: usize>(
    (panel, sixteen): (&PanelPart, Sixteen),
    x: &[&Part; TOKENS],
) -> [[__m256; VECTORS]; TOKENS] {
    let mut u = [[_mm256_setzero_ps(); VECTORS]; TOKENS];
    for group in 0..GROUPS {
        let mut sums = [[_mm256_setzero_si256(); VECTORS]; TOKENS];
        for pair in PAIRS * group..PAIRS * (group + 1) {
            let weights = load::pairs16(&panel.pairs[pair].as_chunks::<16>().0[sixteen]);
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = load::pair(&x.values.as_chunks::<2>().0[pair]);
                for v in 0..VECTORS {
                    sums[v] = _mm256_add_epi32(sums[v], _mm256_madd_epi16(weights[v], x));
                }
            }
        }
        for ((u, sums), x) in u.iter_mut().zip(sums).zip(x) {
            let scale = _mm256_set1_ps(x.scales[group]);
            for v in 0..VECTORS {
                u[v] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[v]), scale, u[v]);
            }
        }
    }
    u
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_offsets<const TOKENS: usize>(
    (panel, sixteen): (&PanelPart, Sixteen),
    count: usize,
    x: &[&Part; TOKENS],
    acc: &mut [[__m256; VECTORS]; TOKENS],
) {
    for half in 0..count {
        let offsets = load::f32x16(&panel.offsets[half].as_chunks::<16>().0[sixteen]);
        for (acc, x) in acc.iter_mut().zip(x) {
            let sum = if count == 1 { x.sums[0] + x.sums[1] } else { x.sums[half] };
            for v in 0..VECTORS {
                acc[v] = _mm256_fmadd_ps(offsets[v], _mm256_set1_ps(sum), acc[v]);
            }
        }
    }
}
