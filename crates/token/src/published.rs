//! From a `tokenizer.json` to what a GGUF file says.

use crate::file::{Added, File, Merge};
use crate::guard::guarded;
use crate::pipeline::Pipeline;
use crate::sentence_piece::{SpacePrefix, byte_of, scores_of_merges};
use crate::split::Split;
use crate::{SpecialTokens, TokenError, TokenType, Tokenizer, Vocabulary, VocabularyKind, probe};
use std::collections::{BTreeMap, BTreeSet};
use tokenizers::models::bpe::BPE;
use tokenizers::{Model, ModelWrapper};

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
        guarded(|| Self::read(json, rows, pre))
    }

    fn read(json: &str, rows: usize, pre: Option<&str>) -> Result<Self, TokenError> {
        let published = Tokenizer::from_json(json)?;
        let bpe = bpe(&published)?;
        let file = File::parse(json)?;
        let merges = lines(&file);
        let ids = |strip: fn(&Added<'_>) -> bool| {
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
                let scores = scores_of_merges(&tokens, &file.model.merges);
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
    fn keep_merges(&mut self, own: &Tokenizer, file: &File<'_>) -> Result<(), TokenError> {
        let VocabularyKind::SentencePiece { merges, .. } = &mut self.kind else { return Ok(()) };
        let own = own.to_json()?;
        let own = File::parse(&own)?;
        let published = lines(file);
        if lines(&own) != published {
            *merges = published;
        }
        Ok(())
    }
}

/// Merges as GGUF lists them.
fn lines(file: &File<'_>) -> Vec<String> {
    file.model.merges.iter().map(|Merge(left, right)| format!("{left} {right}")).collect()
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
    file: &File<'_>,
    byte_fallback: bool,
    unk: Option<u32>,
    rows: usize,
) -> Result<(Vec<String>, Vec<TokenType>), TokenError> {
    let mut by_id: BTreeMap<u32, (&str, TokenType)> = BTreeMap::new();
    for (token, id) in &file.model.vocab.0 {
        let byte = byte_fallback && byte_of(token).is_some();
        let kind = if byte { TokenType::Byte } else { TokenType::Normal };
        put(&mut by_id, *id, token, kind)?;
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
