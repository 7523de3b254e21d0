//! A tokenizer: loaded or refused, and then it takes every text and every token.
#![no_main]

use apr_fuzz::{allow_panics_that_are_told, bounded};
use apr_token::{Tokenizer, Vocabulary};
use libfuzzer_sys::fuzz_target;

const TEXTS: [&str; 4] = ["", "Hello, wörld! 123", "  \n\t ", "<s>東京 🗼 'll▁a\u{0}\u{301}"];
/// Rows of the embedding that the vocabulary is made for.
const ROWS: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    allow_panics_that_are_told();
    if let Ok(json) = std::str::from_utf8(bytes) {
        bounded(bytes.len(), || check(json));
    }
});

fn check(json: &str) {
    let Ok(tokenizer) = Tokenizer::from_json(json) else { return };
    for text in TEXTS {
        if let Ok(tokens) = tokenizer.encode(text) {
            let _ = tokenizer.decode(&tokens);
        }
    }
    let mut stream = tokenizer.stream();
    for token in [0, 1, 2, 255, u32::MAX] {
        let _ = stream.push(token);
    }
    let _ = stream.finish();
    let _ = tokenizer.to_json().map(|json| Tokenizer::from_json(&json).is_ok());
    if let Ok(vocabulary) = Vocabulary::from_json(json, ROWS, None) {
        assert_eq!(vocabulary.tokens.len(), ROWS);
        assert!(vocabulary.tokenizer().is_ok());
    }
}
