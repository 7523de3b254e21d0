//! Why a model cannot be had: the cause and what to do. The caller names the model.

use std::io;
use std::path::{Path, PathBuf};

/// A name that cannot be resolved, a transfer or a change of the cache that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not a name.
    #[error("expected hf://ORG/NAME or hf://ORG/NAME@REVISION")]
    Name,
    /// There is no place for the cache.
    #[error("no home folder for the cache; set HF_HUB_CACHE")]
    NoHome,
    /// The endpoint is no address.
    #[error("HF_ENDPOINT is {0:?}; expected http://HOST or https://HOST")]
    Endpoint(String),
    /// The cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Nothing there, and the network is forbidden.
    #[error(
        "revision {revision} is not in the cache ({}), and HF_HUB_OFFLINE forbids fetching it",
        folder.display()
    )]
    Offline {
        /// The revision.
        revision: String,
        /// Where it would be.
        folder: PathBuf,
    },
    /// Nothing there that could be removed.
    #[error("revision {revision} is not in the cache ({})", folder.display())]
    NotCached {
        /// The revision.
        revision: String,
        /// Where it would be.
        folder: PathBuf,
    },
    /// The hub says no.
    #[error("{url}: HTTP {status}: {advice}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The status of its answer.
        status: u16,
        /// What it means and what to do.
        advice: &'static str,
    },
    /// The hub does not answer, even after several attempts.
    #[error(
        "{url}: {cause}; gave up after {attempts} attempts. What has arrived is kept: the same command continues it"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The last failure.
        cause: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The hub asks for more patience than anyone has.
    #[error("{url}: {cause}; the hub asks to wait {seconds} s. Try again then, or set HF_TOKEN")]
    Busy {
        /// What was asked for.
        url: String,
        /// The failure.
        cause: String,
        /// How long to wait.
        seconds: u64,
    },
    /// An answer that makes no sense.
    #[error("{url}: {cause}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// A name that could lead out of the cache.
    #[error("the hub names a {what} {name:?}; refused, as it is no plain name")]
    UnsafeName {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A file that is not the one that the hub describes.
    #[error(
        "{file}: {kind} is {found}, but the hub says {expected}; the download was discarded and the cache is unchanged"
    )]
    Digest {
        /// The file.
        file: String,
        /// Kind of digest.
        kind: &'static str,
        /// What the hub says.
        expected: String,
        /// What arrived.
        found: String,
    },
    /// A file that is longer than the hub says.
    #[error(
        "{file}: more than the {expected} bytes that the hub says; the download was discarded and the cache is unchanged"
    )]
    TooLong {
        /// The file.
        file: String,
        /// Its size according to the hub.
        expected: u64,
    },
    /// Nothing to run.
    #[error("no SafeTensors, GGUF or .apr weights in the main folder; it has {found}")]
    NoWeights {
        /// What is there.
        found: String,
    },
    /// Several models in one repository.
    #[error("several models: {files}; choose one with `apr pull {name} --file NAME`")]
    Choose {
        /// As the hub calls it.
        name: String,
        /// Their files.
        files: String,
    },
    /// Several models in the cache.
    #[error("several models in {}: {files}; give the path of one", folder.display())]
    SeveralCached {
        /// Where they are.
        folder: PathBuf,
        /// Their files.
        files: String,
    },
    /// No file of this name.
    #[error("no weight file is called {wanted:?}; there are {files}")]
    NoSuchFile {
        /// What was asked for.
        wanted: String,
        /// What there is.
        files: String,
    },
}

impl HubError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn answer(url: &str, cause: impl ToString) -> Self {
        Self::Answer { url: url.to_owned(), cause: cause.to_string() }
    }
}
