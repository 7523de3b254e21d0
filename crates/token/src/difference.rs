//! Whether two tokenizers have the same tokens.

use crate::Tokenizer;
use std::collections::BTreeMap;
use std::fmt;

/// The first token that is not the same in two vocabularies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its id.
    pub id: u32,
    /// Its text in each; none where there is no such token.
    pub texts: [Option<String>; 2],
}

impl Tokenizer {
    /// The first token that is another one in `other`; none if every id has the same text in both.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let [own, others] = [self, other].map(|tokenizer| tokenizer.inner.get_vocab(true));
        if own == others {
            return None;
        }
        let by_id = |vocab: std::collections::HashMap<String, u32>| {
            vocab.into_iter().map(|(text, id)| (id, text)).collect::<BTreeMap<_, _>>()
        };
        let (own, others) = (by_id(own.into_iter().collect()), by_id(others.into_iter().collect()));
        let ids = own.keys().chain(others.keys()).copied();
        let id = ids.filter(|id| own.get(id) != others.get(id)).min()?;
        Some(Difference { id, texts: [own.get(&id).cloned(), others.get(&id).cloned()] })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &Option<String>| match text {
            Some(text) => format!("{text:?}"),
            None => "no token".to_owned(),
        };
        let [here, there] = self.texts.each_ref().map(text);
        write!(f, "token {} is {here} here and {there} there", self.id)
    }
}

#[cfg(test)]
mod tests {
    use crate::Tokenizer;
    use serde_json::json;

    fn tokenizer(vocab: serde_json::Value) -> Tokenizer {
        let model = json!({"type": "BPE", "vocab": vocab, "merges": []});
        Tokenizer::from_json(&json!({"version": "1.0", "model": model}).to_string()).unwrap()
    }

    #[test]
    fn the_first_token_that_differs_is_named() {
        let one = tokenizer(json!({"a": 0, "b": 1, "c": 2}));
        assert!(one.difference(&tokenizer(json!({"c": 2, "b": 1, "a": 0}))).is_none());
        let other = one.difference(&tokenizer(json!({"a": 0, "x": 1, "y": 2}))).unwrap();
        assert_eq!(other.to_string(), "token 1 is \"b\" here and \"x\" there");
        let fewer = one.difference(&tokenizer(json!({"a": 0, "b": 1}))).unwrap();
        assert_eq!(fewer.to_string(), "token 2 is \"c\" here and no token there");
        let more = tokenizer(json!({"a": 0, "b": 1})).difference(&one).unwrap();
        assert_eq!((more.id, more.texts), (2, [None, Some("c".to_owned())]));
    }
}
