//! What a GGUF file says beside its tensors, and what one of ours must say.

use crate::{Checkpoint, Error};
use apr_format::Metadata;
use apr_model::{GgufKey, ModelConfig, gguf_keys};
use apr_token::{TokenType, Vocabulary};
use serde_json::Value;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
/// Key of the chat template.
pub(crate) const CHAT_TEMPLATE: &str = "tokenizer.chat_template";
/// Name of byte-level BPE in GGUF files.
const BYTE_LEVEL_BPE: &str = "gpt2";
/// Version of the block layouts, which have not changed since 2023.
const QUANTIZATION_VERSION: u32 = 2;

/// The tokenizer in the metadata as a `tokenizer.json`; none if there is no vocabulary.
pub(crate) fn tokenizer_json(metadata: &Metadata) -> Result<Option<String>, String> {
    let Some(tokens) = texts(metadata, TOKENS) else { return Ok(None) };
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
    if text(MODEL) != BYTE_LEVEL_BPE {
        return Err(format!("{MODEL} is {:?}, only {BYTE_LEVEL_BPE:?} is supported", text(MODEL)));
    }
    let types = match metadata.get(TYPES).and_then(Value::as_array) {
        Some(types) => types.iter().map(|kind| token_type(kind.as_i64())).collect(),
        None => vec![TokenType::Normal; tokens.len()],
    };
    let merges = texts(metadata, MERGES).ok_or_else(|| format!("{MERGES} is missing"))?;
    let vocabulary = Vocabulary { tokens, types, merges, pre: text(PRE).to_owned() };
    vocabulary.to_json().map(Some).map_err(|error| format!("{PRE} {:?}: {error}", text(PRE)))
}

fn texts(metadata: &Metadata, key: &str) -> Option<Vec<String>> {
    let list = metadata.get(key)?.as_array()?;
    list.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

/// GGUF also numbers unknown (2) and byte tokens (6), which byte-level BPE does not have.
const fn token_type(number: Option<i64>) -> TokenType {
    match number {
        Some(2 | 3) => TokenType::Control,
        Some(4) => TokenType::UserDefined,
        Some(5) => TokenType::Unused,
        _ => TokenType::Normal,
    }
}

/// The keys of a new file.
///
/// # Errors
/// When the checkpoint has no tokenizer, or one that GGUF cannot express.
pub(crate) fn keys(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<Metadata, Error> {
    let path = checkpoint.path();
    let missing = || Error::MissingPart { path: path.to_path_buf(), what: "tokenizer.json" };
    let json = checkpoint.tokenizer_json()?.ok_or_else(missing)?;
    let vocabulary = Vocabulary::from_json(&json, config.vocab_size).map_err(Error::token(path))?;
    let mut keys = Metadata::new();
    let mut set = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    let text = |text: &str| Value::from(text);
    set("general.architecture", text(config.arch.gguf));
    set("general.quantization_version", Value::from(QUANTIZATION_VERSION));
    for (key, value) in gguf_keys(config).map_err(Error::model(path))? {
        set(
            &key,
            match value {
                GgufKey::Count(count) => Value::from(count),
                GgufKey::Number(number) => Value::from(number),
                GgufKey::Flag(flag) => Value::from(flag),
                GgufKey::Text(word) => Value::from(word),
            },
        );
    }
    set(MODEL, text(BYTE_LEVEL_BPE));
    set(PRE, text(&vocabulary.pre));
    set(TOKENS, Value::from(vocabulary.tokens));
    set(TYPES, vocabulary.types.iter().map(|&kind| kind as i32).collect());
    set(MERGES, Value::from(vocabulary.merges));
    set(ADD_BOS, Value::from(false));
    if let Some(&token) = config.end_tokens.first() {
        set("tokenizer.ggml.eos_token_id", Value::from(token));
    }
    if let Some(bos) = bos_token(checkpoint) {
        set("tokenizer.ggml.bos_token_id", Value::from(bos));
    }
    if let Some(template) = checkpoint.chat_template() {
        set(CHAT_TEMPLATE, text(template));
    }
    Ok(keys)
}

fn bos_token(checkpoint: &Checkpoint) -> Option<u32> {
    let token = checkpoint.config_json()?.get("bos_token_id")?.as_u64()?;
    u32::try_from(token).ok()
}
