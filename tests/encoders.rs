//! Every encoder leaves at most the squared error of llama.cpp's on the shipped models.

use crate::harness::MODELS;
use crate::quality::{matrices, squared_error};
use apr_tensor::DType;
use serde_json::Value;

/// What llama.cpp leaves, by type and model: `data/make_encoder_errors.py`.
const THEIRS: &str = include_str!("data/encoder_errors.json");

/// Elements of all matrices whose rows are whole blocks, and the squared error that is left.
fn measure(dtype: DType, matrices: &[(usize, Vec<f32>)]) -> (u64, f64) {
    let (mut elements, mut error) = (0, 0.0);
    for (_, matrix) in matrices.iter().filter(|(row, _)| row.is_multiple_of(dtype.block_elems())) {
        let mut bytes = vec![0; matrix.len() / dtype.block_elems() * dtype.block_bytes()];
        dtype.encode(matrix, &mut bytes).unwrap();
        let mut decoded = vec![0.0; matrix.len()];
        dtype.decode(&bytes, &mut decoded).unwrap();
        elements += matrix.len() as u64;
        error += squared_error(matrix, &decoded);
    }
    (elements, error)
}

/// Quantized types that values can be encoded in.
fn encodable() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|dtype| {
        let zeros = vec![0.0; dtype.block_elems()];
        dtype.is_quantized() && dtype.encode(&zeros, &mut vec![0; dtype.block_bytes()]).is_ok()
    })
}

#[test]
fn squared_error_is_at_most_that_of_llama_cpp() {
    let theirs: Value = serde_json::from_str(THEIRS).unwrap();
    for name in MODELS {
        let matrices = matrices(name);
        for dtype in encodable() {
            let golden = &theirs[dtype.name()][name];
            let (elements, ours) = measure(dtype, &matrices);
            assert_eq!(golden["elements"].as_u64(), Some(elements), "{dtype} {name}");
            let theirs = golden["squared_error"].as_f64().unwrap();
            println!("{dtype} {name}: {:.4} of llama.cpp's", ours / theirs);
            // Q8_0 has the same bytes; only the order of the sum differs.
            assert!(ours <= theirs * (1.0 + 1e-12), "{dtype} {name}: {ours} > {theirs}");
        }
    }
}
