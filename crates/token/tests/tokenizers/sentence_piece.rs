//! SentencePiece BPE, on two tokenizers that were trained with it (tests/tokenizers/make.py).

use crate::{assert_same, corpus, read};
use apr_token::{SpacePrefix, SpecialTokens, TokenType, Tokenizer, Vocabulary, VocabularyKind};
use serde_json::{Value, json};

const NAMES: [(&str, SpacePrefix); 2] =
    [("llama", SpacePrefix::Always), ("gemma", SpacePrefix::Never)];

fn published(name: &str) -> String {
    read(&format!("tests/tokenizers/{name}.tokenizer.json"))
}

fn parsed(path: &str) -> Value {
    serde_json::from_str(&read(&format!("tests/tokenizers/{path}.json"))).unwrap()
}

/// What llama.cpp's converter writes of the model.
fn converted(name: &str, prefix: SpacePrefix) -> Vocabulary {
    let file = parsed(&format!("{name}.gguf"));
    let list = |key: &str| file[key].as_array().unwrap().iter();
    let token = |key: &str| Some(u32::try_from(file[key].as_u64().unwrap()).unwrap());
    let kind = |number: &Value| match number.as_u64().unwrap() {
        1 => TokenType::Normal,
        2 => TokenType::Unknown,
        3 => TokenType::Control,
        4 => TokenType::UserDefined,
        6 => TokenType::Byte,
        other => panic!("type {other}"),
    };
    assert_eq!(file["add_space_prefix"], prefix == SpacePrefix::Always);
    Vocabulary {
        tokens: list("tokens").map(|token| token.as_str().unwrap().to_owned()).collect(),
        types: list("token_type").map(kind).collect(),
        kind: VocabularyKind::SentencePiece {
            scores: serde_json::from_value(file["scores"].clone()).unwrap(),
            merges: Vec::new(),
            prefix,
        },
        special: SpecialTokens {
            bos: token("bos_token_id"),
            eos: token("eos_token_id"),
            unk: token("unknown_token_id"),
            pad: None,
            add_bos: true,
            add_eos: false,
        },
        left_strip: Vec::new(),
        right_strip: Vec::new(),
    }
}

#[test]
fn tokens_of_scores_are_those_of_the_published_merges() {
    let lines = corpus::lines();
    for (name, prefix) in NAMES {
        let published = Tokenizer::from_json(&published(name)).unwrap();
        let own = converted(name, prefix).tokenizer().unwrap();
        assert_same(name, &published, &own, &lines);
        assert_eq!(own.vocab_size(), published.vocab_size());
    }
}

#[test]
fn tokens_of_scores_are_those_of_sentencepiece() {
    for (name, prefix) in NAMES {
        let own = converted(name, prefix).tokenizer().unwrap();
        for golden in parsed(&format!("{name}.golden")).as_array().unwrap() {
            let tokens = own.encode(golden["text"].as_str().unwrap()).unwrap();
            assert_eq!(json!(tokens[1..]), golden["ids"], "{name}: {}", golden["text"]);
        }
    }
}

#[test]
fn a_published_tokenizer_keeps_its_tokens() {
    let lines = corpus::lines();
    for (name, expected) in NAMES {
        let json = published(name);
        let source = Tokenizer::from_json(&json).unwrap();
        let rows = source.vocab_size() + 4;
        let vocabulary = Vocabulary::from_json(&json, rows, None).unwrap();
        let rebuilt = vocabulary.to_json().unwrap();
        assert_eq!(Vocabulary::from_json(&rebuilt, rows, None).unwrap(), vocabulary);
        assert_same(name, &source, &Tokenizer::from_json(&rebuilt).unwrap(), &lines);

        // The same as SentencePiece's own model: types, and the order of scores.
        let converted = converted(name, expected);
        let count = converted.tokens.len();
        assert_eq!(vocabulary.types[..count], converted.types);
        assert_eq!(vocabulary.types[count..], [TokenType::Unused; 4]);
        // Which token ends a text, only a tokenizer that adds it says.
        let special = SpecialTokens { eos: None, ..converted.special };
        assert_eq!(vocabulary.special, special);
        let (own, theirs) = (order(&vocabulary), order(&converted));
        assert_eq!(own, theirs[..own.len()]);
        let VocabularyKind::SentencePiece { prefix, .. } = vocabulary.kind else { panic!() };
        assert_eq!(prefix, expected);
    }
}

/// Tokens of more than one character, by falling score.
fn order(vocabulary: &Vocabulary) -> Vec<&str> {
    let VocabularyKind::SentencePiece { scores, .. } = &vocabulary.kind else { panic!() };
    let mut list: Vec<(f32, &str)> = vocabulary
        .tokens
        .iter()
        .zip(&vocabulary.types)
        .zip(scores)
        .filter(|((token, kind), _)| **kind == TokenType::Normal && token.chars().count() > 1)
        .map(|((token, _), score)| (*score, token.as_str()))
        .collect();
    list.sort_by(|one, two| two.0.total_cmp(&one.0));
    list.into_iter().map(|(_, token)| token).collect()
}

#[test]
fn spaces_are_treated_as_published() {
    let lines: Vec<String> = corpus::lines().into_iter().step_by(20).collect();
    let special = ["<s>x", " <s> x<s>", "</s>  x"].map(str::to_owned);
    let lines = [lines.as_slice(), &special].concat();
    for (scheme, expected) in [
        ("always", SpacePrefix::UnlessSpace),
        ("first", SpacePrefix::FirstUnlessSpace),
        ("never", SpacePrefix::Never),
    ] {
        let mut json: Value = serde_json::from_str(&published("llama")).unwrap();
        json["normalizer"] = Value::Null;
        json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
        if expected == SpacePrefix::Never {
            json["decoder"]["decoders"].as_array_mut().unwrap().pop();
        }
        let json = json.to_string();
        let source = Tokenizer::from_json(&json).unwrap();
        let vocabulary = Vocabulary::from_json(&json, source.vocab_size(), None).unwrap();
        let VocabularyKind::SentencePiece { prefix, .. } = vocabulary.kind else { panic!() };
        assert_eq!(prefix, expected);
        assert_same(scheme, &source, &vocabulary.tokenizer().unwrap(), &lines);
    }
    let mut json: Value = serde_json::from_str(&published("llama")).unwrap();
    json["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let error = Vocabulary::from_json(&json.to_string(), 9000, None).unwrap_err().to_string();
    assert!(error.contains("treats spaces"), "{error}");
}

/// The published merges, grouped by the token that they make.
fn grouped(json: &Value) -> Vec<Vec<Value>> {
    let mut groups: Vec<Vec<Value>> = Vec::new();
    let whole = |merge: &Value| [0, 1].map(|part| merge[part].as_str().unwrap()).concat();
    for merge in json["model"]["merges"].as_array().unwrap() {
        match groups.last_mut() {
            Some(group) if whole(&group[0]) == whole(merge) => group.push(merge.clone()),
            _ => groups.push(vec![merge.clone()]),
        }
    }
    groups
}

#[test]
fn merges_that_scores_do_not_say_are_kept() {
    let lines: Vec<String> = corpus::lines().into_iter().step_by(4).collect();
    for (name, _) in NAMES {
        let mut json: Value = serde_json::from_str(&published(name)).unwrap();
        // The ways to make the same token in another order, as newer converters list them.
        let groups = grouped(&json).into_iter().flat_map(|group| group.into_iter().rev());
        json["model"]["merges"] = groups.collect();
        let json = json.to_string();
        let vocabulary = Vocabulary::from_json(&json, 3000, None).unwrap();
        let VocabularyKind::SentencePiece { merges, .. } = &vocabulary.kind else { panic!() };
        assert!(!merges.is_empty());
        let source = Tokenizer::from_json(&json).unwrap();
        assert_same(name, &source, &vocabulary.tokenizer().unwrap(), &lines);
    }
}

#[test]
fn merges_that_scores_cannot_say_are_refused() {
    // A BPE that was not trained by SentencePiece makes a token in one way only.
    let mut json: Value = serde_json::from_str(&published("llama")).unwrap();
    json["model"]["merges"] =
        grouped(&json).into_iter().filter_map(|mut group| group.pop()).collect();
    let error = Vocabulary::from_json(&json.to_string(), 3000, None).unwrap_err().to_string();
    assert!(error.contains("GGUF cannot express it"), "{error}");
}

#[test]
fn a_stream_after_a_prompt_gives_the_text_between() {
    let tokenizer = Tokenizer::from_json(&published("llama")).unwrap();
    let text = "The capital of France 🗼 is  Paris";
    let tokens = tokenizer.encode(text).unwrap();
    for cut in 1..tokens.len() {
        let (prompt, rest) = tokens.split_at(cut);
        let mut stream = tokenizer.stream_after(prompt);
        let mut pieces = tokenizer.decode(prompt).unwrap();
        pieces.truncate(pieces.trim_end_matches('\u{fffd}').len());
        let whole = pieces.len() == tokenizer.decode(prompt).unwrap().len();
        for &token in rest {
            pieces += &stream.push(token).unwrap();
        }
        pieces += &stream.finish().unwrap();
        assert!(!whole || pieces == text, "{cut}: {pieces:?}");
    }
}
