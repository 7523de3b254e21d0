//! The list of formats, and opening by content.

use crate::container::ContainerFile;
use crate::size::to_u64;
use crate::{
    Container, FormatError, Malformed, Metadata, TensorEntry, apr, gguf, mmap, safetensors,
};
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::Path;

/// Bytes that suffice to recognise every format.
const PREFIX_BYTES: usize = 64;

/// What a header says. Ranges of the tensors count from the start of the file.
pub(crate) struct Parsed {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorEntry>,
    /// Size that the file must have, and up to which size padding may follow.
    pub(crate) file_len: RangeInclusive<u64>,
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
}

/// Every format that is read.
pub static FORMATS: &[Format] = &[
    Format { name: apr::NAME, extension: "apr", matches: apr::matches, parse: apr::parse },
    Format { name: gguf::NAME, extension: "gguf", matches: gguf::matches, parse: gguf::parse },
    Format {
        name: safetensors::NAME,
        extension: "safetensors",
        matches: safetensors::matches,
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
    let parsed = (format.parse)(bytes).map_err(malformed)?;
    check_len(&parsed.file_len, len).map_err(malformed)?;
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
                if !read_up_to(&mut bytes, wanted)? {
                    return Err(malformed(Malformed::Truncated { needed, what, found }));
                }
            }
            parsed => break parsed.map_err(malformed)?,
        }
    };
    let file = ContainerFile::new(path, *parsed.file_len.start(), None);
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
