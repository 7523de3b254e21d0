//! The two keys that make a GGUF file one of ours: what was proven of each tensor, and the seal.

use super::cursor::Cursor;
use super::value::{ARRAY, TEXT, U8, put_array, put_text};
use crate::certificate::RawCertificate;
use crate::size::{to_u64, to_usize};
use crate::writer::Written;
use crate::{Hash128, Malformed, TensorEntry};
use std::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// Key of the records: an array of u8, 96 bytes for each tensor in the order of the data.
pub const CERTIFICATES_KEY: &str = "apr.certificates";
/// Key of the seal: the digest of the header with zeros in the seal's place, as text.
pub const SEAL_KEY: &str = "apr.seal";
/// Digits of the seal.
const DIGITS: usize = 32;

fn refuse(key: &str, cause: &'static str) -> Malformed {
    Malformed::Key { key: key.to_owned(), cause }
}

/// The values of the two keys, as they were read.
#[derive(Default)]
pub(super) struct Certificates<'a> {
    records: Option<&'a [u8]>,
    /// Where in the header the digits lie.
    seal: Option<Range<usize>>,
}

impl<'a> Certificates<'a> {
    /// Reads the value behind this key, if it is one of the two.
    pub(super) fn take(&mut self, key: &str, cursor: &mut Cursor<'a>) -> Result<bool, Malformed> {
        let repeats = match key {
            CERTIFICATES_KEY => self.records.replace(records(cursor)?).is_some(),
            SEAL_KEY => self.seal.replace(digits(cursor)?).is_some(),
            _ => return Ok(false),
        };
        if repeats { Err(refuse(key, "occurs twice")) } else { Ok(true) }
    }

    /// Whether the file has any of the two.
    pub(super) const fn exist(&self) -> bool {
        self.records.is_some() || self.seal.is_some()
    }

    /// Checks the seal over `header` and gives each tensor, in the order of the data, its record.
    pub(super) fn apply(
        self,
        mut header: Vec<u8>,
        tensors: &mut [TensorEntry],
    ) -> Result<Hash128, Malformed> {
        let records = self.records.ok_or(refuse(SEAL_KEY, "stands without apr.certificates"))?;
        let place = self.seal.ok_or(refuse(CERTIFICATES_KEY, "stands without apr.seal"))?;
        let digits = header.get_mut(place).unwrap_or_default();
        let stored = String::from_utf8_lossy(digits).into_owned();
        digits.fill(b'0');
        let expected = Hash128::of(&header);
        if stored != expected.to_string() {
            let found = u128::from_str_radix(&stored, 16).map(Hash128);
            let found = found.map_err(|_| refuse(SEAL_KEY, "is no number of 32 digits"))?;
            return Err(Malformed::Seal { expected, found });
        }
        let records = <[RawCertificate]>::ref_from_bytes(records).unwrap_or_default();
        if records.len() != tensors.len() {
            return Err(refuse(CERTIFICATES_KEY, "has not one record of 96 bytes for each tensor"));
        }
        for (entry, record) in tensors.iter_mut().zip(records) {
            let (hash, certificate) = record.check(&entry.name)?;
            (entry.hash, entry.certificate) = (Some(hash), Some(certificate));
        }
        Ok(expected)
    }
}

fn records<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    if (cursor.u32()?, cursor.u32()?) != (ARRAY, U8) {
        return Err(refuse(CERTIFICATES_KEY, "is no array of u8"));
    }
    let count = cursor.u64()?;
    cursor.take(to_usize(count))
}

fn digits(cursor: &mut Cursor<'_>) -> Result<Range<usize>, Malformed> {
    if (cursor.u32()?, cursor.u64()?) != (TEXT, to_u64(DIGITS)) {
        return Err(refuse(SEAL_KEY, "is no text of 32 digits"));
    }
    let start = to_usize(cursor.position());
    cursor.take(DIGITS)?;
    Ok(start..to_usize(cursor.position()))
}

/// The places of the two values in a new header, whose content is known last.
pub(super) struct Reserved {
    records: Range<usize>,
    seal: Range<usize>,
}

impl Reserved {
    /// Number of keys.
    pub(super) const KEYS: usize = 2;

    /// Appends the keys with zeros as values.
    pub(super) fn put(header: &mut Vec<u8>, tensor_count: usize) -> Self {
        let len = tensor_count.saturating_mul(size_of::<RawCertificate>());
        put_text(header, CERTIFICATES_KEY);
        put_array(header, U8, len);
        let records = header.len()..header.len().saturating_add(len);
        header.resize(records.end, 0);
        put_text(header, SEAL_KEY);
        header.extend(TEXT.to_le_bytes());
        put_text(header, &"0".repeat(DIGITS));
        let seal = header.len().saturating_sub(DIGITS)..header.len();
        Self { records, seal }
    }

    /// Fills in the records, and the seal over the whole header.
    pub(super) fn fill(self, header: &mut [u8], written: &[Written]) {
        let record = |written: &Written| RawCertificate::new(written.hash, &written.certificate);
        let records: Vec<RawCertificate> = written.iter().map(record).collect();
        if let Some(place) = header.get_mut(self.records) {
            place.copy_from_slice(records.as_bytes());
        }
        let seal = Hash128::of(header).to_string();
        if let Some(place) = header.get_mut(self.seal) {
            place.copy_from_slice(seal.as_bytes());
        }
    }
}
