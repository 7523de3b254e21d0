//! Q4_K: 32 bytes hold the nibbles of two parts.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::integer::{Halves, Unpack, nibbles_of_64, widen};
use apr_tensor::BlockQ4_K;

impl Unpack for BlockQ4_K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        widen(nibbles_of_64(&self.qs, part))
    }
}
