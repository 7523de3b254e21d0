//! Q6_K: six bits times the scale of their sixteen, each of which have an offset of minus 32 scales.

use super::{Integers, MAX_PARTS};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ6_K;

impl Integers for BlockQ6_K {
    const OFFSETS: usize = 2;

    fn integers(&self, part: usize) -> [i16; PART] {
        let (half, quarter) = (part / 4, part % 4);
        let low = &self.ql[64 * half + 32 * (quarter % 2)..][..PART];
        let high = &self.qh[32 * half..][..PART];
        std::array::from_fn(|k| {
            let low = low[k] >> (4 * (quarter / 2)) & 0x0f;
            let q = low | (high[k] >> (2 * quarter) & 3) << 4;
            i16::from(q) * i16::from(self.scales[2 * part + k / 16])
        })
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        let unit = -32.0 * half(self.d);
        [0, 1]
            .map(|half| std::array::from_fn(|part| unit * f32::from(self.scales[2 * part + half])))
    }
}
