//! IQ4_XS: parts as in IQ4_NL.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, look_up};
use crate::integer::IQ4_TABLE;
use apr_tensor::BlockIQ4_XS;

impl Unpack for BlockIQ4_XS {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        look_up(&IQ4_TABLE, load::nibbles(&self.qs[part]))
    }
}
