//! What was proven of a tensor when it was written, and the record of it on disk.

use crate::{Hash128, Malformed};
use apr_tensor::DType;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use zerocopy::little_endian::{F64, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The comparison of a stored tensor with its source, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Certificate {
    /// Type of the source tensor.
    #[serde(serialize_with = "dtype_name")]
    #[schemars(with = "String")]
    pub source_dtype: DType,
    /// Whether the source stores the matrix as `[in, out]`, so that it was transposed.
    pub transposed: bool,
    /// XXH3-128 of the source tensor's bytes.
    #[schemars(with = "String")]
    pub source_hash: Hash128,
    /// Largest absolute difference of an element.
    pub max_error: f64,
    /// Root of the mean squared difference.
    pub rms_error: f64,
    /// Signal to quantization noise in decibels; infinite (in JSON: null) when nothing was lost.
    #[schemars(with = "Option<f64>")]
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

/// Bit 0 of the flags.
const TRANSPOSED: u32 = 1;

/// Hash and certificate of a tensor, byte by byte as in docs/format.md.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RawCertificate {
    hash: U128,
    source_dtype: U32,
    flags: U32,
    source_hash: U128,
    max_error: F64,
    rms_error: F64,
    sqnr_db: F64,
    bound: F64,
    bound_share: F64,
    source_zeros: U64,
    zeros: U64,
}
const _: () = assert!(size_of::<RawCertificate>() == 96);

impl RawCertificate {
    pub(crate) fn new(hash: Hash128, certificate: &Certificate) -> Self {
        Self {
            hash: U128::new(hash.0),
            source_dtype: U32::new(certificate.source_dtype.id()),
            flags: U32::new(if certificate.transposed { TRANSPOSED } else { 0 }),
            source_hash: U128::new(certificate.source_hash.0),
            max_error: F64::new(certificate.max_error),
            rms_error: F64::new(certificate.rms_error),
            sqnr_db: F64::new(certificate.sqnr_db),
            bound: F64::new(certificate.bound),
            bound_share: F64::new(certificate.bound_share),
            source_zeros: U64::new(certificate.source_zeros),
            zeros: U64::new(certificate.zeros),
        }
    }

    /// The record with its flags taken out, for containers that keep them elsewhere.
    pub(crate) fn without_flags(self) -> (Self, u32) {
        (Self { flags: U32::ZERO, ..self }, self.flags.get())
    }

    /// The record with these flags, where its own are zero as they must be.
    pub(crate) fn with_flags(self, flags: u32) -> Result<Self, Malformed> {
        zero("reserved field of the index", u64::from(self.flags.get()))?;
        Ok(Self { flags: U32::new(flags), ..self })
    }

    /// Hash and certificate of the tensor of this name.
    pub(crate) fn check(&self, name: &str) -> Result<(Hash128, Certificate), Malformed> {
        let unknown = |dtype: u32| Malformed::UnknownType {
            tensor: name.to_owned(),
            dtype: format!("{dtype} of the source"),
        };
        let (source_dtype, flags) = (self.source_dtype.get(), self.flags.get());
        zero("unknown source flags", u64::from(flags & !TRANSPOSED))?;
        let certificate = Certificate {
            source_dtype: DType::from_id(source_dtype).ok_or_else(|| unknown(source_dtype))?,
            transposed: flags & TRANSPOSED != 0,
            source_hash: Hash128(self.source_hash.get()),
            max_error: self.max_error.get(),
            rms_error: self.rms_error.get(),
            sqnr_db: self.sqnr_db.get(),
            bound: self.bound.get(),
            bound_share: self.bound_share.get(),
            source_zeros: self.source_zeros.get(),
            zeros: self.zeros.get(),
        };
        Ok((Hash128(self.hash.get()), certificate))
    }
}

/// Refuses a field that must be zero and is not.
pub(crate) fn zero(what: &'static str, found: u64) -> Result<(), Malformed> {
    if found == 0 { Ok(()) } else { Err(Malformed::Field { what, expected: "0", found }) }
}
