//! Writing any container: its head is reserved, the tensors stream out behind it, and the head is
//! filled in last, when hashes and certificates are known.

use crate::size::{to_u64, to_usize};
use crate::{AtomicFile, Certificate, FormatError, Hash128, Malformed, hash::Hasher128};
use apr_tensor::{TensorError, TensorLayout};
use std::path::{Path, PathBuf};

/// A tensor that a new file will have.
#[derive(Debug, Clone)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Type, shape and sizes.
    pub layout: TensorLayout,
}

impl NewTensor {
    /// Refuses a type that GGML does not have.
    pub(crate) fn require_ggml(&self) -> Result<(), Malformed> {
        let dtype = self.layout.dtype();
        if dtype.is_ggml() {
            return Ok(());
        }
        Err(Malformed::UnknownType { tensor: self.name.clone(), dtype: dtype.to_string() })
    }
}

/// What is known of a tensor once it was written.
pub(crate) struct Written {
    /// Its place from the start of the data.
    pub(crate) offset: u64,
    pub(crate) hash: Hash128,
    pub(crate) certificate: Certificate,
}

/// Completes a head from what it was at first, the tensors, and what was written of each.
pub(crate) type Complete = dyn FnOnce(Vec<u8>, &[NewTensor], &[Written]) -> Vec<u8> + Send;

/// What a container decides about a file before its data is written.
pub(crate) struct NewFile {
    /// In the order of the data.
    pub(crate) tensors: Vec<NewTensor>,
    /// Each tensor begins at a multiple of this, from the start of the data.
    pub(crate) alignment: u64,
    /// Whether the last tensor is padded like the others.
    pub(crate) pads_end: bool,
    /// The head at first; complete, it has the same length.
    pub(crate) head: Vec<u8>,
    pub(crate) complete: Box<Complete>,
}

impl NewFile {
    /// The size of the whole file.
    pub(crate) fn file_len(&self) -> u64 {
        let end = self.tensors.iter().fold(0_u64, |end, tensor| {
            let begin = end.checked_next_multiple_of(self.alignment).unwrap_or(u64::MAX);
            begin.saturating_add(to_u64(tensor.layout.byte_len()))
        });
        let padded = end.checked_next_multiple_of(self.alignment).filter(|_| self.pads_end);
        to_u64(self.head.len()).saturating_add(padded.unwrap_or(end))
    }
}

/// A file that is being written, tensor by tensor. Nothing of a tensor stays in memory.
pub struct Writer {
    target: PathBuf,
    file: AtomicFile,
    plan: NewFile,
    written: Vec<Written>,
    /// Bytes of data, padding included.
    data_len: u64,
    /// The tensor that is being written: how much of it was, and the digest so far.
    current: (usize, Hasher128),
}

impl Writer {
    pub(crate) fn create(target: &Path, plan: NewFile) -> Result<Self, FormatError> {
        let mut file = AtomicFile::create(target)?;
        file.write(&plan.head)?;
        let (target, current) = (target.to_path_buf(), (0, Hasher128::default()));
        Ok(Self { target, file, plan, written: Vec::new(), data_len: 0, current })
    }

    /// The tensors in the order in which they are written.
    #[must_use]
    pub fn order(&self) -> &[NewTensor] {
        &self.plan.tensors
    }

    /// Writes the next bytes of the current tensor: the first of [`order`](Self::order) that was
    /// not ended.
    ///
    /// # Errors
    /// When the tensor has fewer bytes, or the system cannot write.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let (done, _) = self.current;
        let len = done.saturating_add(bytes.len());
        self.check_len(len, usize::le)?;
        if done == 0 {
            self.pad()?;
        }
        self.file.write(bytes)?;
        self.current.0 = len;
        self.current.1.update(bytes);
        Ok(())
    }

    /// Ends the current tensor.
    ///
    /// # Errors
    /// When not all of its bytes were written.
    pub fn end_tensor(&mut self, certificate: &Certificate) -> Result<(), FormatError> {
        let (len, hasher) = std::mem::take(&mut self.current);
        self.check_len(len, usize::eq)?;
        if len == 0 {
            self.pad()?;
        }
        let (offset, certificate) = (self.data_len, *certificate);
        self.written.push(Written { offset, hash: hasher.digest(), certificate });
        self.data_len = offset.saturating_add(to_u64(len));
        Ok(())
    }

    /// Writes the whole next tensor of [`order`](Self::order).
    ///
    /// # Errors
    /// When it is not that tensor's length, or the system cannot write.
    pub fn put(&mut self, bytes: &[u8], certificate: &Certificate) -> Result<(), FormatError> {
        self.append(bytes)?;
        self.end_tensor(certificate)
    }

    /// Completes the file, lets `prove` read it back, and only then gives it its name.
    ///
    /// # Errors
    /// When a tensor was not ended, the system cannot write, or `prove` fails; then no file appears.
    pub fn commit<T, E: From<FormatError>>(
        mut self,
        prove: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(missing) = self.order().get(self.written.len()) {
            let cause = Malformed::Missing { tensor: missing.name.clone() };
            return Err(FormatError::malformed(&self.target)(cause).into());
        }
        if self.plan.pads_end {
            self.pad()?;
        }
        let NewFile { tensors, head, complete, .. } = self.plan;
        self.file.rewrite_start(&complete(head, &tensors, &self.written))?;
        self.file.commit(prove)
    }

    /// Refuses `len` bytes of the current tensor if they do not relate to its size like this.
    fn check_len(&self, len: usize, fits: fn(&usize, &usize) -> bool) -> Result<(), FormatError> {
        let malformed = FormatError::malformed(&self.target);
        let at = self.written.len();
        let Some(NewTensor { name, layout }) = self.order().get(at) else {
            return Err(malformed(Malformed::Missing { tensor: format!("number {at}") }));
        };
        if fits(&len, &layout.byte_len()) {
            return Ok(());
        }
        let source = TensorError::ByteLength {
            dtype: layout.dtype(),
            shape: layout.shape().to_vec(),
            expected: layout.byte_len(),
            found: len,
        };
        Err(malformed(Malformed::Layout { tensor: name.clone(), source }))
    }

    /// Zeros up to where the next tensor begins.
    fn pad(&mut self) -> Result<(), FormatError> {
        let end = self.data_len.next_multiple_of(self.plan.alignment);
        let padding = to_usize(end.saturating_sub(self.data_len));
        self.data_len = end;
        self.file.write(&vec![0; padding])
    }
}
