//! Q2_K: two bits times the scale of their sixteen, each of which have an offset.

use super::{Integers, MAX_PARTS, crumbs_of_128};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ2_K;

impl Integers for BlockQ2_K {
    const OFFSETS: usize = 2;

    fn integers(&self, part: usize) -> [i16; PART] {
        let q = crumbs_of_128(&self.qs, part);
        std::array::from_fn(|k| i16::from(q[k]) * i16::from(self.scales[2 * part + k / 16] & 15))
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        let dmin = half(self.dmin);
        [0, 1].map(|half| {
            std::array::from_fn(|part| -dmin * f32::from(self.scales[2 * part + half] >> 4))
        })
    }
}
