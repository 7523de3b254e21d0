//! Names of models, and which names may become paths.

use crate::HubError;
use std::fmt;
use std::path::Path;

const SCHEME: &str = "hf://";
/// The branch that is meant when none is named.
pub(crate) const MAIN: &str = "main";

/// A model of the hub: `hf://ORG/NAME[@REVISION]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    org: String,
    name: String,
    revision: Option<String>,
}

impl ModelName {
    /// Whether this is meant as the name of a model, and not as a path.
    #[must_use]
    pub fn is_meant(source: &Path) -> bool {
        source.to_str().is_some_and(|source| source.starts_with(SCHEME))
    }

    /// Reads `hf://ORG/NAME` or `hf://ORG/NAME@REVISION`. A revision is a branch, a tag or a
    /// commit.
    ///
    /// # Errors
    /// When it is not such a name, or could lead out of the cache.
    pub fn parse(source: &str) -> Result<Self, HubError> {
        let name = source.strip_prefix(SCHEME).ok_or(HubError::Name)?;
        let (repo, revision) = match name.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision.to_owned())),
            None => (name, None),
        };
        let (org, name) = repo.split_once('/').ok_or(HubError::Name)?;
        let revision_is_plain = revision.iter().all(|revision| revision.split('/').all(is_plain));
        if !is_plain(org) || !is_plain(name) || !revision_is_plain {
            return Err(HubError::Name);
        }
        Ok(Self { org: org.to_owned(), name: name.to_owned(), revision })
    }

    pub(crate) fn cached(org: &str, name: &str, revision: Option<String>) -> Self {
        Self { org: org.to_owned(), name: name.to_owned(), revision }
    }

    /// The organisation or user.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.org
    }

    /// The name within the organisation.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ORG/NAME`.
    #[must_use]
    pub fn repo(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }

    /// The revision that was asked for, if one was.
    #[must_use]
    pub fn asked_revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The revision that was asked for, else `main`.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.asked_revision().unwrap_or(MAIN)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.org, self.name)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// Whether a name, joined to a folder, is an entry of that folder on every system.
pub(crate) fn is_plain(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    !name.is_empty() && name != "." && name != ".." && !name.contains(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for source in ["hf://org/name", "hf://a-b.c/d_e@v1.0", "hf://org/name@refs/pr/1"] {
            assert_eq!(ModelName::parse(source).unwrap().to_string(), source);
        }
        let name = ModelName::parse("hf://org/name").unwrap();
        assert_eq!((name.revision(), name.asked_revision()), ("main", None));
        let name = ModelName::parse("hf://org/name@v2").unwrap();
        assert_eq!((name.repo().as_str(), name.revision()), ("org/name", "v2"));
    }

    #[test]
    fn names_that_are_no_plain_names_are_refused() {
        for source in [
            "org/name",
            "hf://",
            "hf://name",
            "hf://org/",
            "hf:///name",
            "hf://../name",
            "hf://org/..",
            "hf://org/name/deeper",
            "hf://org\\x/name",
            "hf://org/na\0me",
            "hf://org/name@",
            "hf://org/name@../main",
            "hf://org/name@a//b",
            "hf://org/name@/etc",
        ] {
            assert!(matches!(ModelName::parse(source), Err(HubError::Name)), "{source:?}");
        }
    }
}
