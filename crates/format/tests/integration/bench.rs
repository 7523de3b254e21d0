//! What the tests of files share: a file to change, and what is said of it.

use crate::model::{content, metadata, new_tensors, write};
use apr_format::{Container, FormatError, open};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with a certified file in it, and that file.
pub(crate) fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write(&path, &metadata());
    (folder, path)
}

/// What opening these bytes says.
pub(crate) fn said(folder: &Path, bytes: &[u8]) -> String {
    let path = folder.join("broken.gguf");
    fs::write(&path, bytes).unwrap();
    match open(&path) {
        Ok(_) => "it opens".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Every check that a file can pass or fail by itself.
pub(crate) fn check(path: &Path) -> Result<Container, FormatError> {
    let container = open(path)?;
    container.check_padding()?;
    container.tensors().iter().try_for_each(|entry| container.check_hash(entry))?;
    Ok(container)
}

/// Changes single bytes of a file.
pub(crate) fn bytes_of(path: &Path) -> impl FnMut(usize, u8) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    move |at, byte| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
    }
}

pub(crate) fn assert_same_content(container: &Container) {
    assert_eq!(container.tensors().len(), new_tensors().len());
    for new in new_tensors() {
        let tensor = container.tensor(&new.name).unwrap();
        assert_eq!(tensor.layout(), &new.layout);
        assert_eq!(tensor.view().bytes(), content(&new), "{}", new.name);
    }
}
