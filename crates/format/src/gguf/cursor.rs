//! Reading numbers and texts of either byte order from bytes that may end anywhere.

use super::ByteOrder;
use crate::Malformed;
use crate::size::{to_u64, to_usize};

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    order: ByteOrder,
    /// What was read, its numbers in little-endian order; kept for big-endian files only.
    native: Vec<u8>,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, order: ByteOrder::Little, native: Vec::new() }
    }

    /// Reads everything that follows in this order. `start` is the beginning as a little-endian
    /// file has it.
    pub(super) fn set_order(&mut self, order: ByteOrder, start: &[u8]) {
        self.order = order;
        self.native = start.to_vec();
    }

    pub(super) fn position(&self) -> u64 {
        to_u64(self.at)
    }

    fn truncated(&self, what: &'static str, needed: u64) -> Malformed {
        Malformed::Truncated { what, needed, found: to_u64(self.bytes.len()) }
    }

    /// The next bytes, which are no number.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.advance(len)?;
        if self.order == ByteOrder::Big {
            self.native.extend(taken);
        }
        Ok(taken)
    }

    fn advance(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.saturating_add(len);
        let taken = self.bytes.get(self.at..end);
        let taken = taken.ok_or_else(|| self.truncated("header", to_u64(end)))?;
        self.at = end;
        Ok(taken)
    }

    /// The next number, in little-endian order.
    pub(super) fn number<const LEN: usize>(&mut self) -> Result<[u8; LEN], Malformed> {
        let mut number = self.advance(LEN)?.first_chunk::<LEN>().copied().unwrap_or([0; LEN]);
        if self.order == ByteOrder::Big {
            number.reverse();
            self.native.extend(number);
        }
        Ok(number)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.number().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.number().map(u64::from_le_bytes)
    }

    /// Checks that so many items of at least `min_bytes` each can follow, before a loop believes it.
    pub(super) fn check_count(
        &self,
        what: &'static str,
        count: u64,
        min_bytes: u64,
    ) -> Result<(), Malformed> {
        let needed = self.position().saturating_add(count.saturating_mul(min_bytes));
        if needed > to_u64(self.bytes.len()) {
            return Err(self.truncated(what, needed));
        }
        Ok(())
    }

    /// A length and as many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u64()?;
        let at = self.position();
        let taken = self.take(to_usize(len))?;
        std::str::from_utf8(taken).map_err(|_| Malformed::Text { at })
    }

    /// The header up to `end`, as a little-endian file has it.
    pub(super) fn native_header(mut self, end: u64) -> Result<Vec<u8>, Malformed> {
        let rest = to_usize(end.saturating_sub(self.position()));
        let truncated = self.truncated("header", end);
        let read = self.at;
        let padding = self.advance(rest).map_err(|_| truncated)?;
        let mut header = match self.order {
            ByteOrder::Little => self.bytes.get(..read).unwrap_or_default().to_vec(),
            ByteOrder::Big => self.native,
        };
        header.extend(padding);
        Ok(header)
    }
}
