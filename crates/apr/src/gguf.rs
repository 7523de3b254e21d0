//! What a GGUF file says beside its tensors, and what one of ours must say.

mod tokenizer;

use crate::{Checkpoint, Error};
use apr_format::Metadata;
use apr_model::{GgufKey, ModelConfig, gguf_keys};
use apr_token::{SpecialTokens, Tokenizer, Vocabulary};
use serde_json::Value;

/// Key of the chat template.
pub(crate) const CHAT_TEMPLATE: &str = "tokenizer.chat_template";
/// Version of the block layouts, which have not changed since 2023.
const QUANTIZATION_VERSION: u32 = 2;

/// The tokenizer in the metadata as a `tokenizer.json`; none if there is no vocabulary.
pub(crate) fn tokenizer_json(metadata: &Metadata) -> Result<Option<String>, String> {
    let tokenizer = tokenizer(metadata)?;
    tokenizer.map(|tokenizer| tokenizer.to_json()).transpose().map_err(|error| error.to_string())
}

/// The tokenizer in the metadata; none if there is no vocabulary.
pub(crate) fn tokenizer(metadata: &Metadata) -> Result<Option<Tokenizer>, String> {
    let vocabulary = tokenizer::read(metadata)?;
    let tokenizer = vocabulary.map(|vocabulary| vocabulary.tokenizer()).transpose();
    tokenizer.map_err(|error| error.to_string())
}

/// The keys of a new file.
///
/// # Errors
/// When the checkpoint has no tokenizer, or one that GGUF cannot express.
pub(crate) fn keys(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    split: Option<&str>,
) -> Result<Metadata, Error> {
    let path = checkpoint.path();
    let missing = || Error::MissingPart { path: path.to_path_buf(), what: "tokenizer.json" };
    let json = checkpoint.tokenizer_json()?.ok_or_else(missing)?;
    let mut vocabulary =
        Vocabulary::from_json(&json, config.vocab_size, split).map_err(Error::token(path))?;
    add_roles(&mut vocabulary, checkpoint, config);
    let mut keys = Metadata::new();
    let mut set = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    let text = |text: &str| Value::from(text);
    if let Some(Value::Object(described)) = checkpoint.source_metadata() {
        for (key, value) in general(&described) {
            set(&key, value);
        }
    }
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
    for (key, value) in tokenizer::keys(&vocabulary) {
        set(key, value);
    }
    if let Some(template) = checkpoint.chat_template() {
        set(CHAT_TEMPLATE, text(template));
    }
    Ok(keys)
}

/// What a file says of itself for people: texts and lists of texts.
pub(crate) fn general(metadata: &Metadata) -> Metadata {
    let is_text = |value: &Value| {
        let list = value.as_array();
        list.map_or(value.is_string(), |list| list.iter().all(Value::is_string))
    };
    let described = |key: &str| key.starts_with("general.") && key != "general.architecture";
    let kept = metadata.iter().filter(|(key, value)| described(key) && is_text(value));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The roles that a `tokenizer.json` does not tell, from the configuration.
fn add_roles(vocabulary: &mut Vocabulary, checkpoint: &Checkpoint, config: &ModelConfig) {
    // Some configurations name a row that does not exist, or -1, for none.
    let exists = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < vocabulary.tokens.len());
    let role = |key: &str| {
        let id = checkpoint.config_json()?.get(key)?.as_u64()?;
        u32::try_from(id).ok().filter(exists)
    };
    let special = &vocabulary.special;
    let bos = special.bos.or_else(|| role("bos_token_id"));
    let eos = special.eos.or_else(|| config.end_tokens.first().copied().filter(exists));
    let pad = role("pad_token_id");
    vocabulary.special = SpecialTokens { bos, eos, pad, ..*special };
}
