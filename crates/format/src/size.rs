//! Sizes between files (u64) and memory (usize). What does not fit becomes the largest value,
//! which no slice and no file has, so that the check that follows refuses it.

pub(crate) fn to_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

pub(crate) fn to_usize(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
