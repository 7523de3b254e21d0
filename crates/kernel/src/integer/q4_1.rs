//! Q4_1: nibbles, and an offset for all.

use super::{Integers, MAX_PARTS, low_then_high};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ4_1;

impl Integers for BlockQ4_1 {
    const OFFSETS: usize = 1;

    fn integers(&self, _part: usize) -> [i16; PART] {
        low_then_high(&self.qs).map(i16::from)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        [[half(self.m); MAX_PARTS]; 2]
    }
}
