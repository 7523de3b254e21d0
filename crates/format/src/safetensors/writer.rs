//! A new SafeTensors file, in the form that the `safetensors` crate gives it, so that the same
//! content is the same bytes.

use super::METADATA_KEY;
use crate::size::to_u64;
use crate::writer::NewFile;
use crate::{Malformed, Metadata, NewTensor};
use apr_tensor::DType;
use serde_json::{Map, Value, json};
use std::cmp::Reverse;

/// The header is padded with spaces so that the data begins at a multiple of this.
const HEADER_ALIGNMENT: usize = 8;

/// Types as tensors are ordered by them: wider ones first, so that each tensor is aligned without
/// padding.
const ORDER: [DType; 13] = [
    DType::BOOL,
    DType::U8,
    DType::I8,
    DType::I16,
    DType::U16,
    DType::F16,
    DType::BF16,
    DType::I32,
    DType::U32,
    DType::F32,
    DType::F64,
    DType::I64,
    DType::U64,
];

/// A file of these tensors, sorted by type and name. Values of the metadata are texts.
pub(crate) fn new_file(
    metadata: &Metadata,
    mut tensors: Vec<NewTensor>,
) -> Result<NewFile, Malformed> {
    tensors.sort_by_cached_key(|tensor| {
        let place = ORDER.iter().position(|&dtype| dtype == tensor.layout.dtype());
        (Reverse(place), tensor.name.clone())
    });
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA_KEY.to_owned(), texts(metadata)?);
    }
    let mut begin = 0_u64;
    for tensor in &tensors {
        let NewTensor { name, layout } = tensor;
        let dtype = layout.dtype().safetensors_name().ok_or_else(|| Malformed::UnknownType {
            tensor: name.clone(),
            dtype: format!("{} in SafeTensors", layout.dtype()),
        })?;
        let end = begin.saturating_add(to_u64(layout.byte_len()));
        let entry = json!({"dtype": dtype, "shape": layout.shape(), "data_offsets": [begin, end]});
        if header.insert(name.clone(), entry).is_some() {
            let cause = "this name occurs twice, or is __metadata__";
            return Err(Malformed::Name { tensor: name.clone(), cause });
        }
        begin = end;
    }
    let mut json =
        serde_json::to_vec(&header).map_err(|source| Malformed::Json { what: "header", source })?;
    json.resize(json.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    let head = [&to_u64(json.len()).to_le_bytes(), json.as_slice()].concat();
    let complete = Box::new(|head, _: &[NewTensor], _: &[_]| head);
    Ok(NewFile { tensors, alignment: 1, pads_end: false, head, complete })
}

fn texts(metadata: &Metadata) -> Result<Value, Malformed> {
    match metadata.iter().find(|(_, value)| !value.is_string()) {
        None => Ok(Value::Object(metadata.clone())),
        Some((key, _)) => {
            let cause = "is no text, and SafeTensors metadata holds nothing else";
            Err(Malformed::Key { key: key.clone(), cause })
        }
    }
}
