//! Q5_0: nibbles with a fifth bit, less sixteen.

use super::{Integers, MAX_PARTS, fifth_bits};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ5_0;

impl Integers for BlockQ5_0 {
    fn integers(&self, _part: usize) -> [i16; PART] {
        fifth_bits(&self.qs, &self.qh).map(|q| q - 16)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }
}
