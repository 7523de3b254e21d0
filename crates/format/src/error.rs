//! What can be wrong with a file: which file, which tensor, what was expected and found.

use apr_tensor::TensorError;
use std::io;
use std::path::{Path, PathBuf};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The content is of no known format.
    #[error("{}: not a model file (neither .apr, GGUF nor SafeTensors)", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A folder without weights.
    #[error("{}: no model.safetensors and no model.safetensors.index.json in this folder", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A link of a model's folder that leads out of it.
    #[error("{}: a link to {}, out of its folder: put the file itself here, or name it", path.display(), target.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The target of a conversion cannot be replaced by a file.
    #[error("{}: exists and is no regular file; choose another output", path.display())]
    NotAFile {
        /// The target.
        path: PathBuf,
    },
    /// Another process wrote to a file while it was in use.
    #[error("{}: changed while it was read; nothing that was computed from it counts: try again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the target in work.
    #[error("{}: another process is writing this file; wait for it, or choose another output", path.display())]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// The content breaks a rule of its format.
    #[error("{}: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The rule and what broke it.
        #[source]
        cause: Malformed,
    },
}

impl FormatError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn malformed(path: &Path) -> impl FnOnce(Malformed) -> Self {
        move |cause| Self::Malformed { path: path.to_path_buf(), cause }
    }

    /// The tensor at fault, if one is.
    #[must_use]
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::Malformed { cause, .. } => cause.tensor(),
            Self::Io { .. }
            | Self::UnknownFormat { .. }
            | Self::NoWeights { .. }
            | Self::Link { .. }
            | Self::NotAFile { .. }
            | Self::Changed { .. }
            | Self::Busy { .. } => None,
        }
    }
}

/// A broken rule of a format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Nothing at all.
    #[error("the file is empty")]
    Empty,
    /// The file ends before something that it declares.
    #[error("{what} needs {needed} bytes, the file has {found}: it is truncated or not a model")]
    Truncated {
        /// What does not fit.
        what: &'static str,
        /// Bytes from the start of the file that it needs.
        needed: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// Bytes that nothing accounts for.
    #[error("{found} bytes where the header accounts for {expected}")]
    TrailingBytes {
        /// Size that follows from the header.
        expected: u64,
        /// Size of the file.
        found: u64,
    },
    /// A header beyond any model's.
    #[error("{what} of {len} bytes, at most {limit} are read")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its declared size.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// Lists that would take more memory than a file of this size can justify.
    #[error(
        "{count} {what}: more than {limit} bytes of memory, which a header of this size does not justify"
    )]
    Memory {
        /// What is listed.
        what: &'static str,
        /// How many the header declares.
        count: u64,
        /// Memory that all its lists may take.
        limit: u64,
    },
    /// Not the JSON that belongs there.
    #[error("{what}: {source}")]
    Json {
        /// Which part.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An entry of the header that is not what the format asks for.
    #[error("tensor {tensor:?}: {source}")]
    Entry {
        /// The tensor.
        tensor: String,
        /// Where in the entry and why.
        source: serde_json::Error,
    },
    /// A key of the metadata that repeats or has an impossible value.
    #[error("key {key:?} {cause}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("the text at byte {at} is not UTF-8")]
    Text {
        /// Where it begins.
        at: u64,
    },
    /// A version that this program does not read.
    #[error(".apr version {found}, this program reads version {expected}")]
    Version {
        /// Version read.
        expected: u32,
        /// Version of the file.
        found: u32,
    },
    /// The header's checksum differs.
    #[error("header checksum is {found:08x}, its bytes give {expected:08x}: the header is damaged")]
    HeaderChecksum {
        /// CRC-32 of the bytes.
        expected: u32,
        /// CRC-32 that is stored.
        found: u32,
    },
    /// The seal over header, metadata and index differs.
    #[error("seal is {found}, header, metadata and index give {expected}: the file is damaged")]
    Seal {
        /// Digest of the bytes.
        expected: crate::Hash128,
        /// Digest that is stored.
        found: crate::Hash128,
    },
    /// A field that must be zero or aligned is not.
    #[error("{what} is {found}, expected {expected}")]
    Field {
        /// Which field.
        what: &'static str,
        /// What the format asks for.
        expected: &'static str,
        /// What is there.
        found: u64,
    },
    /// A type number or name that the table of types does not have.
    #[error("tensor {tensor:?}: unknown type {dtype}")]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// Number or name of the type.
        dtype: String,
    },
    /// The same name twice, or names out of order.
    #[error("tensor {tensor:?}: {cause}")]
    Name {
        /// The tensor.
        tensor: String,
        /// What is wrong with the name.
        cause: &'static str,
    },
    /// Type, shape and size do not agree.
    #[error("tensor {tensor:?}: {source}")]
    Layout {
        /// The tensor.
        tensor: String,
        /// What does not agree.
        source: TensorError,
    },
    /// The tensors do not tile the data section.
    #[error("tensor {tensor:?}: begins at byte {found} of the data, expected {expected}")]
    Extent {
        /// The tensor.
        tensor: String,
        /// Where it must begin.
        expected: u64,
        /// Where it says it begins.
        found: u64,
    },
    /// The bytes are not those that were written.
    #[error("tensor {tensor:?}: hash is {found}, the file says {expected}: the data is damaged")]
    Hash {
        /// The tensor.
        tensor: String,
        /// Hash in the index.
        expected: crate::Hash128,
        /// Hash of the bytes.
        found: crate::Hash128,
    },
    /// Bytes between tensors that are not zero.
    #[error("tensor {tensor:?}: the padding behind it is not zero")]
    Padding {
        /// The tensor before the padding.
        tensor: String,
    },
    /// No such tensor.
    #[error("tensor {tensor:?} is missing")]
    Missing {
        /// The tensor.
        tensor: String,
    },
    /// Only the header was read, from a pipe.
    #[error("tensor {tensor:?}: only the header was read; give the model as a file")]
    HeaderOnly {
        /// The tensor.
        tensor: String,
    },
    /// A shard name that could lead elsewhere.
    #[error("shard name {shard:?} is no plain file name")]
    ShardName {
        /// The name.
        shard: String,
    },
    /// One of several GGUF files under a name from which the others' do not follow.
    #[error("the file is one of several, and {name:?} is not NAME-00001-of-0000N.gguf")]
    SplitName {
        /// Its name.
        name: String,
    },
    /// Index and shards disagree.
    #[error("tensor {tensor:?}: {cause} {shard:?}")]
    Shard {
        /// The tensor.
        tensor: String,
        /// How they disagree.
        cause: &'static str,
        /// The shard.
        shard: String,
    },
}

impl Malformed {
    /// The tensor at fault, if one is.
    #[must_use]
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::UnknownType { tensor, .. }
            | Self::Name { tensor, .. }
            | Self::Entry { tensor, .. }
            | Self::Layout { tensor, .. }
            | Self::Extent { tensor, .. }
            | Self::Hash { tensor, .. }
            | Self::Padding { tensor }
            | Self::Missing { tensor }
            | Self::HeaderOnly { tensor }
            | Self::Shard { tensor, .. } => Some(tensor),
            Self::Empty
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::TooLarge { .. }
            | Self::Memory { .. }
            | Self::Json { .. }
            | Self::Key { .. }
            | Self::Text { .. }
            | Self::Version { .. }
            | Self::HeaderChecksum { .. }
            | Self::Seal { .. }
            | Self::Field { .. }
            | Self::ShardName { .. }
            | Self::SplitName { .. } => None,
        }
    }
}
