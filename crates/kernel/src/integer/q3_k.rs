//! Q3_K: three bits times the scale of their sixteen, each of which have an offset of minus four
//! scales.

use super::{Integers, MAX_PARTS, crumbs_of_128};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ3_K;

impl Integers for BlockQ3_K {
    const OFFSETS: usize = 2;

    fn integers(&self, part: usize) -> [i16; PART] {
        let low = crumbs_of_128(&self.qs, part);
        std::array::from_fn(|k| {
            let q = i16::from(low[k] | (self.hmask[k] >> part & 1) << 2);
            q * scale(&self.scales, 2 * part + k / 16)
        })
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        let unit = -4.0 * half(self.d);
        [0, 1].map(|half| {
            std::array::from_fn(|part| unit * f32::from(scale(&self.scales, 2 * part + half)))
        })
    }
}

/// Scale `b` of sixteen: four low bits in a nibble, two high ones in the last four bytes.
#[inline(always)]
fn scale(packed: &[u8; 12], b: usize) -> i16 {
    let low = packed[b % 8] >> (4 * (b / 8)) & 15;
    let high = packed[8 + b % 4] >> (2 * (b / 4)) & 3;
    i16::from(low | high << 4) - 32
}
