//! What stands before the tensors of a file.

use crate::Checkpoint;
use crate::units::{self, Table};
use apr_format::{ContainerFile, safetensors};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Keys of the metadata that are shown.
const SHOWN_KEYS: usize = 4;

/// What stands before the tensors.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeaderView {
    /// Container format.
    pub format: &'static str,
    /// Length in bytes of the (first) file's header: in SafeTensors the number that the file
    /// begins with, elsewhere everything before the tensors.
    pub header_length: u64,
    /// Number of tensors.
    pub tensor_count: usize,
    /// Keys of the metadata.
    pub metadata_keys: Vec<String>,
    /// Every file of the model.
    pub files: Vec<HeaderFile>,
}

/// The header of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeaderFile {
    /// The file.
    pub path: PathBuf,
    /// Length of its header in bytes.
    pub header_length: u64,
    /// Where its tensors begin.
    pub data_offset: u64,
    /// Its size in bytes.
    pub file_size: u64,
    /// Its first bytes in hexadecimal, two digits each.
    pub bytes: String,
    #[serde(skip)]
    raw: Vec<u8>,
}

/// Describes what stands before the tensors of a model.
#[must_use]
pub fn hex_header(checkpoint: &Checkpoint) -> HeaderView {
    let container = checkpoint.container();
    let format = container.format();
    let files = container.files().iter().map(|file| HeaderFile::new(format, file));
    let files: Vec<HeaderFile> = files.collect();
    HeaderView {
        format,
        header_length: files.first().map(|file| file.header_length).unwrap_or_default(),
        tensor_count: container.tensors().len(),
        metadata_keys: container.metadata().keys().cloned().collect(),
        files,
    }
}

impl HeaderFile {
    fn new(format: &str, file: &ContainerFile) -> Self {
        let data_offset = file.data_start();
        let length = if format == safetensors::NAME { safetensors::LENGTH_BYTES } else { 0 };
        Self {
            path: file.path().to_path_buf(),
            header_length: data_offset.saturating_sub(units::size(length)),
            data_offset,
            file_size: file.byte_len(),
            bytes: file.prefix().iter().map(|byte| format!("{byte:02x}")).collect(),
            raw: file.prefix().to_vec(),
        }
    }
}

impl fmt::Display for HeaderView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "header_length: {} bytes", self.header_length)?;
        writeln!(f, "format:        {}", self.format)?;
        writeln!(f, "tensors:       {}", self.tensor_count)?;
        let shown = self.metadata_keys.iter().take(SHOWN_KEYS);
        let mut shown: Vec<String> = shown.map(|key| key.escape_debug().to_string()).collect();
        if self.metadata_keys.len() > SHOWN_KEYS {
            shown.push("…".to_owned());
        }
        let list =
            if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) };
        writeln!(f, "metadata keys: {}{list}", self.metadata_keys.len())?;
        if let [file] = &self.files[..] {
            let HeaderFile { data_offset, file_size, raw, .. } = file;
            writeln!(f, "data begins:   {data_offset}")?;
            writeln!(f, "file size:     {} ({file_size} bytes)\n", units::bytes(*file_size))?;
            return f.write_str(&units::hex_dump(0, raw));
        }
        let header = ["file", "header", "data begins", "file size"];
        let mut table = Table::new(&header).right_align([1, 2, 3]);
        for file in &self.files {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (header, data) = (file.header_length.to_string(), file.data_offset.to_string());
            table.row([name, header, data, units::bytes(file.file_size)]);
        }
        write!(f, "\n{table}")
    }
}
