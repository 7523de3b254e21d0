//! Q5_0: nibbles with a fifth bit, and an offset of minus sixteen.

use super::{Integers, MAX_PARTS, fifth_bits};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ5_0;

impl Integers for BlockQ5_0 {
    const OFFSETS: usize = 1;

    fn integers(&self, _part: usize) -> [i16; PART] {
        fifth_bits(&self.qs, &self.qh)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }

    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        [self.scales().map(|scale| -16.0 * scale); 2]
    }
}
