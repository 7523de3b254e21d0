//! Sizes between files (u64) and memory (usize), and the memory that a header may ask for. What
//! does not fit becomes the largest value, which no slice and no file has, so that the check that
//! follows refuses it.

use crate::{Malformed, TensorEntry};

pub(crate) fn to_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

pub(crate) fn to_usize(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Memory that what a header lists may take beside the file's own size.
const FREE_BYTES: usize = 48 << 20;
/// Heap of a tensor's entry beside its name, and what sorting takes.
const ENTRY_BYTES: usize = 2 * size_of::<TensorEntry>() + 128;

/// What a header may still ask for: lists whose entries are larger in memory than in the file would
/// otherwise turn a small file into a full machine. Texts are not counted, the file has their bytes.
pub(crate) struct Budget {
    limit: u64,
    left: u64,
}

impl Budget {
    /// That of a file of which so many bytes are there.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let limit = to_u64(bytes.len().saturating_add(FREE_BYTES));
        Self { limit, left: limit }
    }

    /// Takes the memory of `count` entries of a list.
    pub(crate) fn take(
        &mut self,
        what: &'static str,
        count: u64,
        each: usize,
    ) -> Result<(), Malformed> {
        let needed = count.saturating_mul(to_u64(each));
        self.left = self.left.checked_sub(needed).ok_or(Malformed::Memory {
            what,
            count,
            limit: self.limit,
        })?;
        Ok(())
    }

    /// Takes the memory of so many tensors.
    pub(crate) fn take_tensors(&mut self, count: u64) -> Result<(), Malformed> {
        self.take("tensors", count, ENTRY_BYTES)
    }
}
