//! What can be wrong with a tokenizer.

/// A tokenizer that could not be loaded, or failed on its input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a `tokenizer.json` that the `tokenizers` crate reads.
    #[error("tokenizer: {0}")]
    Load(tokenizers::Error),
    /// A tokenizer on which the `tokenizers` crate panics.
    #[error("tokenizer: it contradicts itself; the `tokenizers` crate does not survive it")]
    Contradiction,
    /// A tokenizer that cannot be carried over to another format.
    #[error("tokenizer: {0}")]
    Unsupported(&'static str),
    /// No split of this name.
    #[error("tokenizer: no split is named {name:?} (known: {known})")]
    UnknownPre {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A split that is not in the table.
    #[error(
        "tokenizer: it splits text in a way that no name in GGUF stands for; --pre NAME decides (known: {known})"
    )]
    UnknownSplit {
        /// Names of those that are.
        known: String,
    },
    /// What GGUF stores would give other tokens.
    #[error("tokenizer: GGUF cannot express it: {text:?} would have other tokens")]
    Differs {
        /// The text.
        text: String,
    },
    /// A list that does not belong to the tokens.
    #[error("tokenizer: {found} {what} for {tokens} tokens")]
    Length {
        /// What is listed.
        what: &'static str,
        /// Length of the list.
        found: usize,
        /// Number of tokens.
        tokens: usize,
    },
    /// A token with two ids.
    #[error("tokenizer: token {token:?} occurs twice, as {} and {}", ids[0], ids[1])]
    Twice {
        /// The token.
        token: String,
        /// Its ids.
        ids: [u32; 2],
    },
    /// An id of two tokens.
    #[error("tokenizer: id {id} is both {:?} and {:?}", tokens[0], tokens[1])]
    OneId {
        /// The id.
        id: u32,
        /// The tokens.
        tokens: [String; 2],
    },
    /// A token past the rows of the embedding.
    #[error("tokenizer: it has a token {id}, past the {rows} rows of the embedding")]
    Rows {
        /// The id.
        id: u32,
        /// Rows.
        rows: usize,
    },
    /// A token that has a role and does not exist.
    #[error("tokenizer: {role} is token {id} of {count}")]
    Role {
        /// The role.
        role: &'static str,
        /// The id.
        id: u32,
        /// Number of tokens.
        count: usize,
    },
    /// A token that is to be added to texts and is not named.
    #[error("tokenizer: it adds {role} to texts and does not say which token that is")]
    NoRole {
        /// The role.
        role: &'static str,
    },
    /// Ids that are far apart.
    #[error("tokenizer: the ids of {count} tokens go up to {id}, too far to be written out")]
    Sparse {
        /// The largest id.
        id: u32,
        /// Number of tokens.
        count: usize,
    },
    /// A merge of tokens that are not there.
    #[error("tokenizer: merge {index}, {merge:?}, is not two tokens that make a third")]
    Merge {
        /// Where it stands.
        index: usize,
        /// The merge.
        merge: String,
    },
    /// A token without a score.
    #[error("tokenizer: token {id} has no score that is a number")]
    Score {
        /// Its id.
        id: u32,
    },
    /// A token that is too long to be merged.
    #[error("tokenizer: token {id} has {bytes} bytes, at most {limit} are supported")]
    LongToken {
        /// Its id.
        id: u32,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A chat template that gives no text.
    #[error("chat template: {0}")]
    Chat(#[from] crate::ChatError),
    /// The tokenizer refused a text.
    #[error("text could not be tokenized: {0}")]
    Encode(tokenizers::Error),
    /// The tokenizer refused tokens.
    #[error("tokens could not be decoded: {0}")]
    Decode(tokenizers::Error),
}
