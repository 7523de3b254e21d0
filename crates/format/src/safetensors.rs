//! SafeTensors: one file, or the shards that a `model.safetensors.index.json` lists.
//!
//! ```text
//! u64   length of the header
//! JSON  {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …, "__metadata__": {…}}
//! data  the tensors, tiling the rest of the file without holes
//! ```
//! The rules are those of the `safetensors` crate; the length rule is `TensorLayout`'s.

mod index;
mod writer;

pub use index::Index;
pub(crate) use writer::new_file;

use crate::folder::{is_absent, read_in_folder};
use crate::json::{UniqueMap, check_memory};
use crate::open::{Parsed, open_part};
use crate::size::{to_u64, to_usize};
use crate::{Container, FormatError, Malformed, Metadata, TensorEntry};
use apr_tensor::{DType, TensorError, TensorLayout};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the format.
pub const NAME: &str = "safetensors";
/// File of an unsharded checkpoint.
pub const SINGLE_FILE: &str = "model.safetensors";
/// Index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Bytes before the header: its length.
pub const LENGTH_BYTES: usize = 8;
/// The limit of the `safetensors` crate.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Memory of a number or a name in the header: the entry of a tensor has twelve.
const VALUE_BYTES: usize = 64;
const METADATA_KEY: &str = "__metadata__";

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// There is no magic number: a plausible length and the brace that opens the JSON must do.
pub(crate) fn matches(prefix: &[u8]) -> bool {
    header_json_len(prefix).is_some_and(|len| (2..=MAX_HEADER_BYTES).contains(&len))
        && prefix.get(LENGTH_BYTES) == Some(&b'{')
}

fn header_json_len(prefix: &[u8]) -> Option<u64> {
    prefix.first_chunk::<LENGTH_BYTES>().map(|bytes| u64::from_le_bytes(*bytes))
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let len = header_json_len(bytes).unwrap_or_default();
    if len > MAX_HEADER_BYTES {
        return Err(Malformed::TooLarge { what: "header", len, limit: MAX_HEADER_BYTES });
    }
    let data_start = len.saturating_add(to_u64(LENGTH_BYTES));
    let json = bytes.get(LENGTH_BYTES..to_usize(data_start)).ok_or(Malformed::Truncated {
        what: "header",
        needed: data_start,
        found: to_u64(bytes.len()),
    })?;
    check_memory(json, VALUE_BYTES)?;
    let as_json = |source| Malformed::Json { what: "header", source };
    let UniqueMap(mut entries) =
        serde_json::from_slice::<UniqueMap<Box<RawValue>>>(json).map_err(as_json)?;
    let metadata = match entries.remove(METADATA_KEY) {
        None => BTreeMap::new(),
        Some(raw) => {
            let UniqueMap(map) = serde_json::from_str::<UniqueMap<String>>(raw.get())
                .map_err(|source| Malformed::Json { what: METADATA_KEY, source })?;
            map
        }
    };
    let metadata: Metadata =
        metadata.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    let mut tensors = Vec::new();
    for (name, raw) in entries {
        match serde_json::from_str::<RawEntry>(raw.get()) {
            Ok(raw) => tensors.push(entry(name, &raw)?),
            Err(source) => return Err(Malformed::Entry { tensor: name, source }),
        }
    }
    let file_len = data_start.saturating_add(tile(&mut tensors, data_start)?);
    Ok(Parsed::new(metadata, tensors, data_start, file_len..=file_len))
}

/// A tensor whose range is still relative to the data section.
fn entry(name: String, raw: &RawEntry) -> Result<TensorEntry, Malformed> {
    let Some(dtype) = DType::from_safetensors(&raw.dtype) else {
        return Err(Malformed::UnknownType { tensor: name, dtype: raw.dtype.clone() });
    };
    let as_layout = |source| Malformed::Layout { tensor: name.clone(), source };
    let layout = TensorLayout::new(dtype, &raw.shape).map_err(as_layout)?;
    let (begin, end) = raw.data_offsets;
    let found = end.checked_sub(begin).and_then(|len| usize::try_from(len).ok());
    if found != Some(layout.byte_len()) {
        return Err(as_layout(TensorError::ByteLength {
            dtype,
            shape: raw.shape.clone(),
            expected: layout.byte_len(),
            found: found.unwrap_or_default(),
        }));
    }
    let range = to_usize(begin)..to_usize(end);
    Ok(TensorEntry { name, layout, hash: None, certificate: None, file: 0, range })
}

/// Checks that the tensors tile the data, moves their ranges behind the header, and returns the
/// length of the data.
fn tile(tensors: &mut [TensorEntry], header_len: u64) -> Result<u64, Malformed> {
    tensors.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let header = to_usize(header_len);
    let mut expected = 0;
    for entry in tensors {
        if entry.range.start != expected {
            return Err(Malformed::Extent {
                tensor: entry.name.clone(),
                expected: to_u64(expected),
                found: to_u64(entry.range.start),
            });
        }
        expected = entry.range.end;
        entry.range =
            entry.range.start.saturating_add(header)..entry.range.end.saturating_add(header);
    }
    Ok(to_u64(expected))
}

/// Opens the checkpoint in a Hugging Face folder: `model.safetensors`, else the shards of
/// `model.safetensors.index.json`.
///
/// # Errors
/// When the folder has neither, when index and shards disagree, when a file is malformed, or a link
/// that [leads out of the folder](crate::open_in_folder).
pub fn open_folder(folder: &Path) -> Result<Container, FormatError> {
    match open_part(folder, SINGLE_FILE) {
        Err(FormatError::Io { source, .. }) if is_absent(&source) => {}
        opened => return opened,
    }
    let Some(text) = read_in_folder(folder, INDEX_FILE)? else {
        return Err(FormatError::NoWeights { path: folder.to_path_buf() });
    };
    let path = folder.join(INDEX_FILE);
    let index = Index::from_json(&text).map_err(FormatError::malformed(&path))?;
    index.join(&path, |shard| open_part(folder, shard))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "an overflow is a failed test")]
mod tests {
    use super::*;

    /// Every arrangement of up to three tensors at small offsets, each of which has the bytes of
    /// its shape or one more or less.
    #[test]
    fn tensors_tile_the_data() {
        let mut places = Vec::new();
        for begin in 0..5 {
            for end in 0..6 {
                places.extend((0..3).map(|len| (begin, end, len)));
            }
        }
        let mut accepted = 0;
        for &a in &places {
            for &b in &places {
                accepted += usize::from(check(&[a, b]));
            }
            check(&[a]);
        }
        let sound: Vec<_> = places.iter().copied().filter(|(b, e, len)| b + len == *e).collect();
        for &a in &sound {
            for &b in &sound {
                for &c in &sound {
                    accepted += usize::from(check(&[a, b, c]));
                }
            }
        }
        assert!(accepted > 100, "{accepted}");
    }

    /// By the definition: each has the bytes of its shape, and in the order of the data each begins
    /// where the one before ends.
    fn check(places: &[(usize, usize, usize)]) -> bool {
        let json: Vec<String> = (0..)
            .zip(places)
            .map(|(at, (begin, end, len))| {
                format!(r#""{at}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{begin},{end}]}}"#)
            })
            .collect();
        let json = format!("{{{}}}", json.join(","));
        let file = [&to_u64(json.len()).to_le_bytes(), json.as_bytes()].concat();
        let mut sorted = places.to_vec();
        sorted.sort_unstable();
        let mut last = 0;
        let holds = sorted.iter().all(|&(begin, end, len)| {
            let follows = begin == last && begin + len == end;
            last = end;
            follows
        });
        let Ok(parsed) = parse(&file) else {
            assert!(!holds, "{json} is refused");
            return false;
        };
        let end = to_u64(file.len() + last);
        assert!(holds && parsed.file_len == (end..=end), "{json} is accepted");
        true
    }
}
