//! The content of a model file, whatever its format: metadata and tensors by name.

use crate::open::PREFIX_BYTES;
use crate::size::to_u64;
use crate::{Certificate, FormatError, Hash128, Malformed};
use apr_tensor::{SharedBytes, Tensor, TensorError, TensorLayout};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Metadata as a JSON object.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// A tensor's place in a container.
#[derive(Debug, Clone)]
pub struct TensorEntry {
    /// Its name, as the file spells it.
    pub name: String,
    /// Type, shape and sizes.
    pub layout: TensorLayout,
    /// XXH3-128 of its bytes, in the formats that store it.
    pub hash: Option<Hash128>,
    /// What was proven when it was written, in the formats that store it.
    pub certificate: Option<Certificate>,
    pub(crate) file: usize,
    pub(crate) range: Range<usize>,
}

impl TensorEntry {
    /// Its bytes within its file.
    #[must_use]
    pub const fn range(&self) -> &Range<usize> {
        &self.range
    }

    /// Which of the container's [files](Container::files) holds it.
    #[must_use]
    pub const fn file(&self) -> usize {
        self.file
    }
}

/// A file that belongs to a container.
pub struct ContainerFile {
    path: PathBuf,
    len: u64,
    data_start: u64,
    /// The first bytes, when only the header was read.
    prefix: Vec<u8>,
    /// Absent when only the header was read.
    memory: Option<SharedBytes>,
    big_endian: bool,
    /// A copy with the tensors of a big-endian file in little-endian order, made on first use.
    swapped: OnceLock<SharedBytes>,
}

impl ContainerFile {
    pub(crate) fn new(path: &Path, len: u64, memory: Option<SharedBytes>) -> Self {
        let (path, swapped) = (path.to_path_buf(), OnceLock::new());
        let (data_start, prefix, big_endian) = (0, Vec::new(), false);
        Self { path, len, data_start, prefix, memory, big_endian, swapped }
    }

    pub(crate) fn with_prefix(self, prefix: Vec<u8>) -> Self {
        Self { prefix, ..self }
    }

    pub(crate) const fn set_data_start(&mut self, data_start: u64) {
        self.data_start = data_start;
    }

    pub(crate) const fn set_big_endian(&mut self, big_endian: bool) {
        self.big_endian = big_endian;
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn byte_len(&self) -> u64 {
        self.len
    }

    /// Where its tensors begin: the length of everything before them.
    #[must_use]
    pub const fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Its first 64 bytes, fewer if it is shorter.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let bytes = self.bytes().unwrap_or(&self.prefix);
        bytes.get(..PREFIX_BYTES).unwrap_or(bytes)
    }

    /// Its bytes as they are stored; none when only the header was read.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.memory.as_ref().map(|memory| (**memory).as_ref())
    }
}

/// An opened model: one file, or the shards of one checkpoint.
pub struct Container {
    pub(crate) format: &'static str,
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorEntry>,
    pub(crate) files: Vec<ContainerFile>,
    pub(crate) seal: Option<Hash128>,
}

impl Container {
    /// A container in memory, of tensors that lie in no file. `path` names it in errors.
    ///
    /// # Errors
    /// When two tensors have the same name.
    pub fn in_memory(
        path: &Path,
        format: &'static str,
        metadata: Metadata,
        tensors: Vec<(String, Tensor)>,
    ) -> Result<Self, FormatError> {
        let (files, seal) = (Vec::new(), None);
        let mut container = Self { format, metadata, tensors: Vec::new(), files, seal };
        for (file, (name, tensor)) in tensors.into_iter().enumerate() {
            let (layout, memory, range) = tensor.into_parts();
            let len = to_u64(layout.byte_len());
            container.files.push(ContainerFile::new(path, len, Some(memory)));
            container.tensors.push(TensorEntry {
                name,
                layout,
                hash: None,
                certificate: None,
                file,
                range,
            });
        }
        container.sort().map_err(FormatError::malformed(path))?;
        Ok(container)
    }

    /// Name of the format: that of its row in [`FORMATS`](crate::FORMATS).
    #[must_use]
    pub const fn format(&self) -> &'static str {
        self.format
    }

    /// Everything that the file says beside its tensors.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors, sorted by name; no name occurs twice.
    #[must_use]
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The files that hold the tensors.
    #[must_use]
    pub fn files(&self) -> &[ContainerFile] {
        &self.files
    }

    /// One digest that names the whole content, in the formats that have it: it covers header and
    /// metadata, which was checked when the file was opened, and the hash of every tensor.
    #[must_use]
    pub const fn seal(&self) -> Option<Hash128> {
        self.seal
    }

    /// Total size of its files.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.byte_len()))
    }

    /// Where the container was opened, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new("(memory)"), ContainerFile::path)
    }

    /// The tensor's entry, if there is one of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&TensorEntry> {
        let at = self.tensors.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        self.tensors.get(at)
    }

    /// The tensor, its bytes where they lie.
    ///
    /// # Errors
    /// When there is none of this name, or only the header was read.
    pub fn tensor(&self, name: &str) -> Result<Tensor, FormatError> {
        let tensor = || name.to_owned();
        let entry = self.entry(name).ok_or_else(|| FormatError::Malformed {
            path: self.path().to_path_buf(),
            cause: Malformed::Missing { tensor: tensor() },
        })?;
        let malformed = |cause| FormatError::Malformed { path: self.file_of(entry), cause };
        let memory = self
            .memory(entry.file)
            .map_err(|source| malformed(Malformed::Layout { tensor: tensor(), source }))?
            .ok_or_else(|| malformed(Malformed::HeaderOnly { tensor: tensor() }))?;
        Tensor::shared(entry.layout.clone(), memory, entry.range.clone())
            .map_err(|source| malformed(Malformed::Layout { tensor: tensor(), source }))
    }

    /// Compares the tensor's bytes with the hash in the file, where the format has one.
    ///
    /// # Errors
    /// When they differ, or the tensor cannot be read.
    pub fn check_hash(&self, entry: &TensorEntry) -> Result<(), FormatError> {
        let Some(expected) = entry.hash else { return Ok(()) };
        let found = Hash128::of(self.tensor(&entry.name)?.view().bytes());
        if found == expected {
            return Ok(());
        }
        Err(FormatError::Malformed {
            path: self.file_of(entry),
            cause: Malformed::Hash { tensor: entry.name.clone(), expected, found },
        })
    }

    /// Checks that the bytes between tensors are zero; with the seal and the hashes of all tensors
    /// that accounts for every byte of a sealed file.
    ///
    /// # Errors
    /// Names the tensor before the first such byte.
    pub fn check_padding(&self) -> Result<(), FormatError> {
        let mut entries: Vec<&TensorEntry> = self.tensors.iter().collect();
        entries.sort_by_key(|entry| (entry.file, entry.range.start, entry.range.end));
        for (at, entry) in entries.iter().enumerate() {
            let Some(bytes) = self.files.get(entry.file).and_then(ContainerFile::bytes) else {
                continue;
            };
            let next = entries.get(at.saturating_add(1)).filter(|next| next.file == entry.file);
            let end = next.map_or(bytes.len(), |next| next.range.start);
            let padding = bytes.get(entry.range.end..end).unwrap_or_default();
            if padding.iter().any(|&byte| byte != 0) {
                let cause = Malformed::Padding { tensor: entry.name.clone() };
                return Err(FormatError::Malformed { path: self.file_of(entry), cause });
            }
        }
        Ok(())
    }

    /// A file's bytes, its tensors in little-endian order; none when only the header was read.
    fn memory(&self, at: usize) -> Result<Option<SharedBytes>, TensorError> {
        let Some(file) = self.files.get(at) else { return Ok(None) };
        let Some(memory) = file.memory.clone().filter(|_| file.big_endian) else {
            return Ok(file.memory.clone());
        };
        if file.swapped.get().is_none() {
            let mut bytes = (*memory).as_ref().to_vec();
            for entry in self.tensors.iter().filter(|entry| entry.file == at) {
                let tensor = bytes.get_mut(entry.range.clone()).unwrap_or_default();
                entry.layout.dtype().swap_bytes(tensor)?;
            }
            file.swapped.get_or_init(|| Arc::new(bytes));
        }
        Ok(file.swapped.get().cloned())
    }

    /// Takes over the files and tensors of another part of the same model. Metadata and format
    /// stay; a seal covers one file alone.
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), FormatError> {
        let first = self.files.len();
        let path = other.path().to_path_buf();
        self.files.extend(other.files);
        self.seal = None;
        self.tensors.extend(other.tensors.into_iter().map(|mut entry| {
            entry.file = entry.file.saturating_add(first);
            entry
        }));
        self.sort().map_err(FormatError::malformed(&path))
    }

    fn file_of(&self, entry: &TensorEntry) -> PathBuf {
        self.files.get(entry.file).map_or(self.path(), ContainerFile::path).to_path_buf()
    }

    /// Sorts by name and refuses duplicates.
    pub(crate) fn sort(&mut self) -> Result<(), Malformed> {
        self.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        for (a, b) in self.tensors.iter().zip(self.tensors.iter().skip(1)) {
            if a.name == b.name {
                let tensor = a.name.clone();
                return Err(Malformed::Name { tensor, cause: "this name occurs twice" });
            }
        }
        Ok(())
    }
}
