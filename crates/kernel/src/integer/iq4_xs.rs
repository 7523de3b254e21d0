//! IQ4_XS: nibbles that look up a table, a scale of six bits per part.

use super::{IQ4_LESS, IQ4_TABLE, Integers, MAX_PARTS, low_then_high};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockIQ4_XS;

impl Integers for BlockIQ4_XS {
    const OFFSETS: usize = 1;

    fn integers(&self, part: usize) -> [i16; PART] {
        low_then_high(&self.qs[part]).map(|q| i16::from(IQ4_TABLE[usize::from(q)]))
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        let d = half(self.d);
        std::array::from_fn(|part| d * f32::from(self.scale(part)))
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        [self.scales().map(|scale| -f32::from(IQ4_LESS) * scale); 2]
    }
}
