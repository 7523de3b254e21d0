//! A byte-level BPE tokenizer as GGUF stores it: tokens, types, merges, and the name of its split.
//!
//! Both directions go through one table of splits ([`SPLITS`]): a `tokenizer.json` is recognised
//! by what its steps do, and a GGUF file becomes a `tokenizer.json` with the steps of that name.

use crate::TokenError;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a token is for, with GGUF's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenType {
    /// Part of texts.
    Normal = 1,
    /// Special: dropped when decoding.
    Control = 3,
    /// Added by hand, and part of texts.
    UserDefined = 4,
    /// A row of the embedding without a token.
    Unused = 5,
}

/// A byte-level BPE vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// Tokens by id.
    pub tokens: Vec<String>,
    /// Their types.
    pub types: Vec<TokenType>,
    /// Merges, most frequent first: two tokens with a space between.
    pub merges: Vec<String>,
    /// Name of the split, as in `tokenizer.ggml.pre`.
    pub pre: String,
}

/// A way to split text before merging, and its name in GGUF files.
struct Split {
    name: &'static str,
    steps: &'static [Step],
    /// Text is normalised to NFC first.
    nfc: bool,
    /// Whole pieces that are tokens are taken without merging.
    ignore_merges: bool,
}

/// A step of splitting.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Digits stand alone.
    Digits,
    /// Matches of this expression are pieces.
    Pattern(&'static str),
    /// Bytes become printable characters; before that, text is split as GPT-2 does.
    ByteLevelSplit,
    /// Bytes become printable characters.
    ByteLevel,
}

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

static SPLITS: &[Split] = &[
    Split { name: "gpt-2", steps: &[Step::ByteLevelSplit], nfc: false, ignore_merges: false },
    Split {
        name: "smollm",
        steps: &[Step::Digits, Step::ByteLevelSplit],
        nfc: false,
        ignore_merges: false,
    },
    Split {
        name: "qwen2",
        steps: &[Step::Pattern(QWEN2), Step::ByteLevel],
        nfc: true,
        ignore_merges: false,
    },
    Split {
        name: "llama-bpe",
        steps: &[Step::Pattern(LLAMA_3), Step::ByteLevel],
        nfc: false,
        ignore_merges: true,
    },
];

impl Vocabulary {
    /// The vocabulary of a `tokenizer.json`, padded with unused tokens to the rows of the
    /// embedding.
    ///
    /// # Errors
    /// When it is no byte-level BPE, splits text in a way that has no name, or has more tokens
    /// than the embedding has rows.
    pub fn from_json(json: &str, rows: usize) -> Result<Self, TokenError> {
        let json: Value =
            serde_json::from_str(json).map_err(|error| TokenError::Load(error.into()))?;
        let pre = recognise(&json)?;
        let model = &json["model"];
        let (vocab, merges) = model["vocab"]
            .as_object()
            .zip(model["merges"].as_array())
            .filter(|_| model["type"] == "BPE")
            .ok_or(TokenError::Unsupported("it is no byte-level BPE"))?;
        let mut by_id: BTreeMap<usize, (String, TokenType)> = BTreeMap::new();
        for (token, id) in vocab {
            by_id.insert(token_id(id)?, (token.clone(), TokenType::Normal));
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let special = added["special"] == true;
            let kind = if special { TokenType::Control } else { TokenType::UserDefined };
            let content = added["content"].as_str().unwrap_or_default().to_owned();
            by_id.insert(token_id(&added["id"])?, (content, kind));
        }
        if by_id.keys().next_back().is_some_and(|&last| last >= rows) {
            return Err(TokenError::Unsupported("it has tokens past the rows of the embedding"));
        }
        let entry =
            |id| by_id.get(&id).cloned().unwrap_or((format!("[PAD{id}]"), TokenType::Unused));
        let (tokens, types) = (0..rows).map(entry).unzip();
        let merges = merges.iter().map(merge).collect::<Result<_, _>>()?;
        Ok(Self { tokens, types, merges, pre: pre.to_owned() })
    }

    /// The vocabulary as a `tokenizer.json`.
    ///
    /// # Errors
    /// When the name of its split is unknown.
    pub fn to_json(&self) -> Result<String, TokenError> {
        let split = SPLITS
            .iter()
            .find(|split| split.name == self.pre)
            .ok_or(TokenError::Unsupported("tokenizer.ggml.pre names an unknown split"))?;
        let mut vocab = Map::new();
        let mut added = Vec::new();
        for (id, (token, kind)) in self.tokens.iter().zip(&self.types).enumerate() {
            if *kind == TokenType::Unused {
                continue;
            }
            vocab.insert(token.clone(), json!(id));
            if *kind != TokenType::Normal {
                added.push(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": *kind == TokenType::Control,
                }));
            }
        }
        let steps: Vec<Value> = split.steps.iter().map(Step::to_json).collect();
        let json = json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": if split.nfc { json!({ "type": "NFC" }) } else { Value::Null },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": steps },
            "post_processor": null,
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": {
                "type": "BPE", "vocab": vocab, "merges": self.merges,
                "ignore_merges": split.ignore_merges, "byte_fallback": false, "fuse_unk": false,
            },
        });
        Ok(json.to_string())
    }
}

fn token_id(value: &Value) -> Result<usize, TokenError> {
    let id = value.as_u64().and_then(|id| usize::try_from(id).ok());
    id.ok_or(TokenError::Unsupported("a token has no id"))
}

/// Newer files list the two parts, older ones put a space between them.
fn merge(value: &Value) -> Result<String, TokenError> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(left), Value::String(right)]) => Ok(format!("{left} {right}")),
        _ => Err(TokenError::Unsupported("a merge is not two tokens")),
    }
}

/// The name of the split that does what this `tokenizer.json` does.
fn recognise(json: &Value) -> Result<&'static str, TokenError> {
    const UNKNOWN: TokenError =
        TokenError::Unsupported("it splits text in a way that no name in GGUF stands for");
    let pre = &json["pre_tokenizer"];
    let listed = pre["pretokenizers"].as_array();
    let steps: &[Value] = listed.map_or(std::slice::from_ref(pre), Vec::as_slice);
    let nfc = json["normalizer"]["type"] == "NFC";
    if !nfc && !json["normalizer"].is_null() {
        return Err(UNKNOWN);
    }
    let ignore_merges = json["model"]["ignore_merges"] == true;
    SPLITS
        .iter()
        .find(|split| {
            split.nfc == nfc
                && split.ignore_merges == ignore_merges
                && split.steps.len() == steps.len()
                && split.steps.iter().zip(steps).all(|(step, json)| step.does(json))
        })
        .map(|split| split.name)
        .ok_or(UNKNOWN)
}

impl Step {
    /// Whether this step of a `tokenizer.json` does the same.
    fn does(&self, json: &Value) -> bool {
        let byte_level = |split: bool| {
            json["type"] == "ByteLevel"
                && json["add_prefix_space"] == false
                && json.get("use_regex").is_none_or(|regex| *regex == split)
        };
        match self {
            Self::Digits => json["type"] == "Digits" && json["individual_digits"] == true,
            Self::Pattern(pattern) => {
                json["type"] == "Split"
                    && json["pattern"]["Regex"] == *pattern
                    && json["behavior"] == "Isolated"
                    && json["invert"] == false
            }
            Self::ByteLevelSplit => byte_level(true),
            Self::ByteLevel => byte_level(false) && json["use_regex"] == false,
        }
    }

    fn to_json(&self) -> Value {
        let byte_level = |split: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": split});
        match self {
            Self::Digits => json!({"type": "Digits", "individual_digits": true}),
            Self::Pattern(pattern) => {
                json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
            }
            Self::ByteLevelSplit => byte_level(true),
            Self::ByteLevel => byte_level(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use std::fs;

    #[test]
    fn a_vocabulary_tokenizes_as_the_tokenizer_it_came_from() {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let corpus: Vec<String> =
            ["tests/data/heldout.txt", "Cargo.lock", "crates/token/src/lib.rs"]
                .iter()
                .map(|path| fs::read_to_string(format!("{base}/{path}")).unwrap())
                .collect();
        for (model, pre) in
            [("tiny-llama", "smollm"), ("tiny-qwen2", "qwen2"), ("tiny-gpt2", "gpt-2")]
        {
            let json =
                fs::read_to_string(format!("{base}/tests/models/{model}/tokenizer.json")).unwrap();
            let vocabulary = Vocabulary::from_json(&json, 2050).unwrap();
            assert_eq!(vocabulary.pre, pre);
            assert_eq!(
                (vocabulary.tokens.len(), vocabulary.types[2049]),
                (2050, TokenType::Unused)
            );
            let published = Tokenizer::from_json(&json).unwrap();
            let rebuilt = Tokenizer::from_json(&vocabulary.to_json().unwrap()).unwrap();
            assert_eq!(
                Vocabulary::from_json(&vocabulary.to_json().unwrap(), 2050).unwrap(),
                vocabulary
            );
            let special = "<|endoftext|>a<|im_start|> naïve e\u{301} 東京 🗼 12345 \t\r\n x";
            for text in corpus.iter().flat_map(|text| text.lines()).chain([special]) {
                let tokens = published.encode(text).unwrap();
                assert_eq!(rebuilt.encode(text).unwrap(), tokens, "{model}: {text:?}");
                assert_eq!(rebuilt.decode(&tokens).unwrap(), published.decode(&tokens).unwrap());
            }
        }
    }

    #[test]
    fn a_split_without_a_name_is_refused() {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let json =
            fs::read_to_string(format!("{base}/tests/models/tiny-llama/tokenizer.json")).unwrap();
        let other = json.replace("\"individual_digits\": true", "\"individual_digits\": false");
        assert_ne!(other, json);
        let error = Vocabulary::from_json(&other, 2048).unwrap_err().to_string();
        assert!(error.contains("no name in GGUF"), "{error}");
    }
}
