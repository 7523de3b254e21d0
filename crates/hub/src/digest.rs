//! The digests by which the hub names contents: SHA-256 of large files, Git's object name of the
//! others. They are the names of the blobs in the cache.

use crate::{HubError, Observer, Stage};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const BUFFER: usize = 1 << 20;

/// A digest that a file must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Digest {
    /// SHA-256 of the content, in lower-case hexadecimal.
    Sha256(String),
    /// SHA-1 of `blob LENGTH\0` and the content: the name that Git gives to it.
    GitBlob(String),
}

impl Digest {
    /// Reads a digest as the hub writes it, as an `ETag` too. None if it is of no known kind.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"').to_ascii_lowercase();
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.len() {
            64 if is_hex => Some(Self::Sha256(text)),
            40 if is_hex => Some(Self::GitBlob(text)),
            _ => None,
        }
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits,
        }
    }

    /// What it is called.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::GitBlob(_) => "Git's SHA-1",
        }
    }

    /// The digest of this kind of a file of `size` bytes, in digits.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn of_file(
        &self,
        path: &Path,
        size: u64,
        observer: &dyn Observer,
    ) -> Result<String, HubError> {
        match self {
            Self::Sha256(_) => hash(Sha256::new(), path, size, observer),
            Self::GitBlob(_) => {
                let prefix = format!("blob {size}\0");
                hash(Sha1::new_with_prefix(prefix), path, size, observer)
            }
        }
    }
}

fn hash<D: sha2::Digest>(
    mut state: D,
    path: &Path,
    size: u64,
    observer: &dyn Observer,
) -> Result<String, HubError> {
    let mut file = File::open(path).map_err(HubError::io(path))?;
    let mut buffer = vec![0; BUFFER];
    observer.begin(Stage::Check, size);
    loop {
        let read = file.read(&mut buffer).map_err(HubError::io(path))?;
        if read == 0 {
            break;
        }
        state.update(&buffer[..read]);
        observer.advance(u64::try_from(read).unwrap_or(u64::MAX));
    }
    observer.end();
    Ok(state.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn digests_are_those_of_git_and_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "hello\n").unwrap();
        let of = |digits: &str| Digest::parse(digits).unwrap().of_file(&path, 6, &()).unwrap();
        // `git hash-object` and `sha256sum` of "hello\n"
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(of(git), git);
        assert_eq!(of(sha256), sha256);
    }

    #[test]
    fn only_digests_are_digests() {
        let digits = "ABCDEF0123456789".repeat(4);
        assert_eq!(
            Digest::parse(&format!("W/\"{digits}\"")).unwrap().as_str(),
            digits.to_lowercase()
        );
        for text in ["", "\"\"", "../../etc/passwd", &"g".repeat(40), &"a".repeat(41)] {
            assert_eq!(Digest::parse(text), None, "{text:?}");
        }
    }
}
