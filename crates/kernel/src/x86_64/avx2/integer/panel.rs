//! Panels of rows: a lane is a row, and a pair of activations meets sixteen of them at once.

use super::super::super::load;
use super::{Halves, Unpack, transposed};
use crate::activations::{GROUPS, Part};
use crate::integer::{PANEL_ROWS, PanelInputs, PanelPart};
use crate::scalar::blocks;
use std::arch::x86_64::{
    __m256, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_madd_epi16,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
};

/// Vectors of rows that meet some inputs at a time: their sums stay in registers.
const VECTORS: usize = 2;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pack<B: Unpack>(rows: [&[u8]; PANEL_ROWS], panel: &mut [PanelPart]) {
    let count = panel.len() / B::PARTS;
    // Rows lie at equal distances: the same columns of the next panel are asked for meanwhile.
    let distance = rows[1].as_ptr().addr().wrapping_sub(rows[0].as_ptr().addr());
    let next = distance.wrapping_mul(PANEL_ROWS);
    let bytes = rows;
    let rows = rows.map(|row| &blocks::<B>(row)[..count]);
    for (i, panel) in panel.chunks_exact_mut(B::PARTS).enumerate() {
        for vector in 0..PANEL_ROWS / 8 {
            let blocks: [&B; 8] = std::array::from_fn(|r| &rows[8 * vector + r][i]);
            for row in &bytes[8 * vector..8 * vector + 8] {
                load::prefetch(row, next.wrapping_add(i * size_of::<B>()), size_of::<B>());
            }
            pack_scales(&blocks, vector, panel);
            for (part, panel) in panel.iter_mut().enumerate() {
                pack_pairs(&blocks, part, vector, panel);
            }
        }
    }
}

/// Writes the scales and offsets of eight rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pack_scales<B: Unpack>(blocks: &[&B; 8], vector: usize, panel: &mut [PanelPart]) {
    // SAFETY: this function is compiled for the same instructions.
    let (scales, offsets) = unsafe { (B::eight_scales(blocks), B::eight_offsets(blocks)) };
    for (part, panel) in panel.iter_mut().enumerate() {
        load::store_f32x8(&mut panel.scales.as_chunks_mut::<8>().0[vector], scales[part]);
        for (out, offsets) in panel.offsets[..B::OFFSETS].iter_mut().zip(offsets) {
            load::store_f32x8(&mut out.as_chunks_mut::<8>().0[vector], offsets[part]);
        }
    }
}

/// Writes the integers of a part of eight rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pack_pairs<B: Unpack>(blocks: &[&B; 8], part: usize, vector: usize, panel: &mut PanelPart) {
    let mut halves: [Halves; 8] = [[_mm256_setzero_si256(); 2]; 8];
    for (halves, block) in halves.iter_mut().zip(blocks) {
        // SAFETY: this function is compiled for the same instructions.
        *halves = unsafe { block.unpack(part) };
    }
    for half in 0..2 {
        let columns = transposed(halves.map(|halves| halves[half]));
        for (pairs, column) in panel.pairs[8 * half..8 * half + 8].iter_mut().zip(columns) {
            load::store_pairs(&mut pairs.as_chunks_mut::<8>().0[vector], column);
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(in super::super) fn multiply_panel(operands: PanelInputs<'_>, sums: &mut [[f32; PANEL_ROWS]]) {
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
        let low = load::pairs16(&panel.pairs[group].as_chunks::<16>().0[sixteen]);
        let high = load::pairs16(&panel.pairs[group + GROUPS].as_chunks::<16>().0[sixteen]);
        for (u, x) in u.iter_mut().zip(x) {
            let pairs = x.values.as_chunks::<2>().0;
            let (x_low, x_high) = (load::pair(&pairs[group]), load::pair(&pairs[group + GROUPS]));
            let scale = _mm256_set1_ps(x.scales[group]);
            for v in 0..VECTORS {
                let (low, high) =
                    (_mm256_madd_epi16(low[v], x_low), _mm256_madd_epi16(high[v], x_high));
                let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
                u[v] = _mm256_fmadd_ps(sums, scale, u[v]);
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
