//! Calls into the `tokenizers` crate. It panics on some tokenizers that contradict themselves: pieces
//! of length zero, a decoder that strips more than a token has. These are the file's fault, and
//! become errors here.

use crate::TokenError;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is about to be caught and told as an error, so that a hook has
/// nothing to report.
#[must_use]
pub fn panic_is_told() -> bool {
    GUARDED.get()
}

/// What the call gives, or that it panicked.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, TokenError>) -> Result<T, TokenError> {
    let before = GUARDED.replace(true);
    // Nothing is used again that a panic could leave half done: the tokenizer is only read, and
    // its cache is one that may miss.
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(before);
    result.unwrap_or(Err(TokenError::Contradiction))
}
