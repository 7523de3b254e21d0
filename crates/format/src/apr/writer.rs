//! A new `.apr` file: the head is known in size when the data begins, and in content when it ends.

use super::raw::{RawEntry, RawHeader};
use super::{ALIGNMENT, HEADER_BYTES};
use crate::size::{to_u64, to_usize};
use crate::writer::{NewFile, Written};
use crate::{Malformed, Metadata, NewTensor};
use zerocopy::IntoBytes;

/// A file of these tensors, sorted by name.
pub(crate) fn new_file(
    metadata: &Metadata,
    mut tensors: Vec<NewTensor>,
) -> Result<NewFile, Malformed> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    check_names(&tensors)?;
    let mut metadata = serde_json::to_vec(metadata)
        .map_err(|source| Malformed::Json { what: "metadata", source })?;
    pad(&mut metadata, b' ');
    let index_len = tensors.iter().fold(0_usize, |len, tensor| {
        len.saturating_add(RawEntry::byte_len(&tensor.name, &tensor.layout))
    });
    let index_len = index_len.next_multiple_of(to_usize(ALIGNMENT));
    let head_len = to_usize(HEADER_BYTES).saturating_add(metadata.len()).saturating_add(index_len);
    Ok(NewFile {
        tensors,
        alignment: ALIGNMENT,
        pads_end: false,
        head: vec![0; head_len],
        complete: Box::new(move |_, tensors, written| head(&metadata, tensors, written)),
    })
}

fn head(metadata: &[u8], tensors: &[NewTensor], written: &[Written]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut data_len = 0;
    for (tensor, written) in tensors.iter().zip(written) {
        RawEntry::append(&mut index, tensor, written);
        data_len = written.offset.saturating_add(to_u64(tensor.layout.byte_len()));
    }
    pad(&mut index, 0);
    let count = u32::try_from(tensors.len()).unwrap_or(u32::MAX);
    let header = RawHeader::new(metadata, &index, data_len, count);
    [header.as_bytes(), metadata, &index].concat()
}

fn check_names(tensors: &[NewTensor]) -> Result<(), Malformed> {
    let mut before: Option<&str> = None;
    for tensor in tensors {
        let name = &tensor.name;
        let refuse = |cause| Err(Malformed::Name { tensor: name.clone(), cause });
        if before == Some(name) {
            return refuse("this name occurs twice");
        }
        if name.is_empty() || u16::try_from(name.len()).is_err() {
            return refuse("names have 1 to 65535 bytes");
        }
        tensor.require_ggml()?;
        before = Some(name);
    }
    Ok(())
}

fn pad(bytes: &mut Vec<u8>, with: u8) {
    let len = bytes.len().next_multiple_of(to_usize(ALIGNMENT));
    bytes.resize(len, with);
}
