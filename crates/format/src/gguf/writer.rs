//! Writing GGUF version 3: the header is known before the first tensor, so that data streams out.

use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};
use crate::size::{to_u64, to_usize};
use crate::{AtomicFile, FormatError, Malformed, NewTensor};
use std::path::{Path, PathBuf};

const VERSION: u32 = 3;

/// A value of the metadata, in the types that model files use.
#[derive(Debug, Clone, PartialEq)]
pub enum GgufValue {
    /// u32.
    U32(u32),
    /// f32.
    F32(f32),
    /// One byte, 0 or 1.
    Bool(bool),
    /// UTF-8.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of i32.
    I32s(Vec<i32>),
}

/// Writes one GGUF file.
pub struct GgufWriter {
    target: PathBuf,
    file: AtomicFile,
    tensors: Vec<NewTensor>,
    written: u64,
    next: usize,
}

impl GgufWriter {
    /// Begins a file of these keys and tensors, in this order.
    ///
    /// # Errors
    /// When the target cannot be written, or a tensor has a type that GGUF does not have.
    pub fn create(
        target: &Path,
        keys: &[(String, GgufValue)],
        tensors: Vec<NewTensor>,
    ) -> Result<Self, FormatError> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend(to_u64(tensors.len()).to_le_bytes());
        header.extend(to_u64(keys.len()).saturating_add(1).to_le_bytes());
        let alignment = u32::try_from(DEFAULT_ALIGNMENT).unwrap_or(32);
        put_key(&mut header, ALIGNMENT_KEY, &GgufValue::U32(alignment));
        for (key, value) in keys {
            put_key(&mut header, key, value);
        }
        let mut offset = 0_u64;
        for NewTensor { name, layout } in &tensors {
            if !layout.dtype().is_ggml() {
                let (tensor, dtype) = (name.clone(), layout.dtype().to_string());
                return Err(FormatError::malformed(target)(Malformed::UnknownType {
                    tensor,
                    dtype,
                }));
            }
            offset = offset.next_multiple_of(DEFAULT_ALIGNMENT);
            put_text(&mut header, name);
            header.extend(u32::try_from(layout.shape().len()).unwrap_or(u32::MAX).to_le_bytes());
            for &dim in layout.shape().iter().rev() {
                header.extend(to_u64(dim).to_le_bytes());
            }
            header.extend(layout.dtype().id().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset = offset.saturating_add(to_u64(layout.byte_len()));
        }
        header.resize(header.len().next_multiple_of(to_usize(DEFAULT_ALIGNMENT)), 0);
        let mut file = AtomicFile::create(target)?;
        file.write(&header)?;
        Ok(Self { target: target.to_path_buf(), file, tensors, written: 0, next: 0 })
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
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let tensor = self.tensors.get(self.next);
        NewTensor::check(tensor, self.next, bytes).map_err(FormatError::malformed(&self.target))?;
        self.pad()?;
        self.file.write(bytes)?;
        self.written = self.written.saturating_add(to_u64(bytes.len()));
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
        self.pad()?;
        self.file.commit(prove)
    }

    /// Zeros up to the next multiple of the alignment.
    fn pad(&mut self) -> Result<(), FormatError> {
        let end = self.written.next_multiple_of(DEFAULT_ALIGNMENT);
        let padding = to_usize(end.saturating_sub(self.written));
        self.written = end;
        self.file.write([0; 32].get(..padding).unwrap_or_default())
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(to_u64(text.len()).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Type numbers as in the reader.
fn put_key(out: &mut Vec<u8>, key: &str, value: &GgufValue) {
    let list = |out: &mut Vec<u8>, kind: u32, len: usize| {
        out.extend(9_u32.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(to_u64(len).to_le_bytes());
    };
    put_text(out, key);
    match value {
        GgufValue::U32(value) => {
            out.extend(4_u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        GgufValue::F32(value) => {
            out.extend(6_u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        GgufValue::Bool(value) => {
            out.extend(7_u32.to_le_bytes());
            out.push(u8::from(*value));
        }
        GgufValue::Text(value) => {
            out.extend(8_u32.to_le_bytes());
            put_text(out, value);
        }
        GgufValue::Texts(values) => {
            list(out, 8, values.len());
            values.iter().for_each(|value| put_text(out, value));
        }
        GgufValue::I32s(values) => {
            list(out, 5, values.len());
            values.iter().for_each(|value| out.extend(value.to_le_bytes()));
        }
    }
}
