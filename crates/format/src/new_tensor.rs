//! A tensor that a new file will have.

use crate::Malformed;
use apr_tensor::{TensorError, TensorLayout};

/// A tensor that a new file will have.
#[derive(Debug, Clone)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Type, shape and sizes.
    pub layout: TensorLayout,
}

impl NewTensor {
    /// Checks that these bytes are the next tensor, the one at place `at`.
    pub(crate) fn check<'a>(
        next: Option<&'a Self>,
        at: usize,
        bytes: &[u8],
    ) -> Result<&'a Self, Malformed> {
        let next = next.ok_or_else(|| Malformed::Missing { tensor: format!("number {at}") })?;
        let layout = &next.layout;
        if bytes.len() == layout.byte_len() {
            return Ok(next);
        }
        let source = TensorError::ByteLength {
            dtype: layout.dtype(),
            shape: layout.shape().to_vec(),
            expected: layout.byte_len(),
            found: bytes.len(),
        };
        Err(Malformed::Layout { tensor: next.name.clone(), source })
    }
}
