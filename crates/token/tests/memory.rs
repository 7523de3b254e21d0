//! What a tokenizer leaves behind.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    reason = "an allocator that counts is the measurement; a failed unwrap is a failed test"
)]

#[path = "../../format/tests/counting/mod.rs"]
mod counting;

use apr_token::Tokenizer;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Bytes that remain when so many tokenizers have come, encoded a text of many words, and gone.
fn left(json: &str, count: usize) -> usize {
    let text: String = (0..2000).map(|i| format!(" word{i}")).collect();
    let (_, left, ()) = counting::measured(|| {
        for _ in 0..count {
            let tokenizer = Tokenizer::from_json(json).unwrap();
            assert!(!tokenizer.encode(&text).unwrap().is_empty());
        }
    });
    left
}

/// The fuzz target for GGUF filled a gigabyte with tokenizers that were gone. What this project
/// reads itself and what the `tokenizers` crate reads are two ways to the same.
#[test]
fn a_tokenizer_that_is_dropped_gives_its_memory_back() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models");
    let path = ["tiny-llama", "tiny-gpt2"].map(|name| path.join(name).join("tokenizer.json"));
    for path in path {
        let json = fs::read_to_string(&path).unwrap();
        let mut unusual: Value = serde_json::from_str(&json).unwrap();
        unusual["model"].as_object_mut().unwrap().remove("type").unwrap();
        let unusual = unusual.to_string();
        for json in [&json, &unusual] {
            // What is built once a process is there after the first one.
            left(json, 1);
            let [few, more] = [5, 25].map(|count| left(json, count));
            assert!(more < few + 50_000, "{few} bytes of 5, {more} of 25 tokenizers");
        }
    }
}
