//! A file that appears under its name only when it is complete and proven.

use crate::{Disk, DiskFile, FormatError};
use std::ffi::OsString;
use std::fs;
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A hidden file beside its target, locked against other processes. Dropped without
/// [`commit`](Self::commit), it disappears; a process that is killed leaves it, and the next one
/// that writes the same target continues or removes it.
pub struct AtomicFile {
    target: PathBuf,
    file: BufWriter<Box<dyn DiskFile>>,
    unfinished: Unfinished,
}

impl AtomicFile {
    /// # Errors
    /// When the target exists and is no regular file, when its folder cannot be written, or when
    /// another process is writing the same target.
    pub fn create(disk: &'static dyn Disk, target: &Path) -> Result<Self, FormatError> {
        Ok(Self::new(target, Place::beside(disk, target, "partial")?.create()?))
    }

    /// Continues the file that an interrupted run left, if there is one. What is there is kept
    /// when this run fails, too.
    pub(crate) fn resume(
        disk: &'static dyn Disk,
        target: &Path,
    ) -> Result<Option<Self>, FormatError> {
        let opened = Place::beside(disk, target, "partial")?.reopen()?;
        Ok(opened.map(|opened| Self::new(target, opened)))
    }

    fn new(target: &Path, (file, unfinished): Opened) -> Self {
        let file = BufWriter::with_capacity(1 << 20, file);
        Self { target: target.to_path_buf(), file, unfinished }
    }

    /// Keeps what was written when this run fails, for one that continues it.
    pub(crate) const fn keep(&mut self) {
        self.unfinished.leftover = Leftover::Keep;
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When the system cannot write them, for example on a full disk.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.file.write_all(bytes).map_err(FormatError::io(&self.target))
    }

    /// Replaces bytes at the start of the file, for headers that are known last.
    ///
    /// # Errors
    /// When the system cannot write them.
    pub fn rewrite_start(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let file = &mut self.file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(bytes))
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map(drop)
            .map_err(FormatError::io(&self.target))
    }

    /// Reads the next bytes of a file that is continued; false if it ends before.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> Result<bool, FormatError> {
        match self.file.get_mut().read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(FormatError::io(&self.target)(error)),
        }
    }

    /// Goes to this place of a file that is continued.
    pub(crate) fn seek(&mut self, to: u64) -> Result<(), FormatError> {
        self.file.seek(SeekFrom::Start(to)).map(drop).map_err(FormatError::io(&self.target))
    }

    /// Cuts off what a file that is continued has behind this place, and goes there.
    pub(crate) fn cut(&mut self, len: u64) -> Result<(), FormatError> {
        self.file.get_ref().set_len(len).map_err(FormatError::io(&self.target))?;
        self.seek(len)
    }

    /// Makes the file durable, lets `prove` read it back, and only then gives it its name.
    ///
    /// # Errors
    /// When the system cannot write, or `prove` fails: a file that stood at the target stands
    /// there still.
    pub fn commit<T, E: From<FormatError>>(
        mut self,
        prove: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<T, E> {
        let target = self.target;
        self.file.flush().map_err(FormatError::io(&target))?;
        self.file.get_ref().sync().map_err(FormatError::io(&target))?;
        let Place { disk, path, .. } = &self.unfinished.place;
        let proof = prove(path);
        if proof.is_err() {
            // Nothing of it can be trusted.
            self.unfinished.leftover = Leftover::Remove;
            return proof;
        }
        disk.rename(path, &target).map_err(FormatError::io(&target))?;
        // The name is free: a file that has it now is another's.
        self.unfinished.leftover = Leftover::Keep;
        // The rename is durable once the folder is.
        let folder = folder(&target);
        disk.sync_folder(folder).map_err(FormatError::io(folder))?;
        proof
    }
}

/// A file that is open and locked, and what becomes of it.
pub(crate) type Opened = (Box<dyn DiskFile>, Unfinished);

/// Where a file that is written for a target lies: hidden, beside the target.
pub(crate) struct Place {
    disk: &'static dyn Disk,
    target: PathBuf,
    path: PathBuf,
}

impl Place {
    /// The place of files of this kind.
    pub(crate) fn beside(
        disk: &'static dyn Disk,
        target: &Path,
        kind: &str,
    ) -> Result<Self, FormatError> {
        let not_a_file = || FormatError::NotAFile { path: target.to_path_buf() };
        if fs::metadata(target).is_ok_and(|kind| !kind.is_file()) {
            return Err(not_a_file());
        }
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or_else(not_a_file)?);
        name.push(".apr-");
        name.push(kind);
        let path = folder(target).join(name);
        Ok(Self { disk, target: target.to_path_buf(), path })
    }

    /// A new file instead of any that an earlier run left.
    pub(crate) fn create(self) -> Result<Opened, FormatError> {
        // Held until the new one is locked, so that no third process comes between.
        let earlier = self.open_earlier()?;
        if earlier.is_some() {
            self.disk.remove(&self.path).map_err(FormatError::io(&self.path))?;
        }
        let file = self.disk.create(&self.path).map_err(FormatError::io(&self.target))?;
        let mut unfinished = Unfinished { place: self, leftover: Leftover::Remove };
        let locked = unfinished.place.locked(file);
        if matches!(locked, Err(FormatError::Busy { .. })) {
            // Another process was quicker: the file of this name is its.
            unfinished.keep();
        }
        Ok((locked?, unfinished))
    }

    /// The file that an earlier run left.
    pub(crate) fn reopen(self) -> Result<Option<Opened>, FormatError> {
        let earlier = self.open_earlier()?;
        let unfinished = Unfinished { place: self, leftover: Leftover::Keep };
        Ok(earlier.map(|file| (file, unfinished)))
    }

    fn open_earlier(&self) -> Result<Option<Box<dyn DiskFile>>, FormatError> {
        match self.disk.reopen(&self.path) {
            Ok(file) => self.locked(file).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FormatError::io(&self.path)(error)),
        }
    }

    fn locked(&self, file: Box<dyn DiskFile>) -> Result<Box<dyn DiskFile>, FormatError> {
        if file.try_lock(&self.path).map_err(FormatError::io(&self.path))? {
            return Ok(file);
        }
        Err(FormatError::Busy { path: self.target.clone() })
    }
}

/// What becomes of a file that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    Remove,
    Keep,
}

/// A locked file that is removed at the end, if nothing else was decided.
pub(crate) struct Unfinished {
    place: Place,
    leftover: Leftover,
}

impl Unfinished {
    /// Keeps the file when this run fails, for one that continues it.
    pub(crate) const fn keep(&mut self) {
        self.leftover = Leftover::Keep;
    }

    /// Removes the file now.
    pub(crate) fn remove(mut self) -> Result<(), FormatError> {
        self.place.disk.remove(&self.place.path).map_err(FormatError::io(&self.place.path))?;
        self.keep();
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.leftover == Leftover::Remove {
            // Why the writing ended is told; this is no more than tidiness.
            let _ = self.place.disk.remove(&self.place.path);
        }
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
    use crate::SystemDisk;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn create(target: &Path) -> Result<AtomicFile, FormatError> {
        AtomicFile::create(&SystemDisk, target)
    }

    #[test]
    fn a_failed_proof_keeps_the_old_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.apr");
        fs::write(&target, b"old").unwrap();
        let mut file = create(&target).unwrap();
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
        let mut file = create(&target).unwrap();
        file.write(b"....new").unwrap();
        file.rewrite_start(b"head").unwrap();
        file.commit(|_| Ok::<_, FormatError>(())).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"headnew");
        assert_eq!(names(folder.path()), ["model.apr"]);
    }

    #[test]
    fn a_folder_is_no_target() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(create(folder.path()), Err(FormatError::NotAFile { .. })));
        assert!(matches!(create(Path::new("/")), Err(FormatError::NotAFile { .. })));
    }

    #[test]
    fn two_do_not_write_the_same_target() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.apr");
        let mut first = create(&target).unwrap();
        assert!(matches!(create(&target), Err(FormatError::Busy { .. })));
        assert!(matches!(AtomicFile::resume(&SystemDisk, &target), Err(FormatError::Busy { .. })));
        first.write(b"first").unwrap();
        first.commit(|_| Ok::<_, FormatError>(())).unwrap();
        create(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"first");
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.apr");
        fs::write(folder.path().join(".model.apr.apr-partial"), b"of an earlier run").unwrap();
        let mut file = create(&target).unwrap();
        file.write(b"new").unwrap();
        file.commit(|_| Ok::<_, FormatError>(())).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["model.apr"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_unfinished_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, other) = (folder.path().join("model.apr"), folder.path().join("other"));
        fs::write(&other, b"other").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join(".model.apr.apr-partial")).unwrap();
        assert!(create(&target).is_err());
        assert!(AtomicFile::resume(&SystemDisk, &target).is_err());
        assert_eq!(fs::read(&other).unwrap(), b"other");
        assert_eq!(names(folder.path()), [".model.apr.apr-partial", "other"]);
    }
}
