//! The list of formats, and opening by content.

use crate::container::ContainerFile;
use crate::size::to_u64;
use crate::{Container, FormatError, Malformed, Metadata, TensorEntry, apr, mmap, safetensors};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Bytes that suffice to recognise every format and to tell the length of its header.
const PREFIX_BYTES: usize = 64;

/// The bytes of a file up to its tensor data.
pub(crate) struct Header<'a> {
    pub(crate) bytes: &'a [u8],
}

impl Header<'_> {
    pub(crate) fn len(&self) -> u64 {
        to_u64(self.bytes.len())
    }
}

/// What a header says. Ranges of the tensors count from the start of the file.
pub(crate) struct Parsed {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorEntry>,
    /// Size that the file must have.
    pub(crate) file_len: u64,
}

/// A container format.
pub struct Format {
    /// Its name, as printed.
    pub name: &'static str,
    /// The extension of its files, without the dot.
    pub extension: &'static str,
    matches: fn(&[u8]) -> bool,
    header_len: fn(&[u8]) -> Result<u64, Malformed>,
    parse: fn(&Header<'_>) -> Result<Parsed, Malformed>,
}

/// Every format that is read.
pub static FORMATS: &[Format] = &[
    Format {
        name: apr::NAME,
        extension: "apr",
        matches: apr::matches,
        header_len: apr::header_len,
        parse: apr::parse,
    },
    Format {
        name: safetensors::NAME,
        extension: "safetensors",
        matches: safetensors::matches,
        header_len: safetensors::header_len,
        parse: safetensors::parse,
    },
];

/// Opens a model file, whose format is found from its content, or a Hugging Face folder. Takes
/// time proportional to the header; tensor data is mapped, not read.
///
/// # Errors
/// When the file cannot be read, is of no known format, or breaks a rule of its format.
pub fn open(path: &Path) -> Result<Container, FormatError> {
    let kind = fs::metadata(path).map_err(FormatError::io(path))?;
    if kind.is_dir() {
        return safetensors::open_folder(path);
    }
    if !kind.is_file() {
        let source = io::Error::new(io::ErrorKind::Unsupported, "not a regular file");
        return Err(FormatError::Io { path: path.to_path_buf(), source });
    }
    let memory = mmap::map(path)?;
    let bytes = (*memory).as_ref();
    let len = to_u64(bytes.len());
    let prefix = bytes.get(..PREFIX_BYTES).unwrap_or(bytes);
    let format = recognise(path, prefix)?;
    let malformed = |cause| FormatError::Malformed { path: path.to_path_buf(), cause };
    let needed = (format.header_len)(prefix).map_err(malformed)?;
    let header = usize::try_from(needed)
        .ok()
        .and_then(|needed| bytes.get(..needed))
        .ok_or_else(|| malformed(Malformed::Truncated { what: "header", needed, found: len }))?;
    let parsed = (format.parse)(&Header { bytes: header }).map_err(malformed)?;
    check_len(parsed.file_len, len).map_err(malformed)?;
    container(format, parsed, ContainerFile::new(path, len, Some(memory))).map_err(malformed)
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

fn read_header(path: &Path, stream: &mut dyn Read) -> Result<Container, FormatError> {
    let mut bytes = Vec::new();
    let mut read_up_to = |bytes: &mut Vec<u8>, len: u64| {
        let missing = len.saturating_sub(to_u64(bytes.len()));
        stream.take(missing).read_to_end(bytes).map_err(FormatError::io(path))
    };
    read_up_to(&mut bytes, to_u64(PREFIX_BYTES))?;
    let format = recognise(path, &bytes)?;
    let malformed = |cause| FormatError::Malformed { path: path.to_path_buf(), cause };
    let needed = (format.header_len)(&bytes).map_err(malformed)?;
    read_up_to(&mut bytes, needed)?;
    let header = usize::try_from(needed).ok().and_then(|needed| bytes.get(..needed));
    let header = header.ok_or_else(|| {
        let found = to_u64(bytes.len());
        malformed(Malformed::Truncated { what: "header", needed, found })
    })?;
    let parsed = (format.parse)(&Header { bytes: header }).map_err(malformed)?;
    let file = ContainerFile::new(path, parsed.file_len, None);
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

fn check_len(expected: u64, found: u64) -> Result<(), Malformed> {
    if found < expected {
        return Err(Malformed::Truncated { what: "tensor data", needed: expected, found });
    }
    if found > expected {
        return Err(Malformed::TrailingBytes { expected, found });
    }
    Ok(())
}

fn container(format: &Format, parsed: Parsed, file: ContainerFile) -> Result<Container, Malformed> {
    let mut container = Container {
        format: format.name,
        metadata: parsed.metadata,
        tensors: parsed.tensors,
        files: vec![file],
    };
    container.sort()?;
    Ok(container)
}
