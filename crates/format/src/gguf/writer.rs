//! A new GGUF file: version 3, little-endian, with our certificates among its keys.

use super::certificates::{CERTIFICATES_KEY, Reserved, SEAL_KEY};
use super::value::{put, put_text};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, VERSION};
use crate::size::{to_u64, to_usize};
use crate::writer::NewFile;
use crate::{Malformed, Metadata, NewTensor};
use serde_json::Value;
use std::collections::BTreeSet;

/// Limits of llama.cpp, without which a file that we write would not load there.
const MAX_NAME_BYTES: usize = 63;
const MAX_DIMS: usize = 4;
/// Keys that say what only the writer knows.
const OWN_KEYS: [&str; 3] = [ALIGNMENT_KEY, CERTIFICATES_KEY, SEAL_KEY];

/// A file of these keys and tensors, both in this order.
pub(crate) fn new_file(metadata: &Metadata, tensors: Vec<NewTensor>) -> Result<NewFile, Malformed> {
    check(&tensors)?;
    let key_count = metadata.len().saturating_add(1).saturating_add(Reserved::KEYS);
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(to_u64(tensors.len()).to_le_bytes());
    header.extend(to_u64(key_count).to_le_bytes());
    put_key(&mut header, ALIGNMENT_KEY, &Value::from(DEFAULT_ALIGNMENT))?;
    for (key, value) in metadata {
        if OWN_KEYS.contains(&key.as_str()) {
            return Err(Malformed::Key { key: key.clone(), cause: "is the writer's own" });
        }
        put_key(&mut header, key, value)?;
    }
    let reserved = Reserved::put(&mut header, tensors.len());
    let mut offset = 0_u64;
    for NewTensor { name, layout } in &tensors {
        put_text(&mut header, name);
        header.extend(u32::try_from(layout.shape().len()).unwrap_or(u32::MAX).to_le_bytes());
        for &dim in layout.shape().iter().rev() {
            header.extend(to_u64(dim).to_le_bytes());
        }
        header.extend(layout.dtype().id().to_le_bytes());
        header.extend(offset.to_le_bytes());
        let end = offset.saturating_add(to_u64(layout.byte_len()));
        offset = end.checked_next_multiple_of(DEFAULT_ALIGNMENT).unwrap_or(u64::MAX);
    }
    header.resize(header.len().next_multiple_of(to_usize(DEFAULT_ALIGNMENT)), 0);
    Ok(NewFile {
        tensors,
        alignment: DEFAULT_ALIGNMENT,
        pads_end: true,
        head: header,
        complete: Box::new(move |mut header, _, written| {
            reserved.fill(&mut header, written);
            header
        }),
    })
}

fn put_key(header: &mut Vec<u8>, key: &str, value: &Value) -> Result<(), Malformed> {
    put_text(header, key);
    put(header, value).map_err(|cause| Malformed::Key { key: key.to_owned(), cause })
}

fn check(tensors: &[NewTensor]) -> Result<(), Malformed> {
    let mut names = BTreeSet::new();
    for tensor in tensors {
        let NewTensor { name, layout } = tensor;
        let refuse = |cause| Err(Malformed::Name { tensor: name.clone(), cause });
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return refuse("names in GGUF have 1 to 63 bytes");
        }
        if !names.insert(name) {
            return refuse("this name occurs twice");
        }
        if layout.shape().len() > MAX_DIMS {
            return refuse("tensors in GGUF have at most 4 dimensions");
        }
        tensor.require_ggml()?;
    }
    Ok(())
}
