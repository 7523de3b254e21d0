//! Vocabularies and tokenizers that contradict themselves: one named error each, no panic.

use crate::read;
use apr_token::{
    SpacePrefix, SpecialTokens, TokenError, TokenType, Tokenizer, Vocabulary, VocabularyKind,
};
use serde_json::{Value, json};

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

fn byte_level() -> Vocabulary {
    Vocabulary {
        tokens: texts(&["a", "b", "ab", "<s>"]),
        types: vec![TokenType::Normal, TokenType::Normal, TokenType::Normal, TokenType::Control],
        kind: VocabularyKind::ByteLevel { pre: "gpt-2".to_owned(), merges: texts(&["a b"]) },
        special: SpecialTokens::default(),
        left_strip: Vec::new(),
        right_strip: Vec::new(),
    }
}

fn sentence_piece(scores: Vec<f32>) -> Vocabulary {
    let merges = Vec::new();
    let kind = VocabularyKind::SentencePiece { scores, merges, prefix: SpacePrefix::Always };
    Vocabulary { kind, ..byte_level() }
}

fn refused(vocabulary: &Vocabulary, words: &str) {
    let error = vocabulary.to_json().unwrap_err().to_string();
    assert!(error.contains(words) && !error.contains('\n'), "{words}: {error}");
}

#[test]
fn contradictions_are_named() {
    assert_eq!(byte_level().tokenizer().unwrap().encode("abb<s>").unwrap(), [2, 1, 3]);
    let changed = |change: &dyn Fn(&mut Vocabulary)| {
        let mut vocabulary = byte_level();
        change(&mut vocabulary);
        vocabulary
    };
    refused(&changed(&|v| v.types.truncate(3)), "3 token types for 4 tokens");
    refused(&changed(&|v| v.tokens[1] = "a".to_owned()), "\"a\" occurs twice, as 0 and 1");
    refused(&changed(&|v| v.special.pad = Some(4)), "pad is token 4 of 4");
    refused(&changed(&|v| v.special.unk = Some(u32::MAX)), "unk is token 4294967295 of 4");
    refused(&changed(&|v| v.special.add_bos = true), "adds bos");
    for merge in ["", " ", "a", "a ", " a", "a  b", "b a", "ab ab", "a\u{a0}b", "é b"] {
        let kind = VocabularyKind::ByteLevel { pre: "gpt-2".to_owned(), merges: texts(&[merge]) };
        refused(&Vocabulary { kind, ..byte_level() }, &format!("merge 0, {merge:?}"));
    }
    let kind = VocabularyKind::ByteLevel { pre: "gpt2".to_owned(), merges: Vec::new() };
    refused(&Vocabulary { kind, ..byte_level() }, "no split is named \"gpt2\"");
    refused(&sentence_piece(vec![0.0; 5]), "5 scores for 4 tokens");
    refused(&sentence_piece(vec![0.0, f32::NAN, 0.0, 0.0]), "token 1 has no score");
    let mut long = sentence_piece(vec![0.0; 4]);
    long.tokens[2] = "a".repeat(1 << 20);
    refused(&long, "token 2 has 1048576 bytes");
}

#[test]
fn nothing_at_all_is_a_tokenizer_that_gives_nothing() {
    let empty = Vocabulary { tokens: Vec::new(), types: Vec::new(), ..byte_level() };
    refused(&empty, "merge 0");
    let kind = VocabularyKind::ByteLevel { pre: "gpt-2".to_owned(), merges: Vec::new() };
    let tokenizer = Vocabulary { kind, ..empty }.tokenizer().unwrap();
    assert!(tokenizer.encode("ab").unwrap().is_empty());
    // Infinite scores, tokens without text, and an unused row with the text of another.
    let mut odd = sentence_piece(vec![f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0]);
    odd.tokens[0] = String::new();
    odd.tokens[1] = "ab".to_owned();
    odd.types[1] = TokenType::Unused;
    odd.tokenizer().unwrap().encode("ab").unwrap();
}

#[test]
fn a_tokenizer_file_whose_merges_overflow_is_refused() {
    let model = |merges: Value, prefix: &str| {
        json!({"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2},
            "merges": merges, "continuing_subword_prefix": prefix}})
        .to_string()
    };
    assert!(Tokenizer::from_json(&model(json!([["a", "b"]]), "")).is_ok());
    for (merges, prefix) in
        [(json!([["ab", "ab"]]), ""), (json!(["ab ab"]), ""), (json!([["a", "b"]]), "####")]
    {
        let error = Tokenizer::from_json(&model(merges, prefix)).err().unwrap().to_string();
        assert!(error.contains("merge 0"), "{error}");
    }
}

#[test]
fn ids_of_a_published_tokenizer_must_fit_the_embedding() {
    let json = read("tests/models/tiny-gpt2/tokenizer.json");
    let error = Vocabulary::from_json(&json, 2000, None).unwrap_err().to_string();
    assert!(error.contains("past the 2000 rows"), "{error}");
    let mut json: Value = serde_json::from_str(&json).unwrap();
    json["added_tokens"][0]["content"] = json!("other");
    let error = Vocabulary::from_json(&json.to_string(), 2048, None).unwrap_err().to_string();
    assert!(error.contains("id 0 is both"), "{error}");
    json["model"]["vocab"]["other"] = json!(5);
    assert!(Vocabulary::from_json(&json.to_string(), 2048, None).is_err());
}

/// The fuzz target for tokenizers found one: 44 MB for an id of eight digits, and 16 GB for ten.
#[test]
fn ids_that_are_far_apart_are_not_written_out() {
    let json: Value = serde_json::from_str(&read("tests/models/tiny-gpt2/tokenizer.json")).unwrap();
    for id in [11_111_114, u32::MAX - 1, u32::MAX] {
        let mut far = json.clone();
        far["model"]["vocab"]["far"] = json!(id);
        let words = json!({"type": "WordLevel", "vocab": {"a": 0, "far": id}, "unk_token": "a"});
        let mut far_words = json.clone();
        far_words["model"] = words;
        for json in [far, far_words] {
            let tokenizer = Tokenizer::from_json(&json.to_string()).unwrap();
            let error = tokenizer.to_json().unwrap_err().to_string();
            assert!(error.contains(&format!("go up to {id}")), "{error}");
        }
    }
    let mut near = json;
    near["model"]["vocab"]["near"] = json!(100_000);
    Tokenizer::from_json(&near.to_string()).unwrap().to_json().unwrap();
}

/// What the `tokenizers` crate panics on, when it reads it or when it is used.
#[test]
fn tokenizers_that_the_crate_does_not_survive_are_refused() {
    let json: Value = serde_json::from_str(&read("tests/models/tiny-gpt2/tokenizer.json")).unwrap();
    let with = |key: &str, value: Value| {
        let mut json = json.clone();
        json[key] = value;
        Tokenizer::from_json(&json.to_string())
    };
    let zero = with("pre_tokenizer", json!({"type": "FixedLength", "length": 0})).unwrap();
    assert_eq!(zero.encode("ab").unwrap_err().to_string(), contradiction());
    for (start, stop) in [(0, usize::MAX), (9, 9)] {
        let strip = json!({"type": "Strip", "content": "a", "start": start, "stop": stop});
        let strip = with("decoder", strip).unwrap();
        let tokens = strip.encode("a").unwrap();
        assert_eq!(strip.decode(&tokens).unwrap_err().to_string(), contradiction());
        let mut stream = strip.stream();
        assert!(
            tokens.iter().any(|token| stream.push(*token).is_err()) || stream.finish().is_err()
        );
    }
    for decoder in [json!(5), json!([]), json!({"type": 1}), json!({"type": "Sequence"})] {
        assert!(with("decoder", decoder.clone()).is_err(), "{decoder}");
    }
    // 2^32 - 4 bytes of a table that has none.
    let table = json!({"type": "Precompiled", "precompiled_charsmap": "/P///w=="});
    let error = with("normalizer", table.clone()).err().unwrap().to_string();
    assert!(error.contains("precompiled table"), "{error}");
    let steps = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, table]}).to_string();
    let key = "\"normalizer\":";
    for other in [
        steps.replace("precompiled", "pr\\u0065compiled"),
        format!("{steps},{key}null"),
        format!("null,{key}{steps}"),
    ] {
        let hidden = json.to_string().replace("\"normalizer\":null", &format!("{key}{other}"));
        assert!(hidden.contains("charsmap"));
        let error = Tokenizer::from_json(&hidden).err().unwrap().to_string();
        assert!(error.contains("precompiled table"), "{error}");
    }
    // It can be used again after it failed.
    assert_eq!(Tokenizer::from_json(&json.to_string()).unwrap().encode("a").unwrap().len(), 1);
}

fn contradiction() -> String {
    TokenError::Contradiction.to_string()
}
