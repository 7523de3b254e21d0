//! GGUF, versions 2 and 3; version 3 also in big-endian order, and in several files.
//!
//! ```text
//! "GGUF" | u32 version | u64 tensors | u64 keys
//! keys     string name | u32 type | value
//! tensors  string name | u32 rank | u64 dims[rank] | u32 type | u64 offset
//! data     aligned to `general.alignment` (32), every tensor likewise
//! ```
//! Source: the GGUF specification in the GGML documentation. Dimensions are listed innermost
//! first; the bytes are row-major all the same, so that reversing the list is all there is to it.

mod certificates;
mod cursor;
mod split;
mod value;
mod writer;

pub use certificates::{CERTIFICATES_KEY, SEAL_KEY};
pub(crate) use split::join;
pub(crate) use writer::new_file;

use crate::open::Parsed;
use crate::size::{Budget, to_u64, to_usize};
use crate::{Malformed, Metadata, TensorEntry};
use apr_tensor::{DType, MAX_RANK, TensorLayout};
use certificates::Certificates;
use cursor::Cursor;
use value::Values;

/// Name of the format.
pub const NAME: &str = "gguf";
/// Key of the alignment of the data.
pub const ALIGNMENT_KEY: &str = "general.alignment";

const MAGIC: &[u8; 4] = b"GGUF";
/// The version that is written.
const VERSION: u32 = 3;
const DEFAULT_ALIGNMENT: u64 = 32;
/// A name's length, a type and a value of one byte.
const MIN_KEY_BYTES: u64 = 13;
/// A name's length, rank, type and offset.
const MIN_TENSOR_BYTES: u64 = 24;

pub(crate) fn matches(prefix: &[u8]) -> bool {
    prefix.starts_with(MAGIC)
}

/// Order of the bytes of numbers, in header and tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(MAGIC.len())?;
    let order = version(&mut cursor)?;
    let (tensor_count, key_count) = (cursor.u64()?, cursor.u64()?);
    cursor.check_count("list of keys", key_count, MIN_KEY_BYTES)?;
    let (mut metadata, mut certificates) = (Metadata::new(), Certificates::default());
    let mut budget = Budget::of(bytes);
    let mut values = Values::new(&mut budget);
    for _ in 0..key_count {
        let key = cursor.text()?;
        if certificates.take(key, &mut cursor)? {
            continue;
        }
        let value = values.read(&mut cursor)?;
        if metadata.insert(key.to_owned(), value).is_some() {
            return Err(Malformed::Key { key: key.to_owned(), cause: "occurs twice" });
        }
    }
    let alignment = alignment(&metadata)?;
    cursor.check_count("list of tensors", tensor_count, MIN_TENSOR_BYTES)?;
    budget.take_tensors(tensor_count)?;
    let mut tensors = Vec::with_capacity(to_usize(tensor_count));
    for _ in 0..tensor_count {
        tensors.push(entry(&mut cursor)?);
    }
    let header_end = cursor.position();
    let start = header_end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    let end = tile(&mut tensors, start, alignment)?;
    let seal = if certificates.exist() {
        Some(certificates.apply(cursor.native_header(start)?, &mut tensors)?)
    } else {
        None
    };
    let padded = end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    // A file without tensors may end with its header; one under a seal has all its bytes.
    let end = if tensors.is_empty() { header_end } else { end };
    let file_len = if seal.is_some() { padded..=padded } else { end..=padded };
    let big_endian = order == ByteOrder::Big;
    Ok(Parsed { seal, big_endian, ..Parsed::new(metadata, tensors, start, file_len) })
}

/// Reads the version, and with it the byte order of everything behind it.
fn version(cursor: &mut Cursor<'_>) -> Result<ByteOrder, Malformed> {
    let version = cursor.u32()?;
    if matches!(version, 2 | VERSION) {
        return Ok(ByteOrder::Little);
    }
    if version.swap_bytes() == VERSION {
        cursor.set_order(ByteOrder::Big, &[&MAGIC[..], &VERSION.to_le_bytes()].concat());
        return Ok(ByteOrder::Big);
    }
    let (expected, found) = ("2 or 3", u64::from(version));
    Err(Malformed::Field { what: "GGUF version", expected, found })
}

fn alignment(metadata: &Metadata) -> Result<u64, Malformed> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else { return Ok(DEFAULT_ALIGNMENT) };
    value.as_u64().filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20).ok_or(
        Malformed::Key { key: ALIGNMENT_KEY.to_owned(), cause: "is no power of two up to 2^20" },
    )
}

/// A tensor whose range is still relative to the data.
fn entry(cursor: &mut Cursor<'_>) -> Result<TensorEntry, Malformed> {
    let name = cursor.text()?.to_owned();
    let rank = cursor.u32()?;
    if to_usize(u64::from(rank)) > MAX_RANK {
        let found = u64::from(rank);
        return Err(Malformed::Field { what: "rank of a tensor", expected: "at most 8", found });
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        shape.push(to_usize(cursor.u64()?));
    }
    shape.reverse();
    let (id, offset) = (cursor.u32()?, cursor.u64()?);
    let dtype = DType::from_id(id)
        .filter(|dtype| dtype.is_ggml())
        .ok_or_else(|| Malformed::UnknownType { tensor: name.clone(), dtype: id.to_string() })?;
    let layout = TensorLayout::new(dtype, &shape)
        .map_err(|source| Malformed::Layout { tensor: name.clone(), source })?;
    let start = to_usize(offset);
    let range = start..start.saturating_add(layout.byte_len());
    Ok(TensorEntry { name, layout, hash: None, certificate: None, file: 0, range })
}

/// Checks that the tensors follow each other with nothing but padding between them, moves their
/// ranges behind the header, and returns the end of the last one.
fn tile(tensors: &mut [TensorEntry], start: u64, alignment: u64) -> Result<u64, Malformed> {
    tensors.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let (data, mut end) = (to_usize(start), 0_u64);
    for entry in tensors {
        let expected = end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        let found = to_u64(entry.range.start);
        if found != expected {
            return Err(Malformed::Extent { tensor: entry.name.clone(), expected, found });
        }
        end = to_u64(entry.range.end);
        entry.range = entry.range.start.saturating_add(data)..entry.range.end.saturating_add(data);
    }
    Ok(start.saturating_add(end))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "an overflow is a failed test")]
mod tests {
    use super::*;

    fn tensor(start: usize, len: usize) -> TensorEntry {
        let layout = TensorLayout::new(DType::I8, &[len]).unwrap();
        let (name, range) = (format!("{start}"), start..start + len);
        TensorEntry { name, layout, hash: None, certificate: None, file: 0, range }
    }

    /// Every arrangement of up to three tensors at small offsets.
    #[test]
    fn tensors_follow_each_other_with_nothing_but_padding_between_them() {
        let places: Vec<(usize, usize)> =
            (0..=32).step_by(4).flat_map(|start| [0, 1, 7, 8, 9].map(|len| (start, len))).collect();
        let mut accepted = 0;
        for alignment in [1, 8, 16] {
            for &a in &places {
                for &b in &places {
                    for &c in &places {
                        accepted += usize::from(check(&[a, b, c], alignment));
                    }
                    check(&[a, b], alignment);
                }
                check(&[a], alignment);
            }
        }
        assert!(accepted > 100, "{accepted}");
    }

    /// By the definition: in the order of the data, each begins at the next multiple of the alignment.
    fn check(places: &[(usize, usize)], alignment: usize) -> bool {
        const START: usize = 96;
        let mut tensors: Vec<TensorEntry> =
            places.iter().map(|&(start, len)| tensor(start, len)).collect();
        let found = tile(&mut tensors, to_u64(START), to_u64(alignment));
        let mut places = places.to_vec();
        places.sort_unstable();
        let mut end = 0_usize;
        let holds = places.iter().all(|&(start, len)| {
            let follows = start == end.next_multiple_of(alignment);
            end = start + len;
            follows
        });
        let Ok(found) = found else {
            assert!(!holds, "{places:?} are refused");
            return false;
        };
        assert!(holds && found == to_u64(START + end), "{places:?} are accepted");
        for (entry, (start, len)) in tensors.iter().zip(&places) {
            assert_eq!(entry.range, START + start..START + start + len);
        }
        true
    }

    #[test]
    fn offsets_at_the_end_of_the_address_space_are_refused() {
        for start in [usize::MAX, usize::MAX - 7, usize::MAX / 2 + 1] {
            let mut entry = tensor(0, 8);
            entry.range = start..start.saturating_add(8);
            assert!(tile(&mut [entry], 64, 32).is_err(), "{start}");
        }
        for (offset, len) in [(0, u64::MAX), (0, u64::MAX / 2), (u64::MAX, 1), (u64::MAX - 31, 8)] {
            // What can be addressed and is not there is refused by the length of the file.
            let opened = crate::open_bytes("x".as_ref(), header_of_one(offset, len));
            assert!(opened.is_err(), "{offset} {len}");
        }
    }

    /// A file of one tensor of bytes, of which no data is there.
    fn header_of_one(offset: u64, len: u64) -> Vec<u8> {
        let mut header = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        header.extend([1_u64.to_le_bytes(), 0_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
        header.extend(b"t");
        header.extend(1_u32.to_le_bytes());
        header.extend(len.to_le_bytes());
        header.extend(DType::I8.id().to_le_bytes());
        header.extend(offset.to_le_bytes());
        header
    }
}
