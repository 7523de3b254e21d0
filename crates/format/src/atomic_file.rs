//! A file that appears under its name only when it is complete and proven.

use crate::FormatError;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A temporary file beside its target. Dropped without [`commit`](Self::commit), it disappears.
pub struct AtomicFile {
    target: PathBuf,
    temporary: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// # Errors
    /// When the target exists and is no regular file, or its folder cannot be written.
    pub fn create(target: &Path) -> Result<Self, FormatError> {
        if fs::metadata(target).is_ok_and(|kind| !kind.is_file()) {
            return Err(FormatError::NotAFile { path: target.to_path_buf() });
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".apr-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What an ordinary file gets; the system takes the umask off.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder(target)).map_err(FormatError::io(target))?;
        let temporary = BufWriter::with_capacity(1 << 20, temporary);
        Ok(Self { target: target.to_path_buf(), temporary })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When the system cannot write them, for example on a full disk.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.temporary.write_all(bytes).map_err(FormatError::io(&self.target))
    }

    /// Replaces bytes at the start of the file, for headers that are known last.
    ///
    /// # Errors
    /// When the system cannot write them.
    pub fn rewrite_start(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let temporary = &mut self.temporary;
        temporary
            .seek(SeekFrom::Start(0))
            .and_then(|_| temporary.write_all(bytes))
            .and_then(|()| temporary.seek(SeekFrom::End(0)))
            .map(drop)
            .map_err(FormatError::io(&self.target))
    }

    /// Makes the file durable, lets `prove` read it back, and only then gives it its name.
    ///
    /// # Errors
    /// When the system cannot write, or `prove` fails: then nothing is left behind, and a file
    /// that stood at the target stands there still.
    pub fn commit<T, E: From<FormatError>>(
        mut self,
        prove: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<T, E> {
        let target = self.target;
        self.temporary.flush().map_err(FormatError::io(&target))?;
        let temporary = self
            .temporary
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .map_err(FormatError::io(&target))?;
        temporary.as_file().sync_all().map_err(FormatError::io(&target))?;
        let proof = prove(temporary.path())?;
        temporary
            .persist(&target)
            .map_err(|error| FormatError::Io { path: target.clone(), source: error.error })?;
        // The rename is durable once the folder is.
        if cfg!(unix) {
            let folder = folder(&target);
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(FormatError::io(folder))?;
        }
        Ok(proof)
    }
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_proof_keeps_the_old_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.apr");
        fs::write(&target, b"old").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write(b"new").unwrap();
        let failed = file.commit(|path| {
            assert_eq!(fs::read(path).unwrap(), b"new");
            Err::<(), _>(FormatError::UnknownFormat { path: path.to_path_buf() })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["model.apr"]);
    }

    #[test]
    fn a_proven_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.apr");
        fs::write(&target, b"old").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write(b"....new").unwrap();
        file.rewrite_start(b"head").unwrap();
        file.commit(|_| Ok::<_, FormatError>(())).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"headnew");
        assert_eq!(names(folder.path()), ["model.apr"]);
    }

    #[test]
    fn a_folder_is_no_target() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(AtomicFile::create(folder.path()), Err(FormatError::NotAFile { .. })));
    }
}
