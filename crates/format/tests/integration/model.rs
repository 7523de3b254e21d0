//! A small model with something of everything that a container holds.

use apr_format::{Certificate, Format, FormatError, Hash128, Metadata, NewTensor};
use apr_tensor::{DType, TensorLayout};
use serde_json::json;
use std::path::Path;

/// Keys of several types.
pub(crate) fn metadata() -> Metadata {
    let value = json!({
        "general.architecture": "test",
        "test.count": 7,
        "test.number": 0.5,
        "test.flag": true,
        "tokenizer.ggml.tokens": ["a", "b\u{0120}", ""],
        "tokenizer.ggml.token_type": [1, 3, -1],
    });
    value.as_object().unwrap().clone()
}

/// Tensors whose lengths are no multiples of an alignment.
pub(crate) fn new_tensors() -> Vec<NewTensor> {
    let new = |name: &str, dtype, shape: &[usize]| NewTensor {
        name: name.to_owned(),
        layout: TensorLayout::new(dtype, shape).unwrap(),
    };
    vec![
        new("a.weight", DType::F32, &[3, 5]),
        new("b.weight", DType::Q8_0, &[2, 64]),
        new("c.weight", DType::BF16, &[7]),
        new("d.weight", DType::Q4_0, &[1, 3, 32]),
        new("e.weight", DType::I32, &[]),
    ]
}

/// The bytes of a tensor.
pub(crate) fn content(tensor: &NewTensor) -> Vec<u8> {
    let seed = tensor.name.bytes().next().unwrap();
    (0..tensor.layout.byte_len()).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// The certificate of the tensor at this place.
pub(crate) fn certificate(at: usize) -> Certificate {
    let number = at as f64;
    Certificate {
        source_dtype: if at == 0 { DType::F32 } else { DType::U16 },
        transposed: at == 1,
        source_hash: Hash128(at as u128 + (1 << 100)),
        max_error: number,
        rms_error: number / 2.0,
        sqnr_db: f64::INFINITY,
        bound: number + 1.0,
        bound_share: number / (number + 1.0),
        source_zeros: at as u64,
        zeros: at as u64 + 1,
    }
}

/// Writes the model in the format of the path's extension.
pub(crate) fn write(path: &Path, metadata: &Metadata) {
    let format = Format::of_path(path).unwrap();
    let mut writer = format.create(path, metadata, new_tensors()).unwrap();
    for at in 0..writer.order().len() {
        let bytes = content(&writer.order()[at]);
        writer.put(&bytes, &certificate(at)).unwrap();
    }
    writer.commit(|_| Ok::<_, FormatError>(())).unwrap();
}
