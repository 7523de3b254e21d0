//! What was proven of a tensor when it was written.

use crate::Hash128;
use apr_tensor::DType;
use serde::{Serialize, Serializer};

/// The comparison of a stored tensor with its source, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Certificate {
    /// Type of the source tensor.
    #[serde(serialize_with = "dtype_name")]
    pub source_dtype: DType,
    /// Whether the source stores the matrix as `[in, out]`, so that it was transposed.
    pub transposed: bool,
    /// XXH3-128 of the source tensor's bytes.
    pub source_hash: Hash128,
    /// Largest absolute difference of an element.
    pub max_error: f64,
    /// Root of the mean squared difference.
    pub rms_error: f64,
    /// Signal to quantization noise in decibels; infinite (in JSON: null) when nothing was lost.
    pub sqnr_db: f64,
    /// Largest bound that the type allows in any block, given the source.
    pub bound: f64,
    /// Largest share of its block's bound that an element's error takes; at most 1.
    pub bound_share: f64,
    /// Elements of the source that are zero.
    pub source_zeros: u64,
    /// Elements that decode to zero.
    pub zeros: u64,
}

fn dtype_name<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}
