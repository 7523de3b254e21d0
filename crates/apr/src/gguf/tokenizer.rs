//! The tokenizer in the metadata of a GGUF file.
//!
//! The keys are those of the GGUF specification. Three more say what it has no words for:
//! `apr.tokenizer.space_prefix`, where it is not that of llama.cpp, and the ids of added tokens
//! that take the white space before or behind them. What a file leaves out is as in llama.cpp.

use apr_format::Metadata;
use apr_token::{SpacePrefix, SpecialTokens, TokenType, Vocabulary, VocabularyKind};
use serde_json::Value;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNK: &str = "tokenizer.ggml.unknown_token_id";
const PAD: &str = "tokenizer.ggml.padding_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const SPACE_PREFIX: &str = "apr.tokenizer.space_prefix";
const LEFT_STRIP: &str = "apr.tokenizer.left_strip";
const RIGHT_STRIP: &str = "apr.tokenizer.right_strip";

/// Names of byte-level BPE and of SentencePiece BPE.
const BYTE_LEVEL: &str = "gpt2";
const SENTENCE_PIECE: &str = "llama";
/// The split of files that name none, and of SentencePiece, which has none.
const DEFAULT_PRE: &str = "default";

/// The vocabulary in the metadata; none if there is none.
///
/// # Errors
/// When a key has a value of another type, or the tokenizer is of a kind that is not supported.
pub(super) fn read(metadata: &Metadata) -> Result<Option<Vocabulary>, String> {
    let keys = Keys(metadata);
    let Some(tokens) = keys.texts(TOKENS)? else { return Ok(None) };
    let types = match keys.list(TYPES, "a token type", token_type)? {
        Some(types) => types,
        None => vec![TokenType::Normal; tokens.len()],
    };
    let model = keys.text(MODEL)?.unwrap_or_default();
    let mut special = SpecialTokens {
        bos: keys.token(BOS)?,
        eos: keys.token(EOS)?,
        unk: keys.token(UNK)?,
        pad: keys.token(PAD)?,
        add_bos: keys.flag(ADD_BOS)?.unwrap_or_default(),
        add_eos: keys.flag(ADD_EOS)?.unwrap_or_default(),
    };
    let merges = keys.texts(MERGES)?;
    let kind = match model {
        BYTE_LEVEL => {
            let pre = keys.text(PRE)?.unwrap_or(DEFAULT_PRE).to_owned();
            let default = || Vocabulary::adds_bos_by_default(&pre);
            let said = keys.flag(ADD_BOS)?;
            special.add_bos = said.map_or_else(default, Ok).map_err(|error| error.to_string())?;
            let merges = merges.ok_or_else(|| format!("{MERGES} is missing"))?;
            VocabularyKind::ByteLevel { pre, merges }
        }
        SENTENCE_PIECE => {
            let there = |id: u32| Some(id).filter(|_| tokens.len() > 2);
            special.unk = special.unk.or(there(0));
            special.bos = special.bos.or(there(1));
            special.eos = special.eos.or(there(2));
            special.add_bos = keys.flag(ADD_BOS)?.unwrap_or(true);
            let scores = keys.list(SCORES, "a number", Value::as_f64)?;
            let scores = scores.ok_or_else(|| format!("{SCORES} is missing"))?;
            let scores = scores.into_iter().map(single).collect();
            let merges = merges.unwrap_or_default();
            VocabularyKind::SentencePiece { scores, merges, prefix: keys.space_prefix()? }
        }
        other => {
            let known = format!("{BYTE_LEVEL:?} and {SENTENCE_PIECE:?} are supported");
            return Err(format!("{MODEL} is {other:?}, only {known}"));
        }
    };
    let left_strip = keys.ids(LEFT_STRIP)?.unwrap_or_default();
    let right_strip = match keys.ids(RIGHT_STRIP)? {
        Some(ids) => ids,
        None => {
            right_strip_by_name(keys.text("general.name")?.unwrap_or_default(), &tokens, &types)
        }
    };
    Ok(Some(Vocabulary { tokens, types, kind, special, left_strip, right_strip }))
}

/// The keys of a vocabulary.
pub(super) fn keys(vocabulary: &Vocabulary) -> Vec<(&'static str, Value)> {
    let texts = |texts: &[String]| Value::from(texts);
    let mut keys = Vec::new();
    let list = match &vocabulary.kind {
        VocabularyKind::ByteLevel { pre, merges } => {
            keys.push((MODEL, Value::from(BYTE_LEVEL)));
            keys.push((PRE, Value::from(pre.as_str())));
            vec![(MERGES, texts(merges))]
        }
        VocabularyKind::SentencePiece { scores, merges, prefix } => {
            keys.push((MODEL, Value::from(SENTENCE_PIECE)));
            keys.push((PRE, Value::from(DEFAULT_PRE)));
            keys.push((ADD_SPACE_PREFIX, Value::from(*prefix != SpacePrefix::Never)));
            if !matches!(prefix, SpacePrefix::Never | SpacePrefix::Always) {
                keys.push((SPACE_PREFIX, Value::from(prefix.name())));
            }
            let mut list = vec![(SCORES, scores.iter().copied().collect())];
            if !merges.is_empty() {
                list.push((MERGES, texts(merges)));
            }
            list
        }
    };
    keys.push((TOKENS, texts(&vocabulary.tokens)));
    keys.push((TYPES, vocabulary.types.iter().map(|&kind| kind as i32).collect()));
    keys.extend(list);
    let SpecialTokens { bos, eos, unk, pad, add_bos, add_eos } = vocabulary.special;
    keys.push((ADD_BOS, Value::from(add_bos)));
    keys.push((ADD_EOS, Value::from(add_eos)));
    let roles = [(BOS, bos), (EOS, eos), (UNK, unk), (PAD, pad)];
    keys.extend(roles.into_iter().filter_map(|(key, id)| Some((key, Value::from(id?)))));
    let strips = [(LEFT_STRIP, &vocabulary.left_strip), (RIGHT_STRIP, &vocabulary.right_strip)];
    for (key, ids) in strips.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        keys.push((key, Value::from(ids.as_slice())));
    }
    keys
}

/// Metadata that is read with an error for each value of another type.
struct Keys<'a>(&'a Metadata);

impl<'a> Keys<'a> {
    fn one<T>(
        &self,
        key: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| format!("{key} is not {what}"))
    }

    fn list<T>(
        &self,
        key: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, String> {
        let Some(list) = self.one(key, "a list", Value::as_array)? else { return Ok(None) };
        let entry = |(index, value): (usize, &'a Value)| {
            read(value).ok_or_else(|| format!("{key}: entry {index} is not {what}"))
        };
        list.iter().enumerate().map(entry).collect::<Result<_, _>>().map(Some)
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        self.one(key, "a text", Value::as_str)
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, String> {
        self.list(key, "a text", |text| text.as_str().map(str::to_owned))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        self.one(key, "true or false", Value::as_bool)
    }

    fn token(&self, key: &str) -> Result<Option<u32>, String> {
        self.one(key, "the id of a token", token)
    }

    /// Ids in ascending order.
    fn ids(&self, key: &str) -> Result<Option<Vec<u32>>, String> {
        let mut ids = self.list(key, "the id of a token", token)?;
        ids.iter_mut().for_each(|ids| ids.sort_unstable());
        Ok(ids)
    }

    fn space_prefix(&self) -> Result<SpacePrefix, String> {
        let named = |value: &Value| SpacePrefix::ALL.into_iter().find(|one| *value == one.name());
        let added = self.flag(ADD_SPACE_PREFIX)?.unwrap_or(true);
        let said = self.one(SPACE_PREFIX, "a way to add spaces", named)?;
        Ok(said.unwrap_or(if added { SpacePrefix::Always } else { SpacePrefix::Never }))
    }
}

fn token(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

fn token_type(value: &Value) -> Option<TokenType> {
    Some(match value.as_i64()? {
        // 0 is "undefined": nothing is known against it.
        0 | 1 => TokenType::Normal,
        2 => TokenType::Unknown,
        3 => TokenType::Control,
        4 => TokenType::UserDefined,
        5 => TokenType::Unused,
        6 => TokenType::Byte,
        _ => return None,
    })
}

/// Scores are stored in this precision.
#[allow(clippy::cast_possible_truncation, reason = "it was f32 in the file")]
const fn single(score: f64) -> f32 {
    score as f32
}

/// GGUF has no key for it: llama.cpp goes by the model's name, and so do we for the files of
/// others. The added tokens of Phi-3 take the white space behind them, but for three.
fn right_strip_by_name(name: &str, tokens: &[String], types: &[TokenType]) -> Vec<u32> {
    let name = name.to_lowercase();
    if !name.contains("phi-3") && !name.contains("phi3") {
        return Vec::new();
    }
    let added =
        |kind| matches!(kind, TokenType::Unknown | TokenType::Control | TokenType::UserDefined);
    let strips = |token: &str| !matches!(token, "<unk>" | "<s>" | "<|endoftext|>");
    (0_u32..)
        .zip(tokens.iter().zip(types))
        .filter(|(_, (token, kind))| added(**kind) && strips(token))
        .map(|(id, _)| id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(value: Value) -> Metadata {
        let Value::Object(metadata) = value else { panic!("no object") };
        metadata
    }

    fn byte_level() -> Metadata {
        metadata(json!({
            MODEL: "gpt2", PRE: "gpt-2", TOKENS: ["a", "b", "ab", "<s>"], TYPES: [1, 1, 1, 3],
            MERGES: ["a b"], BOS: 3, ADD_BOS: true,
        }))
    }

    fn sentence_piece() -> Metadata {
        metadata(json!({
            MODEL: "llama", TOKENS: ["<unk>", "<s>", "</s>", "▁", "a", "▁a"], TYPES: [2, 3, 3, 1, 1, 1],
            SCORES: [0.0, 0.0, 0.0, -2.0, -3.0, -1.0],
        }))
    }

    fn encode(metadata: &Metadata, text: &str) -> Vec<u32> {
        read(metadata).unwrap().unwrap().tokenizer().unwrap().encode(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for source in [byte_level(), sentence_piece()] {
            let vocabulary = read(&source).unwrap().unwrap();
            let written = keys(&vocabulary).into_iter().map(|(key, value)| (key.to_owned(), value));
            assert_eq!(read(&written.collect()).unwrap().unwrap(), vocabulary);
        }
        let mut vocabulary = read(&sentence_piece()).unwrap().unwrap();
        vocabulary.left_strip = vec![2];
        vocabulary.right_strip = vec![1, 2];
        for prefix in SpacePrefix::ALL {
            let VocabularyKind::SentencePiece { prefix: old, merges, .. } = &mut vocabulary.kind
            else {
                panic!("SentencePiece")
            };
            (*old, *merges) = (prefix, vec!["▁ a".to_owned()]);
            let written = keys(&vocabulary).into_iter().map(|(key, value)| (key.to_owned(), value));
            assert_eq!(read(&written.collect()).unwrap().unwrap(), vocabulary);
        }
    }

    #[test]
    fn what_is_left_out_is_as_in_llama_cpp() {
        assert_eq!(encode(&byte_level(), "abb"), [3, 2, 1]);
        // SentencePiece: BOS is 1 and added, and so is a space; what is unknown is 0.
        assert_eq!(encode(&sentence_piece(), "a aé"), [1, 5, 5, 0]);
        let mut changed = sentence_piece();
        changed.insert(ADD_SPACE_PREFIX.to_owned(), json!(false));
        changed.insert(ADD_BOS.to_owned(), json!(false));
        changed.insert(ADD_EOS.to_owned(), json!(true));
        assert_eq!(encode(&changed, "a a"), [4, 5, 2]);
        let mut llama_3 = byte_level();
        llama_3.insert(PRE.to_owned(), json!("llama-bpe"));
        llama_3.remove(ADD_BOS);
        assert_eq!(encode(&llama_3, "a"), [3, 0]);
        let mut old = byte_level();
        old.remove(PRE);
        assert_eq!(encode(&old, "ab"), [3, 2]);
        assert!(read(&Metadata::new()).unwrap().is_none());
    }

    #[test]
    fn added_tokens_of_phi_3_take_the_space_behind_them() {
        let mut phi = sentence_piece();
        assert_eq!(encode(&phi, "</s> a"), [1, 2, 3, 5]);
        phi.insert("general.name".to_owned(), json!("Phi-3-mini"));
        assert_eq!(encode(&phi, "</s> a"), [1, 2, 5]);
        assert_eq!(encode(&phi, "<s> a"), [1, 1, 3, 5]);
    }

    #[test]
    fn values_of_another_type_are_named() {
        for (key, value, words) in [
            (TOKENS, json!("a"), "tokens is not a list"),
            (TOKENS, json!(["a", 2]), "tokens: entry 1 is not a text"),
            (TYPES, json!([1, 1, 7, 1]), "token_type: entry 2 is not a token type"),
            (TYPES, json!([1, 1, -1, 1]), "token_type: entry 2 is not a token type"),
            (TYPES, json!({}), "token_type is not a list"),
            (MERGES, json!([["a", "b"]]), "merges: entry 0 is not a text"),
            (MODEL, json!("t5"), "model is \"t5\""),
            (MODEL, json!(1), "model is not a text"),
            (PRE, json!(false), "pre is not a text"),
            (BOS, json!(-1), "bos_token_id is not the id of a token"),
            (EOS, json!(1_u64 << 32), "eos_token_id is not the id of a token"),
            (PAD, json!("0"), "padding_token_id is not the id of a token"),
            (ADD_BOS, json!(1), "add_bos_token is not true or false"),
            (RIGHT_STRIP, json!([0, null]), "right_strip: entry 1 is not the id of a token"),
        ] {
            let mut changed = byte_level();
            changed.insert(key.to_owned(), value);
            let error = read(&changed).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
        let mut changed = sentence_piece();
        changed.insert(SCORES.to_owned(), json!([0.0, null]));
        assert!(read(&changed).unwrap_err().contains("scores: entry 1 is not a number"));
        changed.remove(SCORES);
        assert!(read(&changed).unwrap_err().contains("scores is missing"));
        let mut changed = sentence_piece();
        changed.insert(SPACE_PREFIX.to_owned(), json!("sometimes"));
        assert!(read(&changed).unwrap_err().contains("space_prefix is not a way"));
    }
}
