//! Q8_0: signed bytes.

use super::{Integers, MAX_PARTS};
use crate::activations::PART;
use crate::scalar::half;
use apr_tensor::BlockQ8_0;

impl Integers for BlockQ8_0 {
    fn integers(&self, _part: usize) -> [i16; PART] {
        self.qs.map(i16::from)
    }

    fn scales(&self) -> [f32; MAX_PARTS] {
        [half(self.d); MAX_PARTS]
    }
}
