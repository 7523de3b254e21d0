//! IQ4_NL: nibbles that look up a table.

use super::{IQ4_LESS, IQ4_TABLE, Integers, MAX_PARTS, low_then_high};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockIQ4_NL;

impl Integers for BlockIQ4_NL {
    const OFFSETS: usize = 1;

    fn integers(&self, _part: usize) -> [i16; PART] {
        low_then_high(&self.qs).map(|q| i16::from(IQ4_TABLE[usize::from(q)]))
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        [self.scales().map(|scale| -f32::from(IQ4_LESS) * scale); 2]
    }
}
