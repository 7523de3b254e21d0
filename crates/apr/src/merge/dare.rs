//! DARE (Yu et al. 2023, arXiv 2311.03099): drop changes at random and rescale the rest.

use super::change::{add, changes};
use crate::Error;
use crate::operation::Piece;
use crate::source::{Compute, Source};
use apr_model::{Form, PlacedTensor};
use std::ops::Range;

/// base + Σ wᵢ·mᵢ·(xᵢ − base) / density, where mᵢ is 1 with a probability of density, else 0.
pub(super) struct Dare {
    base: Source,
    models: Vec<Source>,
    weights: Vec<f64>,
    density: f64,
    seed: u64,
    /// Where the elements are in the canonical tensor.
    placed: PlacedTensor,
    form: Form,
    expert: Option<usize>,
}

impl Dare {
    pub(super) fn new(
        base: Source,
        (models, weights): (Vec<Source>, Vec<f64>),
        (density, seed): (f64, u64),
        piece: &Piece<'_>,
    ) -> Self {
        let Piece { placed, form, expert } = *piece;
        Self { base, models, weights, density, seed, placed: placed.clone(), form, expert }
    }
}

impl Compute for Dare {
    fn sources(&self) -> Vec<&Source> {
        self.models.iter().chain([&self.base]).collect()
    }

    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let base = self.base.read(rows.clone())?;
        let shape = self.base.rows_and_cols();
        let piece = Piece { placed: &self.placed, form: self.form, expert: self.expert };
        let first = rows.start * shape.1;
        let mut sums = vec![0.0; base.len()];
        for (number, (model, weight)) in self.models.iter().zip(&self.weights).enumerate() {
            let draws = Draws::new(self.seed, number, &self.placed.name);
            let changes = changes(model, &base, rows.clone())?.into_iter().zip(&mut sums);
            for (at, (change, sum)) in changes.enumerate() {
                if draws.uniform(piece.canonical(first + at, shape)) < self.density {
                    *sum += weight * (f64::from(change) / self.density);
                }
            }
        }
        Ok(add(&base, sums.into_iter()))
    }
}

/// 2⁶⁴ divided by the golden ratio: the step of `SplitMix64`.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of `SplitMix64` (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
/// number generators"; constants of Vigna's reference).
const fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}

/// The random numbers of a tensor of a model: any of them at any time, so that neither threads nor
/// formats change them.
struct Draws(u64);

impl Draws {
    /// For the model of this number, from 0, and the tensor of this canonical name.
    fn new(seed: u64, model: usize, tensor: &str) -> Self {
        let model = crate::units::size(model).wrapping_add(1);
        let of_model = mix(seed.wrapping_add(model.wrapping_mul(STEP)));
        Self(mix(of_model ^ fnv(tensor.as_bytes())))
    }

    /// The number of the element at this place, from 0 to below 1: `SplitMix64`'s output at that
    /// place, its upper 24 bits.
    fn uniform(&self, at: usize) -> f64 {
        let place = crate::units::size(at).wrapping_add(1);
        let bits = mix(self.0.wrapping_add(place.wrapping_mul(STEP))) >> 40;
        bits as f64 / (1_u64 << 24) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for seed 1234567, as in Vigna's reference.
    #[test]
    fn the_generator_is_splitmix64() {
        let draw = |at: u64| mix(1_234_567_u64.wrapping_add(at.wrapping_mul(STEP)));
        assert_eq!([1, 2].map(draw), [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn the_share_of_numbers_below_a_density_is_the_density() {
        let draws = Draws::new(7, 0, "model.layers.0.mlp.up_proj.weight");
        let below = (0..100_000).filter(|&at| draws.uniform(at) < 0.3).count();
        assert!((29_500..30_500).contains(&below), "{below}");
    }
}
