//! The parameters of a model: what is accepted can be computed with.
#![no_main]

use apr_fuzz::bounded;
use apr_model::{ModelConfig, gguf_keys};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Rotated elements of which the frequencies are computed.
const MAX_DIMS: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| bounded(bytes.len(), || check(bytes)));

fn check(bytes: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else { return };
    let config = match ModelConfig::from_json(&json) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for tensor in config.arch.tensors {
        let shape = config.shape(tensor.role);
        assert!((1..=3).contains(&shape.len()), "{shape:?}");
        let (heads, width) = config.heads_of(tensor.role);
        assert!(heads > 0 && width > 0);
    }
    assert!(config.heads.is_multiple_of(config.kv_heads));
    assert!(config.kv_size() >= config.kv_heads);
    for layer in [0, 1, config.layers - 1, usize::MAX] {
        assert!(config.window_of(layer).is_none_or(|size| size > 0));
    }
    for rope in config.rope.iter().chain(&config.local_rope) {
        assert!(rope.dims.is_multiple_of(2) && rope.dims <= config.head_dim);
        if rope.dims <= MAX_DIMS {
            assert_eq!(rope.frequencies(config.max_positions).len(), rope.dims / 2);
        }
    }
    if let Ok(keys) = gguf_keys(&config) {
        // What GGUF has no words for is under a prefix of its own.
        let prefixes = [&format!("{}.", config.arch.gguf), "apr."];
        let known = |key: &String| prefixes.iter().any(|prefix| key.starts_with(*prefix));
        assert!(keys.iter().all(|(key, _)| known(key)));
    }
    assert!(config.clone().with_generation(&json).is_ok());
}
