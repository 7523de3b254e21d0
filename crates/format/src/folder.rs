//! Files of a folder that came from a stranger: what has a name there must be there.
//!
//! A folder may hold links, and a link may lead to any file of whoever runs this program: its text
//! would become the chat template of a model that is published later. So a file is opened first, and
//! then the open file is asked where it lies. The one place elsewhere that counts is the store of
//! the hub's cache, `models--ORG--NAME/blobs`, to which the files of its snapshots are links.

use crate::{FormatError, Malformed};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Limit of a tokenizer, an index or a configuration: ten times the largest that is known.
const MAX_TEXT_BYTES: u64 = 1 << 29;

/// Opens a file by its name in a folder.
///
/// # Errors
/// When it is no regular file, or a link to one that lies neither in this folder nor in the store
/// of a hub's cache. Where there is nothing of this name, the kind of the error is
/// [`ErrorKind::NotFound`].
pub fn open_in_folder(folder: &Path, name: &str) -> Result<File, FormatError> {
    let path = folder.join(name);
    let as_error = || FormatError::io(&path);
    let is_link = fs::symlink_metadata(&path).map_err(as_error())?.is_symlink();
    if !is_link {
        return open_plain(&path).map_err(as_error());
    }
    let target = fs::canonicalize(&path).map_err(as_error())?;
    let named = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let real_folder = fs::canonicalize(named).map_err(as_error())?;
    if target.parent() != Some(&*real_folder) && !is_in_store(&target) {
        return Err(FormatError::Link { path, target });
    }
    let file = open_plain(&target).map_err(as_error())?;
    let place = place_of(&file, &target).map_err(as_error())?;
    if place != target {
        return Err(FormatError::Link { path, target: place });
    }
    Ok(file)
}

/// Reads a file of text by its name in a folder; none if there is nothing of this name.
///
/// # Errors
/// As for [`open_in_folder`], and when the file is larger than any such text.
pub fn read_in_folder(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, FormatError> {
    let file = match open_in_folder(folder, name) {
        Ok(file) => file,
        Err(FormatError::Io { source, .. }) if is_absent(&source) => return Ok(None),
        Err(error) => return Err(error),
    };
    let path = folder.join(name);
    let len = file.metadata().map_err(FormatError::io(&path))?.len();
    if len > MAX_TEXT_BYTES {
        let cause = Malformed::TooLarge { what: "a text", len, limit: MAX_TEXT_BYTES };
        return Err(FormatError::Malformed { path, cause });
    }
    let mut text = Vec::new();
    file.take(MAX_TEXT_BYTES).read_to_end(&mut text).map_err(FormatError::io(&path))?;
    Ok(Some(text))
}

/// Whether there is nothing of the name that was opened.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Whether this is `models--ORG--NAME/blobs/DIGEST`.
fn is_in_store(target: &Path) -> bool {
    let mut names = target.iter().rev().skip(1);
    let (store, repository) = (names.next(), names.next().and_then(OsStr::to_str));
    store.is_some_and(|store| store == "blobs")
        && repository.is_some_and(|name| name.starts_with("models--"))
}

/// Opens a regular file that is no link.
fn open_plain(path: &Path) -> io::Result<File> {
    let file = without_links(OpenOptions::new().read(true)).open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

/// # Errors
/// When it is a folder, a pipe or a device.
pub(crate) fn check_regular(file: &Metadata) -> io::Result<()> {
    if file.is_file() {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::Unsupported, "not a regular file"))
}

/// A link is refused, and a pipe without a writer is not waited for.
#[cfg(unix)]
fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
}

#[cfg(not(unix))]
fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Where an open file lies, without a link on the way.
#[cfg(target_os = "linux")]
fn place_of(file: &File, path: &Path) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    // Where /proc is not there, the path must do.
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).or_else(|_| fs::canonicalize(path))
}

#[cfg(not(target_os = "linux"))]
fn place_of(_: &File, path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_to_the_folder_or_to_the_store_of_a_cache() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let snapshot = at("models--org--name/snapshots/abc");
        let store = at("models--org--name/blobs");
        for folder in [&snapshot, &store, &at("blobs"), &at("private")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(store.join("digest"), "blob").unwrap();
        fs::write(at("blobs/digest"), "else").unwrap();
        fs::write(at("private/key"), "secret").unwrap();
        fs::write(snapshot.join("file"), "plain").unwrap();
        let link = |name: &str, target: &str| symlink(target, snapshot.join(name)).unwrap();
        link("blob", "../../blobs/digest");
        link("beside", "file");
        link("twice", "blob");
        let read = |name: &str| {
            io::read_to_string(open_in_folder(&snapshot, name)?)
                .map_err(FormatError::io(Path::new(name)))
        };
        for (name, text) in
            [("file", "plain"), ("blob", "blob"), ("beside", "plain"), ("twice", "blob")]
        {
            assert_eq!(read(name).unwrap(), text, "{name}");
        }
        link("up", "../../../private/key");
        link("other", "../../../blobs/digest");
        symlink(at("private/key"), snapshot.join("absolute")).unwrap();
        symlink(at("private"), snapshot.join("folder")).unwrap();
        for name in ["up", "other", "absolute", "folder"] {
            assert!(matches!(read(name), Err(FormatError::Link { .. })), "{name}");
        }
        // The folder itself may be a link.
        symlink(&snapshot, at("link")).unwrap();
        assert!(open_in_folder(&at("link"), "beside").is_ok());
        link("nowhere", "nothing");
        for name in ["nowhere", "missing"] {
            let error = open_in_folder(&snapshot, name).err().unwrap();
            assert!(
                matches!(&error, FormatError::Io { source, .. } if source.kind() == ErrorKind::NotFound),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let pipe = root.path().join("config.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        fs::create_dir(root.path().join("folder")).unwrap();
        for name in ["config.json", "folder"] {
            let error = open_in_folder(root.path(), name).err().unwrap().to_string();
            assert!(error.contains("not a regular file"), "{error}");
        }
    }
}
