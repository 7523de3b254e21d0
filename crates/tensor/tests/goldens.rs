//! Every quantized type decodes to the last bit as the `gguf` package does, on blocks of random
//! bytes (`data/make_goldens.py`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use apr_tensor::DType;
use std::path::Path;

/// The values of a golden and the bytes of the blocks they were decoded from.
struct Golden {
    blocks: Vec<u8>,
    values: Vec<f32>,
}

impl Golden {
    fn load(dtype: DType) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{dtype}.bin"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; add {dtype} to make_goldens.py and run it", path.display())
        });
        let block = dtype.block_bytes() + 4 * dtype.block_elems();
        assert!(!bytes.is_empty() && bytes.len().is_multiple_of(block), "{}", path.display());
        let (blocks, values) = bytes.split_at(bytes.len() / block * dtype.block_bytes());
        let values = values.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
        Self { blocks: blocks.to_vec(), values }
    }
}

#[test]
fn decoded_values_are_those_of_the_gguf_package() {
    for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_quantized()) {
        let golden = Golden::load(dtype);
        let mut found = vec![f32::NAN; golden.values.len()];
        dtype.decode(&golden.blocks, &mut found).unwrap();
        for (i, (found, expected)) in found.iter().zip(&golden.values).enumerate() {
            assert_eq!(found.to_bits(), expected.to_bits(), "{dtype} {i}: {found} {expected}");
        }
    }
}
