//! The defect that this project exists to make impossible, made on purpose in sealed files: each
//! kind is refused with an error of its own.

use crate::checkpoints::{copy_model, narrow_mlp};
use crate::harness::{Forged, Imported, apr, failure, heldout, model, stdout, text};
use std::fs;

const TENSOR: &str = "model.layers.0.mlp.down_proj.weight";
const TWIN: &str = "model.layers.1.mlp.down_proj.weight";

/// Every verb that opens the file, with the arguments it needs.
fn openers(file: &str) -> Vec<Vec<String>> {
    let source = model("tiny-llama");
    let text_file = heldout();
    let rows: [&[&str]; 7] = [
        &["inspect", file],
        &["tensors", file],
        &["validate", file],
        &["run", file, "-p", "The capital of France is", "-n", "4"],
        &["verify", file, "--against", text(&source)],
        &["import", file, "-o", "/nonexistent/x.apr"],
        &["eval", file, "--text", text(&text_file)],
    ];
    rows.iter().map(|row| row.iter().map(|&arg| arg.to_owned()).collect()).collect()
}

/// The verbs that read every byte.
fn hashers(file: &str) -> Vec<Vec<String>> {
    let source = model("tiny-llama");
    let rows: [&[&str]; 3] = [
        &["validate", file],
        &["run", file, "-p", "The capital of France is", "-n", "4", "--verify"],
        &["verify", file, "--against", text(&source)],
    ];
    rows.iter().map(|row| row.iter().map(|&arg| arg.to_owned()).collect()).collect()
}

/// Expects each call to fail and to say all of these words.
fn refused(calls: Vec<Vec<String>>, words: &[&str]) {
    for call in calls {
        let call: Vec<&str> = call.iter().map(String::as_str).collect();
        let output = apr(&call).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "apr {call:?}\n{said}");
        for word in words {
            assert!(said.contains(word), "apr {call:?} does not say {word:?}:\n{said}");
        }
    }
}

fn int8() -> (Imported, Forged) {
    let imported = Imported::new("tiny-llama", Some("int8"));
    let forged = Forged::read(&imported.file);
    (imported, forged)
}

#[test]
fn int8_bytes_under_another_type_number_are_refused_at_open() {
    for (number, words) in [
        (0_u32, "F32 [192, 512] takes 393216 bytes, found 104448"),
        (1, "F16 [192, 512] takes 196608 bytes, found 104448"),
        (2, "Q4_0 [192, 512] takes 55296 bytes, found 104448"),
        (24, "I8 [192, 512] takes 98304 bytes, found 104448"),
        (3, "Q4_1 [192, 512] takes 61440 bytes, found 104448"),
        (4, "unknown type 4"),
        (0x1001, "unknown type 4097"),
    ] {
        let (imported, mut forged) = int8();
        let entry = forged.entry(TENSOR);
        forged.bytes[entry..entry + 4].copy_from_slice(&number.to_le_bytes());
        forged.seal(&imported.file);
        refused(openers(imported.path()), &["model.apr", TENSOR, words]);
    }
}

#[test]
fn a_tensor_truncated_by_a_block_is_refused_at_open() {
    let (imported, mut forged) = int8();
    let entry = forged.entry(TENSOR);
    forged.put_u64(entry + 16, 104_448 - 34);
    forged.seal(&imported.file);
    refused(openers(imported.path()), &[TENSOR, "takes 104448 bytes, found 104414"]);
}

#[test]
fn a_shape_that_hides_the_truncation_is_refused_at_open() {
    // One row fewer fits the bytes that are left; then the next tensor is not where it must be.
    let (imported, mut forged) = int8();
    let entry = forged.entry(TENSOR);
    forged.put_u64(entry + 16, 104_448 / 192 * 191);
    forged.put_u64(entry + 120, 191);
    forged.seal(&imported.file);
    refused(openers(imported.path()), &["begins at byte", "of the data, expected"]);
}

#[test]
fn a_zeroed_tensor_is_refused_by_everything_that_hashes() {
    let (imported, mut forged) = int8();
    let range = forged.tensor(TENSOR);
    forged.bytes[range].fill(0);
    forged.seal(&imported.file);
    refused(hashers(imported.path()), &[TENSOR, "the data is damaged"]);
}

#[test]
fn two_swapped_tensors_are_refused_by_everything_that_hashes() {
    let (imported, mut forged) = int8();
    let (one, two) = (forged.tensor(TENSOR), forged.tensor(TWIN));
    let first = forged.bytes[one.clone()].to_vec();
    forged.bytes.copy_within(two.clone(), one.start);
    forged.bytes[two].copy_from_slice(&first);
    forged.seal(&imported.file);
    refused(hashers(imported.path()), &[TENSOR, "the data is damaged"]);
}

/// With the hashes made true again, only the comparison with the source is left to find it.
#[test]
fn damage_under_true_hashes_is_refused_by_verify() {
    let source = model("tiny-llama");
    let (imported, mut forged) = int8();
    let range = forged.tensor(TENSOR);
    forged.bytes[range].fill(0);
    forged.rehash(TENSOR);
    forged.seal(&imported.file);
    let said = failure(&["verify", imported.path(), "--against", text(&source)]);
    assert!(said.contains(TENSOR) && said.contains("Q8_0 allows an error of"), "{said}");

    let (imported, mut forged) = int8();
    let (one, two) = (forged.tensor(TENSOR), forged.tensor(TWIN));
    let first = forged.bytes[one.clone()].to_vec();
    forged.bytes.copy_within(two.clone(), one.start);
    forged.bytes[two].copy_from_slice(&first);
    forged.rehash(TENSOR);
    forged.rehash(TWIN);
    forged.seal(&imported.file);
    let said = failure(&["verify", imported.path(), "--against", text(&source)]);
    assert!(said.contains(TENSOR) && said.contains("Q8_0 allows an error of"), "{said}");
}

#[test]
fn a_certificate_that_claims_something_else_is_refused_by_verify() {
    let source = model("tiny-llama");
    for (offset, words) in
        [(64, "certificate"), (72, "certificate"), (112, "certificate"), (48, "another source")]
    {
        let (imported, mut forged) = int8();
        let entry = forged.entry(TENSOR);
        forged.bytes[entry + offset] ^= 1;
        forged.seal(&imported.file);
        let said = failure(&["verify", imported.path(), "--against", text(&source)]);
        assert!(said.contains(TENSOR) && said.contains(words), "offset {offset}: {said}");
    }
}

#[test]
fn another_source_is_refused_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("changed");
    copy_model("tiny-llama", &source);
    let weights = source.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let imported = Imported::new("tiny-llama", Some("int8"));
    let said = failure(&["verify", imported.path(), "--against", text(&source)]);
    assert!(said.contains("model.norm.weight"), "{said}");
}

/// Without the seal made true again, no byte of head, metadata or index can change unnoticed.
#[test]
fn every_byte_before_the_tensors_is_under_the_seal() {
    let (imported, forged) = int8();
    let damaged = imported.folder.path().join("damaged.apr");
    // All of header and index; the metadata, which is long, in steps.
    let (index, data) = (forged.index(), forged.data());
    let offsets = (0..64).chain((64..index).step_by(4999)).chain((index..data).step_by(7));
    for offset in offsets {
        let mut bytes = forged.bytes.clone();
        bytes[offset] ^= 0x10;
        fs::write(&damaged, &bytes).unwrap();
        let opened = apr_format::open(&damaged);
        assert!(opened.is_err(), "byte {offset} changed and the file was opened");
    }
}

#[test]
fn padding_that_is_not_zero_is_found() {
    // Matrices of 40 rows end between two multiples of 64.
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("narrow"), folder.path().join("narrow.apr"));
    narrow_mlp("tiny-llama", &source, 40);
    stdout(&["import", text(&source), "--quantize", "int8", "-o", text(&target)]);
    let mut forged = Forged::read(&target);
    let end = forged.tensor("model.layers.0.mlp.gate_proj.weight").end;
    assert_ne!(end % 64, 0, "this tensor is followed by padding");
    forged.bytes[end] = 1;
    forged.seal(&target);
    for args in [
        &["validate", text(&target)][..],
        &["run", text(&target), "-p", "Hello", "-n", "2", "--verify"],
        &["verify", text(&target), "--against", text(&source)],
    ] {
        let output = apr(args).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "apr {args:?}: {said}");
        assert!(said.contains("the padding behind it is not zero"), "apr {args:?}: {said}");
    }
}

/// What a file lacks cannot be compared: `--verify` does not pass by finding nothing.
#[test]
fn files_without_hashes_are_not_verified() {
    let (published, imported) = (model("tiny-llama"), Imported::new("tiny-llama", Some("int8")));
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.safetensors");
    std::fs::copy(published.join("model.safetensors"), &plain).unwrap();
    let run = |file: &str, more: &[&str]| {
        [&["run", file, "-p", "Hello", "-n", "2", "--verify"][..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    refused(
        vec![
            run(text(&published), &[]),
            run(text(&published), &["--quantize", "int4"]),
            vec!["bench".to_owned(), text(&published).to_owned(), "--verify".to_owned()],
        ],
        &["tiny-llama", "tensor \"", "has no hash in the file", "without --verify"],
    );
    assert!(failure(&["run", text(&plain), "-p", "Hello", "--verify"]).contains("plain"));
    let gguf = folder.path().join("proven.gguf");
    stdout(&["export", imported.path(), "--format", "gguf", "-o", text(&gguf)]);
    for proven in [imported.path(), text(&gguf)] {
        stdout(&["run", proven, "-p", "Hello", "-n", "2", "--verify"]);
    }
}
