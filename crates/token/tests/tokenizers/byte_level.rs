//! Byte-level BPE: every split in every way in which it is published.

use crate::{assert_same, corpus, read};
use apr_token::{TokenType, Tokenizer, Vocabulary, VocabularyKind};
use serde_json::{Value, json};

const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

fn published(model: &str) -> Value {
    serde_json::from_str(&read(&format!("tests/models/{model}/tokenizer.json"))).unwrap()
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn byte_level(regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex})
}

fn sequence(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": steps})
}

/// The ways in which pre-tokenizers are published, and the name of each.
fn ways() -> Vec<(&'static str, Value)> {
    let removed = json!({"type": "Split", "pattern": {"Regex": LLAMA_3}, "behavior": "Removed", "invert": true});
    let digits = json!({"type": "Digits", "individual_digits": true});
    vec![
        ("gpt-2", json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true})),
        ("gpt-2", byte_level(true)),
        ("gpt-2", sequence(&[byte_level(true)])),
        ("gpt-2", sequence(&[split(GPT_2), byte_level(false)])),
        ("smollm", sequence(&[digits.clone(), byte_level(true)])),
        ("smollm", sequence(&[split(r"\p{N}"), byte_level(true)])),
        ("smollm", sequence(&[digits, split(GPT_2), byte_level(false)])),
        ("deepseek-r1-qwen", sequence(&[split(QWEN_2), byte_level(false)])),
        ("llama-bpe", sequence(&[split(LLAMA_3), byte_level(false)])),
        ("llama-bpe", sequence(&[removed, byte_level(false)])),
        ("tekken", sequence(&[split(TEKKEN), byte_level(false)])),
        (
            "deepseek-coder",
            sequence(&[
                split("[\r\n]"),
                split(r"\s?\p{L}+"),
                split(r"\s?\p{P}+"),
                split("[一-龥ࠀ-一가-퟿]+"),
                json!({"type": "Digits", "individual_digits": true}),
                byte_level(false),
            ]),
        ),
    ]
}

fn pre(vocabulary: &Vocabulary) -> &str {
    match &vocabulary.kind {
        VocabularyKind::ByteLevel { pre, .. } => pre,
        VocabularyKind::SentencePiece { .. } => panic!("no byte-level BPE"),
    }
}

/// There and back: the name is `expected`, and all lines keep their tokens.
fn round_trip(expected: &str, json: &Value, lines: &[String]) -> Vocabulary {
    let json = json.to_string();
    let vocabulary = Vocabulary::from_json(&json, 2050, None).unwrap();
    assert_eq!(pre(&vocabulary), expected);
    let rebuilt = vocabulary.to_json().unwrap();
    assert_eq!(Vocabulary::from_json(&rebuilt, 2050, None).unwrap(), vocabulary);
    let published = Tokenizer::from_json(&json).unwrap();
    assert_same(expected, &published, &Tokenizer::from_json(&rebuilt).unwrap(), lines);
    vocabulary
}

#[test]
fn the_shipped_tokenizers_keep_their_tokens() {
    let lines = corpus::lines();
    for (model, name) in [("tiny-llama", "smollm"), ("tiny-qwen2", "qwen2"), ("tiny-gpt2", "gpt-2")]
    {
        let vocabulary = round_trip(name, &published(model), &lines);
        assert_eq!(vocabulary.types[2049], TokenType::Unused);
        assert_eq!(vocabulary.tokens[2049], "[PAD2049]");
        assert!(!vocabulary.special.add_bos && !vocabulary.special.add_eos);
    }
}

#[test]
fn a_split_is_known_by_what_it_does_in_each_way_it_is_written() {
    let lines: Vec<String> = corpus::lines().into_iter().step_by(4).collect();
    for (name, pre_tokenizer) in ways() {
        let mut json = published("tiny-gpt2");
        json["pre_tokenizer"] = pre_tokenizer;
        json["model"]["ignore_merges"] = json!(matches!(name, "llama-bpe" | "tekken"));
        round_trip(name, &json, &lines);
    }
    // Pythia: NFC, and runs of spaces among the added tokens.
    let mut json = published("tiny-gpt2");
    json["normalizer"] = json!({"type": "NFC"});
    let mut added = json["added_tokens"].as_array().unwrap().clone();
    for (id, content) in [(2048, "    "), (2049, "  ")] {
        added.push(json!({"id": id, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": true, "special": false}));
    }
    json["added_tokens"] = json!(added);
    json["model"]["unk_token"] = json!("<|endoftext|>");
    let vocabulary = round_trip("olmo", &json, &lines);
    assert_eq!(vocabulary.types[2048], TokenType::UserDefined);
    assert_eq!((vocabulary.special.unk, vocabulary.types[0]), (Some(0), TokenType::Control));
}

#[test]
fn it_does_not_matter_whether_merges_are_ignored_where_they_reach_every_token() {
    let mut json = published("tiny-qwen2");
    json["model"]["ignore_merges"] = json!(true);
    let vocabulary = Vocabulary::from_json(&json.to_string(), 2048, None).unwrap();
    assert_eq!(pre(&vocabulary), "qwen2");
    // A token that no merge makes.
    json["model"]["vocab"]["Ġzzqj"] = json!(2048);
    let error = Vocabulary::from_json(&json.to_string(), 2049, None).unwrap_err().to_string();
    assert!(error.contains("no name in GGUF"), "{error}");
}

#[test]
fn texts_begin_with_bos_where_the_published_tokenizer_says_so() {
    let mut json = published("tiny-qwen2");
    json["model"]["ignore_merges"] = json!(true);
    json["normalizer"] = Value::Null;
    json["pre_tokenizer"] = sequence(&[split(LLAMA_3), byte_level(false)]);
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
    });
    json["post_processor"] =
        json!({"type": "Sequence", "processors": [byte_level(true), template]});
    let lines: Vec<String> = corpus::lines().into_iter().step_by(100).collect();
    let vocabulary = round_trip("llama-bpe", &json, &lines);
    assert!(vocabulary.special.add_bos && !vocabulary.special.add_eos);
    assert_eq!(vocabulary.special.bos, Some(1));
    let tokens = vocabulary.tokenizer().unwrap().encode("x").unwrap();
    assert_eq!((tokens.len(), tokens[0]), (2, 1));
    // Without a text there is still the token.
    assert_eq!(vocabulary.tokenizer().unwrap().encode("").unwrap(), [1]);
}

#[test]
fn white_space_beside_added_tokens_is_taken_as_published() {
    let mut json = published("tiny-gpt2");
    json["added_tokens"][0]["rstrip"] = json!(true);
    let lines = ["<|endoftext|> \n x".to_owned(), " <|endoftext|>\n<|endoftext|>  ".to_owned()];
    let vocabulary = round_trip("gpt-2", &json, &lines);
    assert_eq!((vocabulary.right_strip.as_slice(), vocabulary.left_strip.len()), (&[0][..], 0));
}

#[test]
fn a_split_without_a_name_is_refused_unless_a_name_is_given() {
    let mut json = published("tiny-llama");
    json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = json!(false);
    let json = json.to_string();
    let error = Vocabulary::from_json(&json, 2048, None).unwrap_err().to_string();
    assert!(error.contains("no name in GGUF") && error.contains("--pre NAME"), "{error}");
    let vocabulary = Vocabulary::from_json(&json, 2048, Some("default")).unwrap();
    assert_eq!(pre(&vocabulary), "default");
    let error = Vocabulary::from_json(&json, 2048, Some("gpt2")).unwrap_err().to_string();
    assert!(error.contains("\"gpt2\"") && error.contains("gpt-2, "), "{error}");
}
