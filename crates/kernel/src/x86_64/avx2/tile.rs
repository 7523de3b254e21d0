//! The product of a few tokens with a few decoded rows: twelve sums stay in registers, beside
//! them one vector of each row and one of a token.

use super::super::load;
use super::float::padded;
use super::sum;
use crate::kernels::{TILE_ROWS, TILE_TOKENS, TileSums};
use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_setzero_ps};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn tile(inputs: &[&[f32]], weights: [&[f32]; TILE_ROWS]) -> TileSums {
    match *inputs {
        [a, b, c, d, ..] => sums([a, b, c, d], weights),
        [a, b, c] => sums([a, b, c], weights),
        [a, b] => sums([a, b], weights),
        [a] => sums([a], weights),
        [] => TileSums::default(),
    }
}

/// Each pair has one sum over the depth in the order of the columns, whatever the shape.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sums<const TOKENS: usize>(inputs: [&[f32]; TOKENS], weights: [&[f32]; TILE_ROWS]) -> TileSums {
    let inputs = inputs.map(|input| input.as_chunks::<8>());
    let weights = weights.map(|weights| weights.as_chunks::<8>());
    let steps = weights[0].0.len();
    let input_steps = inputs.map(|(input, _)| &input[..steps]);
    let weight_steps = weights.map(|(weights, _)| &weights[..steps]);
    let mut lanes = [[_mm256_setzero_ps(); TILE_ROWS]; TOKENS];
    for step in 0..steps {
        accumulate(
            &mut lanes,
            input_steps.map(|input| &input[step]),
            weight_steps.map(|weights| &weights[step]),
        );
    }
    if !weights[0].1.is_empty() {
        let inputs = inputs.map(|(_, tail)| padded(tail));
        let weights = weights.map(|(_, tail)| padded(tail));
        accumulate(&mut lanes, inputs.each_ref(), weights.each_ref());
    }
    let mut out = [[0.0; TILE_ROWS]; TILE_TOKENS];
    for (out, lanes) in out.iter_mut().zip(lanes) {
        *out = [sum(lanes[0]), sum(lanes[1]), sum(lanes[2])];
    }
    out
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn accumulate<const TOKENS: usize>(
    lanes: &mut [[__m256; TILE_ROWS]; TOKENS],
    inputs: [&[f32; 8]; TOKENS],
    weights: [&[f32; 8]; TILE_ROWS],
) {
    let weights = [load::f32x8(weights[0]), load::f32x8(weights[1]), load::f32x8(weights[2])];
    for (lanes, input) in lanes.iter_mut().zip(inputs) {
        let input = load::f32x8(input);
        for (lanes, weights) in lanes.iter_mut().zip(weights) {
            *lanes = _mm256_fmadd_ps(input, weights, *lanes);
        }
    }
}
