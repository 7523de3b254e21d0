//! GGUF, versions 2 and 3, little-endian.
//!
//! ```text
//! "GGUF" | u32 version | u64 tensors | u64 keys
//! keys     string name | u32 type | value
//! tensors  string name | u32 rank | u64 dims[rank] | u32 type | u64 offset
//! data     aligned to `general.alignment` (32), every tensor likewise
//! ```
//! Source: the GGUF specification in the GGML documentation. Dimensions are listed innermost
//! first; the bytes are row-major all the same, so that reversing the list is all there is to it.

mod cursor;
mod writer;

pub use writer::{GgufValue, GgufWriter};

use crate::open::Parsed;
use crate::size::{to_u64, to_usize};
use crate::{Malformed, Metadata, TensorEntry};
use apr_tensor::{DType, MAX_RANK, TensorLayout};
use cursor::Cursor;
use serde_json::Value;

/// Name of the format.
pub const NAME: &str = "gguf";
/// Key of the alignment of the data.
pub const ALIGNMENT_KEY: &str = "general.alignment";

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// Arrays of arrays are allowed; no known file nests deeper.
const MAX_DEPTH: usize = 4;

pub(crate) fn matches(prefix: &[u8]) -> bool {
    prefix.starts_with(MAGIC)
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(MAGIC.len())?;
    let version = cursor.u32()?;
    if !matches!(version, 2 | 3) {
        let (expected, found) = ("2 or 3, little-endian", u64::from(version));
        return Err(Malformed::Field { what: "GGUF version", expected, found });
    }
    let (tensor_count, key_count) = (cursor.u64()?, cursor.u64()?);
    let mut metadata = Metadata::new();
    for _ in 0..key_count {
        let key = cursor.text()?;
        let kind = cursor.u32()?;
        let value = value(&mut cursor, kind, MAX_DEPTH)?;
        if metadata.contains_key(&key) {
            return Err(Malformed::Key { key, cause: "occurs twice" });
        }
        metadata.insert(key, value);
    }
    let alignment = alignment(&metadata)?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(entry(&mut cursor)?);
    }
    let start = cursor.position().checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    let end = tile(&mut tensors, start, alignment)?;
    let padded = end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    Ok(Parsed { metadata, tensors, file_len: end..=padded })
}

fn alignment(metadata: &Metadata) -> Result<u64, Malformed> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else { return Ok(DEFAULT_ALIGNMENT) };
    value.as_u64().filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20).ok_or(
        Malformed::Key { key: ALIGNMENT_KEY.to_owned(), cause: "is no power of two up to 2^20" },
    )
}

/// A value of this type number.
fn value(cursor: &mut Cursor<'_>, kind: u32, depth: usize) -> Result<Value, Malformed> {
    Ok(match kind {
        0 => Value::from(u8::from_le_bytes(cursor.array()?)),
        1 => Value::from(i8::from_le_bytes(cursor.array()?)),
        2 => Value::from(u16::from_le_bytes(cursor.array()?)),
        3 => Value::from(i16::from_le_bytes(cursor.array()?)),
        4 => Value::from(cursor.u32()?),
        5 => Value::from(i32::from_le_bytes(cursor.array()?)),
        6 => Value::from(f32::from_le_bytes(cursor.array()?)),
        7 => Value::from(u8::from_le_bytes(cursor.array()?) != 0),
        8 => Value::from(cursor.text()?),
        9 => list(cursor, depth)?,
        10 => Value::from(cursor.u64()?),
        11 => Value::from(i64::from_le_bytes(cursor.array()?)),
        12 => Value::from(f64::from_le_bytes(cursor.array()?)),
        unknown => {
            let (expected, found) = ("0 to 12", u64::from(unknown));
            return Err(Malformed::Field { what: "type of a GGUF value", expected, found });
        }
    })
}

fn list(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, Malformed> {
    let (kind, count) = (cursor.u32()?, cursor.u64()?);
    let Some(depth) = depth.checked_sub(1) else {
        let (expected, found) = ("at most 4", to_u64(MAX_DEPTH).saturating_add(1));
        return Err(Malformed::Field { what: "depth of a GGUF array", expected, found });
    };
    let mut list = Vec::new();
    // The count is not trusted: every element takes at least a byte, and the file ends somewhere.
    for _ in 0..count {
        list.push(value(cursor, kind, depth)?);
    }
    Ok(Value::Array(list))
}

/// A tensor whose range is still relative to the data.
fn entry(cursor: &mut Cursor<'_>) -> Result<TensorEntry, Malformed> {
    let name = cursor.text()?;
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
