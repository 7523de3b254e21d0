//! The `.apr` container, version 3. docs/format.md is the specification.

mod raw;
mod writer;

pub(crate) use writer::new_file;

use crate::open::Parsed;
use crate::parse_json;
use crate::size::{Budget, to_u64, to_usize};
use crate::{Malformed, Metadata, TensorEntry};
use raw::{IndexEntry, RawEntry, RawHeader};
use std::ops::Range;

/// Name of the format.
pub const NAME: &str = "apr";

/// Sections and tensors begin at multiples of this.
const ALIGNMENT: u64 = 64;
const HEADER_BYTES: u64 = 64;
/// Limit of metadata and of index: far above any model's, far below a machine's memory.
const MAX_SECTION_BYTES: u64 = 1 << 30;

pub(crate) fn matches(prefix: &[u8]) -> bool {
    prefix.starts_with(&raw::MAGIC)
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let raw = RawHeader::check(bytes)?;
    let sections = Sections::of(raw);
    let truncated = || Malformed::Truncated {
        what: "header",
        needed: sections.data.start,
        found: to_u64(bytes.len()),
    };
    let metadata = bytes.get(sections.metadata.clone()).ok_or_else(truncated)?;
    let index = bytes.get(sections.index.clone()).ok_or_else(truncated)?;
    raw.check_seal(metadata, index)?;
    let metadata: Metadata = parse_json(metadata, "metadata")?;
    let count = raw.tensor_count.get();
    Budget::of(bytes).take_tensors(u64::from(count))?;
    let tensors = entries(index, count, &sections.data)?;
    let file_len = sections.data.end..=sections.data.end;
    let parsed = Parsed::new(metadata, tensors, sections.data.start, file_len);
    Ok(Parsed { seal: Some(raw.seal()), ..parsed })
}

/// Where the sections lie in the file.
struct Sections {
    metadata: Range<usize>,
    index: Range<usize>,
    data: Range<u64>,
}

impl Sections {
    /// Both lengths are limited by `RawHeader::check`.
    fn of(header: &RawHeader) -> Self {
        let index = HEADER_BYTES.saturating_add(header.metadata_len.get());
        let data = index.saturating_add(header.index_len.get());
        Self {
            metadata: to_usize(HEADER_BYTES)..to_usize(index),
            index: to_usize(index)..to_usize(data),
            data: data..data.saturating_add(header.data_len.get()),
        }
    }
}

/// The entries of the index. Each has the one offset that tiles the data section.
fn entries(mut index: &[u8], count: u32, data: &Range<u64>) -> Result<Vec<TensorEntry>, Malformed> {
    let mut tensors: Vec<TensorEntry> = Vec::new();
    let mut end = 0_u64;
    for _ in 0..count {
        let (entry, rest) = RawEntry::split(index)?;
        let IndexEntry { raw, name, .. } = entry;
        index = rest;
        if tensors.last().is_some_and(|before| before.name.as_str() >= name) {
            let cause = "the index is not sorted by name";
            return Err(Malformed::Name { tensor: name.to_owned(), cause });
        }
        let expected = end.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX);
        if raw.offset.get() != expected {
            let found = raw.offset.get();
            return Err(Malformed::Extent { tensor: name.to_owned(), expected, found });
        }
        end = expected.saturating_add(raw.byte_len.get());
        tensors.push(entry.check(data.start)?);
    }
    if index.len() >= to_usize(ALIGNMENT) || index.iter().any(|&byte| byte != 0) {
        let found = to_u64(index.len());
        return Err(Malformed::Field {
            what: "rest of the index",
            expected: "zero padding",
            found,
        });
    }
    let data_len = data.end.saturating_sub(data.start);
    if end != data_len {
        let expected = "the end of the last tensor";
        return Err(Malformed::Field { what: "data_len", expected, found: data_len });
    }
    Ok(tensors)
}
