//! Q5_K: nibbles with a fifth bit, scales and offsets of six bits per part.

use super::{Integers, MAX_PARTS, nibbles_of_64, six_bits};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ5_K;

impl Integers for BlockQ5_K {
    const OFFSETS: usize = 1;

    fn integers(&self, part: usize) -> [i16; PART] {
        let low = nibbles_of_64(&self.qs, part);
        std::array::from_fn(|k| i16::from(low[k] | (self.qh[k] >> part & 1) << 4))
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
