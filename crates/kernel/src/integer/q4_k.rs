//! Q4_K: nibbles, scales and offsets of six bits per part.

use super::{Integers, MAX_PARTS, nibbles_of_64, six_bits};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ4_K;

impl Integers for BlockQ4_K {
    const OFFSETS: usize = 1;

    fn integers(&self, part: usize) -> [i16; PART] {
        nibbles_of_64(&self.qs, part).map(i16::from)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        let d = half(self.d);
        six_bits(&self.scales).scales.map(|scale| d * f32::from(scale))
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        let dmin = half(self.dmin);
        [six_bits(&self.scales).offsets.map(|offset| -dmin * f32::from(offset)); 2]
    }
}
