//! Tokenizers both ways between `tokenizer.json` and what a GGUF file says, equal to the
//! published ones on every line of a large corpus.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod byte_level;
mod chat;
mod corpus;
mod hostile;
mod sentence_piece;

use apr_token::Tokenizer;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Both give each line the same tokens, and these the same text.
fn assert_same(what: &str, published: &Tokenizer, own: &Tokenizer, lines: &[String]) {
    for line in lines {
        let tokens = published.encode(line).unwrap();
        assert_eq!(own.encode(line).unwrap(), tokens, "{what}: {line:?}");
        assert_eq!(own.decode(&tokens).unwrap(), published.decode(&tokens).unwrap(), "{what}");
    }
}
