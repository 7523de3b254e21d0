//! From a `tokenizer.json` to what a GGUF file says.

use crate::pipeline::Pipeline;
use crate::sentence_piece::{SpacePrefix, byte_of, scores_of_merges};
use crate::split::Split;
use crate::{SpecialTokens, TokenError, TokenType, Tokenizer, Vocabulary, VocabularyKind, probe};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tokenizers::models::bpe::{BPE, Merges};
use tokenizers::{Model, ModelWrapper};

/// The parts of a `tokenizer.json` that the `tokenizers` crate does not hand out.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Bpe,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Deserialize)]
struct Bpe {
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
}

/// Newer files list the two parts, older ones put a space between them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Parts(String, String),
    Line(String),
}

impl Vocabulary {
    /// The vocabulary of a `tokenizer.json`, padded with unused tokens to the rows of the
    /// embedding.
    ///
    /// What the tokenizer does decides: its split is the one in llama.cpp's list that makes the
    /// same pieces of texts on which all of them differ, and the vocabulary must give the same
    /// tokens of these texts. `pre`, a name of that list, decides instead where it is given.
    ///
    /// # Errors
    /// When it is no BPE, does what GGUF cannot express, has more tokens than the embedding has
    /// rows, or `pre` is unknown.
    pub fn from_json(json: &str, rows: usize, pre: Option<&str>) -> Result<Self, TokenError> {
        let published = Tokenizer::from_json(json)?;
        let bpe = bpe(&published)?;
        let file = parse(json)?;
        let merges: Vec<String> = file.model.merges.iter().map(Merge::line).collect();
        let ids = |strip: fn(&Added) -> bool| {
            let mut ids: Vec<u32> = file
                .added_tokens
                .iter()
                .filter(|added| strip(added))
                .map(|added| added.id)
                .collect();
            ids.sort_unstable();
            ids
        };
        let (left_strip, right_strip) = (ids(|added| added.lstrip), ids(|added| added.rstrip));
        let mut special = around(&published)?;
        special.unk = bpe.unk_token.as_ref().and_then(|token| published.inner.token_to_id(token));
        let (tokens, types) = rows_of(&file, bpe.byte_fallback, special.unk, rows)?;
        let kind = match pre {
            Some(name) if !bpe.byte_fallback => {
                Split::named(name)?;
                VocabularyKind::ByteLevel { pre: name.to_owned(), merges }
            }
            Some(_) => {
                return Err(TokenError::Unsupported("only byte-level BPE has splits to name"));
            }
            None if bpe.byte_fallback => {
                let prefix = SpacePrefix::recognise(&published.pipeline())?;
                let pairs: Merges = file.model.merges.iter().map(Merge::pair).collect();
                let scores = scores_of_merges(&tokens, &pairs);
                VocabularyKind::SentencePiece { scores, merges: Vec::new(), prefix }
            }
            None => {
                let split = recognise(&published, bpe)?;
                VocabularyKind::ByteLevel { pre: split.to_owned(), merges }
            }
        };
        let mut vocabulary = Self { tokens, types, kind, special, left_strip, right_strip };
        let own = vocabulary.tokenizer()?;
        if pre.is_none() {
            own.check_against(&published)?;
        }
        vocabulary.keep_merges(&own, &file)?;
        Ok(vocabulary)
    }

    /// Scores say which token is made first, and nothing about which of two ways to make it.
    /// Where that differs, the published merges are kept beside them.
    fn keep_merges(&mut self, own: &Tokenizer, file: &File) -> Result<(), TokenError> {
        let VocabularyKind::SentencePiece { merges, .. } = &mut self.kind else { return Ok(()) };
        let own: File = parse(&own.to_json()?)?;
        let lines = |file: &File| file.model.merges.iter().map(Merge::line).collect::<Vec<_>>();
        let published = lines(file);
        if lines(&own) != published {
            *merges = published;
        }
        Ok(())
    }
}

/// That the merges of a text are what the `tokenizers` crate relies on: none makes a token longer
/// than all tokens, and the second part has the prefix of continuations.
///
/// # Errors
/// When one does. What else is wrong with a text, its reader says.
pub(crate) fn check_merges(json: &str) -> Result<(), TokenError> {
    let Ok(file) = parse(json) else { return Ok(()) };
    let prefix = file.model.continuing_subword_prefix.as_deref().unwrap_or_default();
    let longest = file.model.vocab.keys().map(String::len).max().unwrap_or_default();
    for (index, merge) in file.model.merges.iter().enumerate() {
        let (left, right) = merge.pair();
        let rest = right.strip_prefix(prefix).map(str::len);
        if rest.is_none_or(|rest| left.len().saturating_add(rest) > longest) {
            return Err(TokenError::Merge { index, merge: merge.line() });
        }
    }
    Ok(())
}

fn parse(json: &str) -> Result<File, TokenError> {
    serde_json::from_str(json).map_err(|error| TokenError::Load(error.into()))
}

impl Tokenizer {
    /// That the probe texts have the tokens that the published tokenizer gives them.
    fn check_against(&self, published: &Self) -> Result<(), TokenError> {
        for text in probe::TEXTS {
            if self.encode(text)? != published.encode(text)? {
                return Err(TokenError::Differs { text: (*text).to_owned() });
            }
        }
        Ok(())
    }

    fn pipeline(&self) -> Pipeline {
        Pipeline {
            normalizer: self.inner.get_normalizer().cloned(),
            pre_tokenizer: self.inner.get_pre_tokenizer().cloned(),
        }
    }
}

impl Merge {
    fn line(&self) -> String {
        match self {
            Self::Parts(left, right) => format!("{left} {right}"),
            Self::Line(line) => line.clone(),
        }
    }

    fn pair(&self) -> (String, String) {
        match self {
            Self::Parts(left, right) => (left.clone(), right.clone()),
            Self::Line(line) => {
                let (left, right) = line.split_once(' ').unwrap_or((line, ""));
                (left.to_owned(), right.to_owned())
            }
        }
    }
}

/// The BPE of a tokenizer, if it has no feature that GGUF lacks.
fn bpe(published: &Tokenizer) -> Result<&BPE, TokenError> {
    let ModelWrapper::BPE(bpe) = published.inner.get_model() else {
        return Err(TokenError::Unsupported("it is no BPE"));
    };
    let empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    let plain = empty(&bpe.continuing_subword_prefix) && empty(&bpe.end_of_word_suffix);
    if !plain || bpe.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(TokenError::Unsupported(
            "its BPE has prefixes, suffixes or dropout, which GGUF cannot express",
        ));
    }
    Ok(bpe)
}

/// The name of the split of a byte-level BPE.
fn recognise(published: &Tokenizer, bpe: &BPE) -> Result<&'static str, TokenError> {
    let same_merges =
        |ignore: bool| ignore == bpe.ignore_merges || merges_reach_all(published, bpe);
    let split = Split::recognise(&published.pipeline(), &same_merges)?;
    Ok(split.names.first().copied().unwrap_or_default())
}

/// Whether merging gives every token that a whole piece can be; then it does not matter
/// whether pieces are looked up first.
fn merges_reach_all(published: &Tokenizer, bpe: &BPE) -> bool {
    let mut merging = bpe.clone();
    merging.ignore_merges = false;
    // Added tokens never reach the merges.
    let added = published.inner.get_added_tokens_decoder();
    let vocab: BTreeMap<String, u32> = bpe.get_vocab().into_iter().collect();
    vocab.iter().filter(|(_, id)| !added.contains_key(id)).all(|(token, id)| {
        let tokens = merging.tokenize(token).unwrap_or_default();
        matches!(tokens.as_slice(), [one] if one.id == *id)
    })
}

/// What the tokenizer puts around a text.
fn around(published: &Tokenizer) -> Result<SpecialTokens, TokenError> {
    const OTHER: TokenError =
        TokenError::Unsupported("it adds more to a text than one BOS and one EOS token");
    let encode =
        |special: bool| published.inner.encode_fast("a", special).map_err(TokenError::Encode);
    let (with, without) = (encode(true)?, encode(false)?);
    let (with, without) = (with.get_ids(), without.get_ids());
    let at = with.windows(without.len().max(1)).position(|window| window == without);
    let (before, rest) = with.split_at_checked(at.unwrap_or_default()).ok_or(OTHER)?;
    let after = rest.get(without.len()..).unwrap_or_default();
    let one = |tokens: &[u32]| match tokens {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        _ => Err(OTHER),
    };
    let (bos, eos) = (one(before)?, one(after)?);
    Ok(SpecialTokens {
        bos,
        eos,
        unk: None,
        pad: None,
        add_bos: bos.is_some(),
        add_eos: eos.is_some(),
    })
}

/// Tokens and types of all rows.
fn rows_of(
    file: &File,
    byte_fallback: bool,
    unk: Option<u32>,
    rows: usize,
) -> Result<(Vec<String>, Vec<TokenType>), TokenError> {
    let mut by_id: BTreeMap<u32, (&str, TokenType)> = BTreeMap::new();
    for (token, &id) in &file.model.vocab {
        let byte = byte_fallback && byte_of(token).is_some();
        let kind = if byte { TokenType::Byte } else { TokenType::Normal };
        put(&mut by_id, id, token, kind)?;
    }
    for Added { id, content, special, .. } in &file.added_tokens {
        let kind = if *special { TokenType::Control } else { TokenType::UserDefined };
        put(&mut by_id, *id, content, kind)?;
    }
    let unk = unk.filter(|_| byte_fallback);
    if let Some((_, kind)) = unk.and_then(|id| by_id.get_mut(&id)) {
        *kind = TokenType::Unknown;
    }
    if let Some(&id) = by_id.keys().next_back()
        && usize::try_from(id).map_or(true, |id| id >= rows)
    {
        return Err(TokenError::Rows { id, rows });
    }
    let taken: BTreeSet<&str> = by_id.values().map(|(token, _)| *token).collect();
    let pad = |id: usize| {
        let mut text = format!("[PAD{id}]");
        while taken.contains(text.as_str()) {
            text = format!("[{text}]");
        }
        (text, TokenType::Unused)
    };
    let row = |id: usize| {
        let known = u32::try_from(id).ok().and_then(|id| by_id.get(&id));
        known.map_or_else(|| pad(id), |(token, kind)| ((*token).to_owned(), *kind))
    };
    Ok((0..rows).map(row).unzip())
}

/// Two different tokens with the same id leave one of them without a row.
fn put<'a>(
    by_id: &mut BTreeMap<u32, (&'a str, TokenType)>,
    id: u32,
    token: &'a str,
    kind: TokenType,
) -> Result<(), TokenError> {
    match by_id.insert(id, (token, kind)) {
        Some((other, _)) if other != token => {
            Err(TokenError::OneId { id, tokens: [other.to_owned(), token.to_owned()] })
        }
        _ => Ok(()),
    }
}
