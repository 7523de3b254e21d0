//! MXFP4: nibbles that look up a table, and a power of two.

use super::{Integers, MAX_PARTS, MXFP4_TABLE, low_then_high};
use crate::activations::PART;
use apr_tensor::BlockMXFP4;

impl Integers for BlockMXFP4 {
    fn integers(&self, _part: usize) -> [i16; PART] {
        low_then_high(&self.qs).map(|q| i16::from(MXFP4_TABLE[usize::from(q)]))
    }

    /// 2^(e − 128), the smallest two of which are subnormal.
    fn scales(&self) -> [f32; MAX_PARTS] {
        let normal = u32::from(self.e.max(2)) - 1;
        let subnormal = [0.25, 0.5, 1.0][usize::from(self.e.min(2))];
        [f32::from_bits(normal << 23) * subnormal; MAX_PARTS]
    }
}
