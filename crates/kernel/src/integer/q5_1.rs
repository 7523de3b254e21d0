//! Q5_1: nibbles with a fifth bit, and an offset for all.

use super::{Integers, MAX_PARTS, fifth_bits};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ5_1;

impl Integers for BlockQ5_1 {
    const OFFSETS: usize = 1;

    fn integers(&self, _part: usize) -> [i16; PART] {
        fifth_bits(&self.qs, &self.qh)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        [[half(self.m); MAX_PARTS]; 2]
    }
}
