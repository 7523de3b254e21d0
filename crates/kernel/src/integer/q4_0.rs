//! Q4_0: nibbles, and an offset of minus eight.

use super::{Integers, MAX_PARTS, low_then_high};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ4_0;

impl Integers for BlockQ4_0 {
    const OFFSETS: usize = 1;

    fn integers(&self, _part: usize) -> [i16; PART] {
        low_then_high(&self.qs).map(i16::from)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        [self.scales().map(|scale| -8.0 * scale); 2]
    }
}
