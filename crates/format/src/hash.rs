//! XXH3-128: the digest of tensors and of seals.

use serde::{Serialize, Serializer};
use std::fmt;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// An XXH3-128 digest. It finds damage; it is no protection against a forger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash128(pub u128);

impl Hash128 {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }

    /// The digest of these parts, one after the other.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Hasher128::default();
        for part in parts {
            hasher.update(part);
        }
        hasher.digest()
    }
}

/// The digest of bytes that come in parts.
#[derive(Default)]
pub struct Hasher128(Box<Xxh3>);

impl Hasher128 {
    /// Takes the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The digest of all parts so far.
    #[must_use]
    pub fn digest(&self) -> Hash128 {
        Hash128(self.0.digest128())
    }
}

impl fmt::Display for Hash128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Hash128 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
