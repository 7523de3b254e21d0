//! Q4_0: nibbles less eight.

use super::{Integers, MAX_PARTS, low_then_high};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ4_0;

impl Integers for BlockQ4_0 {
    fn integers(&self, _part: usize) -> [i16; PART] {
        low_then_high(&self.qs).map(|q| i16::from(q) - 8)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }
}
