//! Files of the reference implementations (`make_peers.py`): read, and written again the same.

use apr_format::{Certificate, Container, Format, FormatError, Hash128, NewTensor, open};
use apr_tensor::DType;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn assert_same(found: &Container, expected: &Container) {
    let names = |container: &Container| -> Vec<String> {
        container.tensors().iter().map(|entry| entry.name.clone()).collect()
    };
    assert_eq!(names(found), names(expected));
    for name in names(expected) {
        let (found, expected) = (found.tensor(&name).unwrap(), expected.tensor(&name).unwrap());
        assert_eq!(found.layout(), expected.layout(), "{name}");
        assert_eq!(found.view().bytes(), expected.view().bytes(), "{name}");
    }
}

#[test]
fn gguf_in_the_other_byte_order_and_in_parts_is_the_same_model() {
    let little = open(&data("little.gguf")).unwrap();
    assert_eq!(little.tensors().len(), 8);
    assert_eq!(little.metadata()["tokenizer.ggml.tokens"], json!(["a", "bb", ""]));
    // Q8_0 of a row is close to the row, so that the types are not just equally wrong.
    let single = little.tensor("single").unwrap().view().to_f32();
    let q8_0 = little.tensor("q8_0").unwrap().view().to_f32();
    assert!(single.iter().zip(&q8_0).all(|(a, b)| (a - b).abs() < 0.02 && a.abs() < 5.0));

    let big = open(&data("big.gguf")).unwrap();
    assert_eq!(big.metadata(), little.metadata());
    assert_same(&big, &little);
    for part in ["split-00001-of-00002.gguf", "split-00002-of-00002.gguf"] {
        let split = open(&data(part)).unwrap();
        assert_eq!(split.metadata()["test.list"], json!([1, -1, 3]));
        assert_same(&split, &little);
    }
}

/// SafeTensors files carry no certificate; any will do.
const CERTIFICATE: Certificate = Certificate {
    source_dtype: DType::F32,
    transposed: false,
    source_hash: Hash128(0),
    max_error: 0.0,
    rms_error: 0.0,
    sqnr_db: f64::INFINITY,
    bound: 0.0,
    bound_share: 0.0,
    source_zeros: 0,
    zeros: 0,
};

fn new_tensors(container: &Container) -> Vec<NewTensor> {
    let new = |entry: &apr_format::TensorEntry| NewTensor {
        name: entry.name.clone(),
        layout: entry.layout.clone(),
    };
    container.tensors().iter().map(new).collect()
}

#[test]
fn safetensors_are_written_byte_for_byte_like_the_reference() {
    let reference = data("reference.safetensors");
    let container = open(&reference).unwrap();
    assert_eq!(container.tensors().len(), 15);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("again.safetensors");
    let format = Format::of_path(&target).unwrap();
    let tensors = new_tensors(&container);
    let mut writer = format.create(&target, container.metadata(), tensors).unwrap();
    for new in writer.order().to_vec() {
        let tensor = container.tensor(&new.name).unwrap();
        writer.put(tensor.view().bytes(), &CERTIFICATE).unwrap();
    }
    writer.commit(|path| open(path).map(|again| assert_same(&again, &container))).unwrap();
    assert!(fs::read(&target).unwrap() == fs::read(&reference).unwrap());
}

#[test]
fn what_safetensors_cannot_hold_is_refused() {
    let reference = open(&data("reference.safetensors")).unwrap();
    let quantized = open(&data("little.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("x.safetensors");
    let format = Format::of_path(&target).unwrap();
    let twice = [new_tensors(&reference), new_tensors(&reference)].concat();
    let mut renamed = new_tensors(&reference);
    renamed[0].name = "__metadata__".to_owned();
    let number = json!({"format": 1}).as_object().unwrap().clone();
    for (metadata, tensors, words) in [
        (reference.metadata(), new_tensors(&quantized), "in SafeTensors"),
        (reference.metadata(), twice, "occurs twice"),
        (reference.metadata(), renamed, "__metadata__"),
        (&number, new_tensors(&reference), "\"format\" is no text"),
    ] {
        let error: FormatError = format.create(&target, metadata, tensors).err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(!target.exists());
}
