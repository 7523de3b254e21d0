//! Q3_K: three bits less four, times the scale of their sixteen.

use super::{Integers, MAX_PARTS, crumbs_of_128};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ3_K;

impl Integers for BlockQ3_K {
    fn integers(&self, part: usize) -> [i16; PART] {
        let low = crumbs_of_128(&self.qs, part);
        std::array::from_fn(|k| {
            let q = i16::from(low[k] | (self.hmask[k] >> part & 1) << 2);
            (q - 4) * scale(&self.scales, 2 * part + k / 16)
        })
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }
}

/// Scale `b` of sixteen: four low bits in a nibble, two high ones in the last four bytes.
#[inline(always)]
pub(crate) fn scale(packed: &[u8; 12], b: usize) -> i16 {
    let low = packed[b % 8] >> (4 * (b / 8)) & 15;
    let high = packed[8 + b % 4] >> (2 * (b / 4)) & 3;
    i16::from(low | high << 4) - 32
}
