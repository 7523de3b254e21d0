//! The list of formats, and opening by content.

use crate::container::ContainerFile;
use crate::size::to_u64;
use crate::writer::{Destination, NewFile};
use crate::{Container, FormatError, Hash128, Malformed, Metadata, NewTensor, TensorEntry, Writer};
use crate::{apr, folder, gguf, mmap, safetensors};
use apr_tensor::SharedBytes;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// Bytes that suffice to recognise every format.
pub(crate) const PREFIX_BYTES: usize = 64;
/// Limit of a header that comes through a pipe: far above any model's.
const MAX_PIPED_HEADER: u64 = 1 << 28;

/// What a header says. Ranges of the tensors count from the start of the file.
pub(crate) struct Parsed {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorEntry>,
    /// Where the tensors begin.
    pub(crate) data_start: u64,
    /// Size that the file must have, and up to which size padding may follow.
    pub(crate) file_len: RangeInclusive<u64>,
    /// A digest that covers header and tensors, and was checked as far as the header goes.
    pub(crate) seal: Option<Hash128>,
    /// Whether the numbers in the tensors are big-endian.
    pub(crate) big_endian: bool,
}

impl Parsed {
    /// A little-endian file without a seal.
    pub(crate) const fn new(
        metadata: Metadata,
        tensors: Vec<TensorEntry>,
        data_start: u64,
        file_len: RangeInclusive<u64>,
    ) -> Self {
        Self { metadata, tensors, data_start, file_len, seal: None, big_endian: false }
    }
}

/// A container format.
pub struct Format {
    /// Its name, as printed.
    pub name: &'static str,
    /// The extension of its files, without the dot.
    pub extension: &'static str,
    matches: fn(&[u8]) -> bool,
    /// Reads the header from the first bytes of a file. [`Malformed::Truncated`] says how many
    /// it needs, as far as it can tell.
    parse: fn(&[u8]) -> Result<Parsed, Malformed>,
    /// Completes a container whose file is one of several.
    join: fn(Container) -> Result<Container, FormatError>,
    new_file: fn(&Metadata, Vec<NewTensor>) -> Result<NewFile, Malformed>,
}

/// Every format that is read and written.
pub static FORMATS: &[Format] = &[
    Format {
        name: apr::NAME,
        extension: "apr",
        matches: apr::matches,
        parse: apr::parse,
        join: Ok,
        new_file: apr::new_file,
    },
    Format {
        name: gguf::NAME,
        extension: "gguf",
        matches: gguf::matches,
        parse: gguf::parse,
        join: gguf::join,
        new_file: gguf::new_file,
    },
    Format {
        name: safetensors::NAME,
        extension: "safetensors",
        matches: safetensors::matches,
        parse: safetensors::parse,
        join: Ok,
        new_file: safetensors::new_file,
    },
];

impl Format {
    /// The format of files with this file's extension.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<&'static Self> {
        let extension = path.extension()?.to_str()?;
        FORMATS.iter().find(|format| format.extension == extension)
    }

    /// Begins a file of this format. The order in which the tensors must be delivered is
    /// [`Writer::order`].
    ///
    /// # Errors
    /// When the target cannot be written, or the format cannot hold a key or a tensor.
    pub fn create<'a>(
        &self,
        to: impl Into<Destination<'a>>,
        metadata: &Metadata,
        tensors: Vec<NewTensor>,
    ) -> Result<Writer, FormatError> {
        let to = to.into();
        let plan = (self.new_file)(metadata, tensors).map_err(FormatError::malformed(to.path))?;
        Writer::create(to, plan)
    }

    /// The size in bytes of a file of this format, `target`, that was [created](Self::create) with
    /// these.
    ///
    /// # Errors
    /// When the format cannot hold a key or a tensor.
    pub fn file_len(
        &self,
        target: &Path,
        metadata: &Metadata,
        tensors: Vec<NewTensor>,
    ) -> Result<u64, FormatError> {
        let plan = (self.new_file)(metadata, tensors).map_err(FormatError::malformed(target))?;
        Ok(plan.file_len())
    }
}

/// Opens a model file, whose format is found from its content, or a Hugging Face folder. Of a
/// model in several GGUF files any may be given. Takes time proportional to the header; tensor
/// data is mapped, not read.
///
/// # Errors
/// When the file cannot be read, is of no known format, or breaks a rule of its format.
pub fn open(path: &Path) -> Result<Container, FormatError> {
    let kind = fs::metadata(path).map_err(FormatError::io(path))?;
    if kind.is_dir() {
        return safetensors::open_folder(path);
    }
    folder::check_regular(&kind).map_err(FormatError::io(path))?;
    let file = File::open(path).map_err(FormatError::io(path))?;
    let (format, container) = map_file(file, path)?;
    (format.join)(container)
}

/// Opens a file of a folder, even if it is a part of a model.
pub(crate) fn open_part(folder: &Path, name: &str) -> Result<Container, FormatError> {
    let file = folder::open_in_folder(folder, name)?;
    map_file(file, &folder.join(name)).map(|(_, container)| container)
}

fn map_file(file: File, path: &Path) -> Result<(&'static Format, Container), FormatError> {
    let (memory, open_file) = mmap::open(file, path)?;
    read(path, memory, |file| file.held_open(open_file))
}

/// Opens a model file that is in memory already, as [`open`] does one on disk; `path` names it in
/// errors. A file that is one of several, or part of a checkpoint, is opened alone.
///
/// # Errors
/// When the bytes are of no known format, or break a rule of their format.
pub fn open_bytes(path: &Path, bytes: Vec<u8>) -> Result<Container, FormatError> {
    read(path, Arc::new(bytes), |file| file).map(|(_, container)| container)
}

/// Reads the header of a file whose bytes are all there.
fn read(
    path: &Path,
    memory: SharedBytes,
    complete: impl FnOnce(ContainerFile) -> ContainerFile,
) -> Result<(&'static Format, Container), FormatError> {
    let bytes = (*memory).as_ref();
    let len = to_u64(bytes.len());
    let prefix = bytes.get(..PREFIX_BYTES).unwrap_or(bytes);
    let format = recognise(path, prefix)?;
    let malformed = |cause| FormatError::Malformed { path: path.to_path_buf(), cause };
    let parsed = (format.parse)(bytes).map_err(malformed)?;
    check_len(&parsed.file_len, len).map_err(malformed)?;
    let file = complete(ContainerFile::new(path, len, Some(memory)));
    Ok((format, container(format, parsed, file).map_err(malformed)?))
}

/// Opens a model of which only the header is needed: anything that [`open`] takes, or a pipe
/// (`-` is standard input), of which no more than the header is read.
///
/// # Errors
/// As for [`open`]. The tensors of a piped model cannot be read.
pub fn open_header(path: &Path) -> Result<Container, FormatError> {
    if path == Path::new("-") {
        return read_header(path, &mut io::stdin().lock());
    }
    let kind = fs::metadata(path).map_err(FormatError::io(path))?;
    if kind.is_dir() || kind.is_file() {
        return open(path);
    }
    read_header(path, &mut File::open(path).map_err(FormatError::io(path))?)
}

/// Reads the header of a model from a stream, of which no more than the header is read; `path`
/// names it in errors.
///
/// # Errors
/// As for [`open_header`].
pub fn read_header(path: &Path, stream: &mut dyn Read) -> Result<Container, FormatError> {
    let mut bytes = Vec::new();
    let mut read_up_to = |bytes: &mut Vec<u8>, len: u64| {
        let missing = len.saturating_sub(to_u64(bytes.len()));
        let read = stream.take(missing).read_to_end(bytes).map_err(FormatError::io(path))?;
        Ok::<_, FormatError>(read > 0)
    };
    read_up_to(&mut bytes, to_u64(PREFIX_BYTES))?;
    let format = recognise(path, &bytes)?;
    let malformed = |cause| FormatError::Malformed { path: path.to_path_buf(), cause };
    let parsed = loop {
        match (format.parse)(&bytes) {
            Err(Malformed::Truncated { needed, what, found }) => {
                // At least twice as much, so that a header without a length is read in few steps.
                let wanted = needed.max(to_u64(bytes.len()).saturating_mul(2));
                if needed > MAX_PIPED_HEADER {
                    let (len, limit) = (needed, MAX_PIPED_HEADER);
                    return Err(malformed(Malformed::TooLarge { what: "header", len, limit }));
                }
                if !read_up_to(&mut bytes, wanted)? {
                    return Err(malformed(Malformed::Truncated { needed, what, found }));
                }
            }
            parsed => break parsed.map_err(malformed)?,
        }
    };
    bytes.truncate(PREFIX_BYTES);
    let file = ContainerFile::new(path, *parsed.file_len.start(), None).with_prefix(bytes);
    container(format, parsed, file).map_err(malformed)
}

fn recognise(path: &Path, prefix: &[u8]) -> Result<&'static Format, FormatError> {
    if prefix.is_empty() {
        return Err(FormatError::malformed(path)(Malformed::Empty));
    }
    FORMATS
        .iter()
        .find(|format| (format.matches)(prefix))
        .ok_or_else(|| FormatError::UnknownFormat { path: path.to_path_buf() })
}

fn check_len(expected: &RangeInclusive<u64>, found: u64) -> Result<(), Malformed> {
    if found < *expected.start() {
        let needed = *expected.start();
        return Err(Malformed::Truncated { what: "tensor data", needed, found });
    }
    if found > *expected.end() {
        return Err(Malformed::TrailingBytes { expected: *expected.end(), found });
    }
    Ok(())
}

fn container(
    format: &Format,
    parsed: Parsed,
    mut file: ContainerFile,
) -> Result<Container, Malformed> {
    file.set_big_endian(parsed.big_endian);
    file.set_data_start(parsed.data_start);
    let mut container = Container {
        format: format.name,
        metadata: parsed.metadata,
        tensors: parsed.tensors,
        files: vec![file],
        seal: parsed.seal,
    };
    container.sort()?;
    Ok(container)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Counts what is read.
    struct Counted<R>(R, u64);

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1 = self.1.saturating_add(to_u64(read));
            Ok(read)
        }
    }

    #[test]
    fn of_a_pipe_little_more_than_the_header_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let tokens: Vec<String> = (0..20_000).map(|at| format!("token {at}")).collect();
        let metadata = json!({ "general.architecture": "test", "tokens": tokens });
        let format = Format::of_path(&path).unwrap();
        let writer = format.create(&path, metadata.as_object().unwrap(), Vec::new()).unwrap();
        writer.commit(|_| Ok::<_, FormatError>(())).unwrap();
        let header = fs::read(&path).unwrap();
        let mut stream = Counted(header.chain(io::repeat(0)), 0);
        let container = read_header(Path::new("-"), &mut stream).unwrap();
        assert_eq!(container.metadata(), open(&path).unwrap().metadata());
        assert!(stream.1 < 2 * fs::metadata(&path).unwrap().len(), "{} bytes", stream.1);
    }

    #[test]
    fn a_count_that_no_header_justifies_ends_the_reading_of_a_pipe() {
        let header = [&b"GGUF\x03\0\0\0"[..], &[0; 8], &u64::MAX.to_le_bytes()].concat();
        let mut stream = Counted(header.chain(io::repeat(0)), 0);
        let said = read_header(Path::new("-"), &mut stream).err().unwrap().to_string();
        assert!(said.contains("header of 18446744073709551615 bytes"), "{said}");
        assert_eq!(stream.1, to_u64(PREFIX_BYTES));
    }
}
