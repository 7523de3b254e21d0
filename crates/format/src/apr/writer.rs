//! Writing `.apr`: the data streams out in the order of the index, the head is filled in last.

use super::raw::{RawEntry, RawHeader};
use super::{ALIGNMENT, HEADER_BYTES};
use crate::size::{to_u64, to_usize};
use crate::{AtomicFile, Certificate, FormatError, Hash128, Malformed, Metadata, NewTensor};
use std::path::{Path, PathBuf};
use zerocopy::IntoBytes;

/// Writes one `.apr` file. Sizes and places of all sections are fixed at
/// [`create`](Self::create), so nothing but the current tensor is ever in memory.
pub struct AprWriter {
    target: PathBuf,
    file: AtomicFile,
    metadata: Vec<u8>,
    tensors: Vec<NewTensor>,
    index: Vec<u8>,
    index_len: usize,
    written: u64,
    next: usize,
}

impl AprWriter {
    /// Begins a file of these tensors, which [`put`](Self::put) must deliver sorted by name; the
    /// sorted order is [`order`](Self::order).
    ///
    /// # Errors
    /// When the target cannot be written, or a tensor has a name or type that `.apr` cannot hold.
    pub fn create(
        target: &Path,
        metadata: &Metadata,
        mut tensors: Vec<NewTensor>,
    ) -> Result<Self, FormatError> {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        check_names(&tensors).map_err(FormatError::malformed(target))?;
        let mut metadata = serde_json::to_vec(metadata)
            .map_err(|source| Malformed::Json { what: "metadata", source })
            .map_err(FormatError::malformed(target))?;
        pad(&mut metadata, b' ');
        let index_len = tensors.iter().fold(0_usize, |len, tensor| {
            len.saturating_add(RawEntry::byte_len(&tensor.name, &tensor.layout))
        });
        let index_len = index_len.next_multiple_of(to_usize(ALIGNMENT));
        let mut file = AtomicFile::create(target)?;
        let head_len =
            to_usize(HEADER_BYTES).saturating_add(metadata.len()).saturating_add(index_len);
        file.write(&vec![0; head_len])?;
        let target = target.to_path_buf();
        Ok(Self {
            target,
            file,
            metadata,
            tensors,
            index: Vec::new(),
            index_len,
            written: 0,
            next: 0,
        })
    }

    /// The tensors in the order in which they are written.
    #[must_use]
    pub fn order(&self) -> &[NewTensor] {
        &self.tensors
    }

    /// Writes the next tensor of [`order`](Self::order).
    ///
    /// # Errors
    /// When it is not that tensor's length, or the system cannot write.
    pub fn put(&mut self, bytes: &[u8], certificate: &Certificate) -> Result<(), FormatError> {
        let tensor = self.tensors.get(self.next);
        let NewTensor { name, layout } = NewTensor::check(tensor, self.next, bytes)
            .map_err(FormatError::malformed(&self.target))?;
        let offset = self.written.next_multiple_of(ALIGNMENT);
        let padding = to_usize(offset.saturating_sub(self.written));
        self.file.write([0; 64].get(..padding).unwrap_or_default())?;
        self.file.write(bytes)?;
        let hash = Hash128::of(bytes);
        RawEntry::append(&mut self.index, name, layout, (offset, hash), certificate);
        self.written = offset.saturating_add(to_u64(bytes.len()));
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Completes the file, lets `prove` read it back, and only then gives it its name.
    ///
    /// # Errors
    /// When a tensor was not put, the system cannot write, or `prove` fails; then no file appears.
    pub fn commit<T, E: From<FormatError>>(
        mut self,
        prove: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(missing) = self.tensors.get(self.next) {
            let cause = Malformed::Missing { tensor: missing.name.clone() };
            return Err(FormatError::malformed(&self.target)(cause).into());
        }
        self.index.resize(self.index_len, 0);
        let count = u32::try_from(self.tensors.len()).unwrap_or(u32::MAX);
        let header = RawHeader::new(&self.metadata, &self.index, self.written, count);
        let head = [header.as_bytes(), &self.metadata, &self.index].concat();
        self.file.rewrite_start(&head)?;
        self.file.commit(prove)
    }
}

fn check_names(tensors: &[NewTensor]) -> Result<(), Malformed> {
    let mut before: Option<&str> = None;
    for NewTensor { name, layout } in tensors {
        let refuse = |cause| Err(Malformed::Name { tensor: name.clone(), cause });
        if before == Some(name) {
            return refuse("this name occurs twice");
        }
        if name.is_empty() || u16::try_from(name.len()).is_err() {
            return refuse("names have 1 to 65535 bytes");
        }
        if !layout.dtype().is_ggml() {
            let dtype = layout.dtype().to_string();
            return Err(Malformed::UnknownType { tensor: name.clone(), dtype });
        }
        before = Some(name);
    }
    Ok(())
}

fn pad(bytes: &mut Vec<u8>, with: u8) {
    let len = bytes.len().next_multiple_of(to_usize(ALIGNMENT));
    bytes.resize(len, with);
}
