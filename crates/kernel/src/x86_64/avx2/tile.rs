//! The product of four tokens with three decoded rows: twelve sums stay in registers, beside them
//! one vector of each row and one of a token.

use super::super::load;
use super::float::padded;
use super::sum;
use crate::kernels::{TILE_ROWS, TILE_TOKENS, TileSums};
use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_setzero_ps};

/// The lanes of each sum, `[token][row]`.
type Lanes = [[__m256; TILE_ROWS]; TILE_TOKENS];

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn tile(inputs: [&[f32]; TILE_TOKENS], weights: [&[f32]; TILE_ROWS]) -> TileSums {
    let [(a, a_tail), (b, b_tail), (c, c_tail), (d, d_tail)] = inputs.map(<[f32]>::as_chunks::<8>);
    let [(u, u_tail), (v, v_tail), (w, w_tail)] = weights.map(<[f32]>::as_chunks::<8>);
    let mut lanes = [[_mm256_setzero_ps(); TILE_ROWS]; TILE_TOKENS];
    // Zipped iterators have one bound for all seven slices; indices would be checked one by one.
    for ((((((a, b), c), d), u), v), w) in a.iter().zip(b).zip(c).zip(d).zip(u).zip(v).zip(w) {
        accumulate(&mut lanes, [a, b, c, d], [u, v, w]);
    }
    if !u_tail.is_empty() {
        let inputs = [a_tail, b_tail, c_tail, d_tail].map(padded);
        let weights = [u_tail, v_tail, w_tail].map(padded);
        accumulate(&mut lanes, inputs.each_ref(), weights.each_ref());
    }
    lanes.map(|[u, v, w]| [sum(u), sum(v), sum(w)])
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn accumulate(
    lanes: &mut Lanes,
    inputs: [&[f32; 8]; TILE_TOKENS],
    weights: [&[f32; 8]; TILE_ROWS],
) {
    let [u, v, w] = weights;
    let weights = [load::f32x8(u), load::f32x8(v), load::f32x8(w)];
    for (lanes, input) in lanes.iter_mut().zip(inputs) {
        let input = load::f32x8(input);
        for (lanes, weights) in lanes.iter_mut().zip(weights) {
            *lanes = _mm256_fmadd_ps(input, weights, *lanes);
        }
    }
}
