//! Writing any container: its head is reserved, the tensors stream out behind it, and the head is
//! filled in last, when hashes and certificates are known.

use crate::hash::Hasher128;
use crate::journal::Journal;
use crate::size::{to_u64, to_usize};
use crate::{AtomicFile, Certificate, Disk, FormatError, Hash128, Malformed, SystemDisk};
use apr_tensor::{TensorError, TensorLayout};
use std::path::{Path, PathBuf};

/// Whether a tensor's source is the one that its certificate was made from.
pub type Unchanged<'a> = dyn FnMut(&NewTensor, &Certificate) -> bool + 'a;

/// Where a new file goes.
pub struct Destination<'a> {
    /// Its name.
    pub path: &'a Path,
    /// Where it is kept.
    pub disk: &'static dyn Disk,
    /// If given, the file that an interrupted run left is continued behind its last tensor that is
    /// whole and has its old source, and what is written is kept if this run fails.
    pub resume: Option<&'a mut Unchanged<'a>>,
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Destination<'a> {
    /// A new file on the machine's disk.
    fn from(path: &'a P) -> Self {
        Self { path: path.as_ref(), disk: &SystemDisk, resume: None }
    }
}

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

/// Bytes that are read at once of a file that is continued.
const READ: usize = 1 << 20;

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
    /// A digest of all that decides about the file but its tensors' bytes.
    fn key(&self) -> Hash128 {
        let version = env!("CARGO_PKG_VERSION");
        let tensors = self.tensors.iter().map(|NewTensor { name, layout }| {
            format!("{name:?} {} {:?}\n", layout.dtype(), layout.shape())
        });
        let tensors: String = tensors.collect();
        Hash128::of_parts(&[version.as_bytes(), &self.head, tensors.as_bytes()])
    }

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
    journal: Journal,
    plan: NewFile,
    written: Vec<Written>,
    /// Bytes of data, padding included.
    data_len: u64,
    /// The tensor that is being written: how much of it was, and the digest so far.
    current: (usize, Hasher128),
}

impl Writer {
    pub(crate) fn create(to: Destination<'_>, plan: NewFile) -> Result<Self, FormatError> {
        let Destination { path, disk, resume } = to;
        let key = plan.key();
        if let Some(unchanged) = resume {
            if let Some(file) = AtomicFile::resume(disk, path)?
                && let Some((journal, records)) = Journal::resume(disk, path, key)?
            {
                let mut writer = Self::new(path, file, journal, plan);
                writer.recover(&records, unchanged)?;
                return Ok(writer);
            }
            let mut writer = Self::begin(disk, path, plan)?;
            writer.file.keep();
            writer.journal.keep();
            return Ok(writer);
        }
        Self::begin(disk, path, plan)
    }

    fn begin(disk: &'static dyn Disk, path: &Path, plan: NewFile) -> Result<Self, FormatError> {
        let mut file = AtomicFile::create(disk, path)?;
        let journal = Journal::create(disk, path, plan.key())?;
        file.write(&plan.head)?;
        Ok(Self::new(path, file, journal, plan))
    }

    fn new(path: &Path, file: AtomicFile, journal: Journal, plan: NewFile) -> Self {
        let (target, current) = (path.to_path_buf(), (0, Hasher128::default()));
        Self { target, file, journal, plan, written: Vec::new(), data_len: 0, current }
    }

    /// Takes over the tensors whose bytes are those of their records, up to the first that is not.
    fn recover(
        &mut self,
        records: &[(Hash128, Certificate)],
        unchanged: &mut Unchanged<'_>,
    ) -> Result<(), FormatError> {
        let head_len = to_u64(self.plan.head.len());
        for (tensor, &(hash, certificate)) in self.plan.tensors.iter().zip(records) {
            let offset = self.data_len.next_multiple_of(self.plan.alignment);
            self.file.seek(head_len.saturating_add(offset))?;
            let len = tensor.layout.byte_len();
            if stored_hash(&mut self.file, len)? != Some(hash) || !unchanged(tensor, &certificate) {
                break;
            }
            self.written.push(Written { offset, hash, certificate });
            self.data_len = offset.saturating_add(to_u64(len));
        }
        self.journal.cut(self.written.len())?;
        if self.written.is_empty() {
            self.file.cut(0)?;
            return self.file.write(&self.plan.head);
        }
        self.file.cut(head_len.saturating_add(self.data_len))
    }

    /// How many tensors of [`order`](Self::order) are written.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.written.len()
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
        let (offset, certificate, hash) = (self.data_len, *certificate, hasher.digest());
        self.journal.note(hash, &certificate)?;
        self.written.push(Written { offset, hash, certificate });
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
        let journal = self.journal;
        self.file.commit(|path| {
            let proof = prove(path)?;
            journal.end()?;
            Ok(proof)
        })
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

/// The hash of the next bytes of a file that is continued; none if it ends before.
fn stored_hash(file: &mut AtomicFile, len: usize) -> Result<Option<Hash128>, FormatError> {
    let mut hasher = Hasher128::default();
    let mut buffer = vec![0; len.min(READ)];
    let mut left = len;
    while left > 0 {
        let part = left.min(READ);
        let Some(buffer) = buffer.get_mut(..part) else { break };
        if !file.read(buffer)? {
            return Ok(None);
        }
        hasher.update(buffer);
        left = left.saturating_sub(part);
    }
    Ok(Some(hasher.digest()))
}
