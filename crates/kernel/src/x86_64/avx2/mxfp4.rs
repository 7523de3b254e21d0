//! MXFP4: nibbles as in Q4_0 that look up a table.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, look_up};
use crate::integer::MXFP4_TABLE;
use apr_tensor::BlockMXFP4;

impl Unpack for BlockMXFP4 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, _part: usize) -> Halves {
        look_up(&MXFP4_TABLE, load::nibbles(&self.qs))
    }
}
