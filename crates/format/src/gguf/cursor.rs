//! Reading little-endian values from bytes that may end anywhere.

use crate::Malformed;
use crate::size::{to_u64, to_usize};

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        to_u64(self.at)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.saturating_add(len);
        let taken = self.bytes.get(self.at..end).ok_or(Malformed::Truncated {
            what: "header",
            needed: to_u64(end),
            found: to_u64(self.bytes.len()),
        })?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Malformed> {
        let taken = self.take(LEN)?;
        Ok(taken.first_chunk::<LEN>().copied().unwrap_or([0; LEN]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length and as many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let len = self.u64()?;
        let at = self.position();
        let taken = self.take(to_usize(len))?;
        let text = std::str::from_utf8(taken).map_err(|_| Malformed::Text { at })?;
        Ok(text.to_owned())
    }
}
