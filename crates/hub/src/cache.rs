//! The cache: `models--ORG--NAME/blobs/DIGEST` holds contents, `snapshots/COMMIT/FILE` links to
//! them, `refs/REVISION` names a commit.

use crate::name::{MAIN, is_plain};
use crate::weights::{self, Found};
use crate::{HubError, ModelName};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const REPO_PREFIX: &str = "models--";
const REFS: &str = "refs";
const SNAPSHOTS: &str = "snapshots";
const BLOBS: &str = "blobs";
const LOCKS: &str = ".locks";
/// The end of a name of a file that has not arrived in full.
const INCOMPLETE: &str = "incomplete";
/// Folders in `refs` below each other, as in `refs/pr/1`.
const REF_DEPTH: usize = 4;

/// A folder of models.
pub struct Cache {
    root: PathBuf,
}

/// A weight file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    /// The model, with its revision unless that is `main`.
    pub name: ModelName,
    /// The file, in its snapshot.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

/// What a cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheState {
    /// Whether files can be made in it, or the folder itself if it is not there.
    pub writable: bool,
    /// Models in it.
    pub models: usize,
    /// Bytes of their contents, of those that have not arrived in full as well.
    pub bytes: u64,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The folder, of the model or of one snapshot.
    pub folder: PathBuf,
    /// Number of contents that are gone.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What a snapshot is good for.
pub(crate) enum Usable {
    /// This file or folder can be opened.
    Path(PathBuf),
    /// Weights are missing.
    Incomplete,
}

impl Cache {
    /// The cache in this folder, which need not exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn repo(&self, name: &ModelName) -> Repo {
        let folder = format!("{REPO_PREFIX}{}--{}", name.org(), name.name());
        Repo { locks: self.root.join(LOCKS).join(&folder), folder: self.root.join(folder) }
    }

    /// Every model, sorted.
    fn models(&self) -> Result<Vec<ModelName>, HubError> {
        let name = |folder: OsString| {
            let (org, name) = folder.to_str()?.strip_prefix(REPO_PREFIX)?.split_once("--")?;
            Some(ModelName::cached(org, name, None))
        };
        Ok(entries(&self.root)?.into_iter().filter_map(name).collect())
    }

    /// What it is.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn state(&self) -> Result<CacheState, HubError> {
        let models = self.models()?;
        let mut bytes = 0;
        for model in &models {
            bytes += self.repo(model).blobs()?.values().sum::<u64>();
        }
        let nearest = self.root.ancestors().find(|folder| folder.exists());
        let writable = nearest.is_some_and(|folder| tempfile::tempfile_in(folder).is_ok());
        Ok(CacheState { writable, models: models.len(), bytes })
    }

    /// The weight files of every revision of every model, sorted by name.
    ///
    /// # Errors
    /// When the cache exists and cannot be read.
    pub fn files(&self) -> Result<Vec<CachedFile>, HubError> {
        let mut files = Vec::new();
        for main in self.models()? {
            let repo = self.repo(&main);
            for (commit, revision) in repo.snapshots()? {
                let revision = Some(revision).filter(|revision| revision != main.revision());
                let name = ModelName::cached(main.org(), main.name(), revision);
                let snapshot = repo.snapshot_folder(&commit);
                for file in entries(&snapshot)? {
                    let path = snapshot.join(&file);
                    // A link to nothing is a file that is not there.
                    let Ok(found) = fs::metadata(&path) else { continue };
                    if found.is_file() && file.to_str().is_some_and(weights::is_weights) {
                        files.push(CachedFile { name: name.clone(), path, size: found.len() });
                    }
                }
            }
        }
        Ok(files)
    }

    /// Removes a model, or one revision of it and the contents that no other revision has.
    ///
    /// # Errors
    /// When it is not there, or cannot be removed.
    pub fn remove(&self, name: &ModelName) -> Result<Removed, HubError> {
        let repo = self.repo(name);
        let not_cached = || HubError::NotCached {
            revision: name.revision().to_owned(),
            folder: repo.folder.clone(),
        };
        if name.asked_revision().is_none() {
            if !repo.folder.is_dir() {
                return Err(not_cached());
            }
            let blobs = repo.blobs()?;
            fs::remove_dir_all(&repo.folder).map_err(HubError::io(&repo.folder))?;
            match fs::remove_dir_all(&repo.locks) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(HubError::io(&repo.locks)(error));
                }
                _ => {}
            }
            let (files, bytes) = (blobs.len(), blobs.values().sum());
            return Ok(Removed { folder: repo.folder, files, bytes });
        }
        let commit = repo.commit(name.revision()).ok_or_else(not_cached)?;
        repo.remove_revision(name.revision(), &commit)
    }
}

/// The folder of a model.
pub(crate) struct Repo {
    folder: PathBuf,
    locks: PathBuf,
}

impl Repo {
    /// Where the model is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn snapshot_folder(&self, commit: &str) -> PathBuf {
        self.folder.join(SNAPSHOTS).join(commit)
    }

    /// The commit of a revision, a branch or tag by its ref or else the commit itself, if its
    /// snapshot is there.
    fn commit(&self, revision: &str) -> Option<String> {
        let stored = fs::read_to_string(self.folder.join(REFS).join(revision));
        let commit = stored.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
        (is_plain(&commit) && self.snapshot_folder(&commit).is_dir()).then_some(commit)
    }

    /// The folder of a revision's files.
    pub(crate) fn snapshot(&self, revision: &str) -> Option<(String, PathBuf)> {
        let commit = self.commit(revision)?;
        let folder = self.snapshot_folder(&commit);
        Some((commit, folder))
    }

    /// The place of a content.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join(BLOBS).join(digest)
    }

    /// The place of a content that has not arrived in full.
    pub(crate) fn partial(&self, digest: &str) -> PathBuf {
        self.folder.join(BLOBS).join(format!("{digest}.{INCOMPLETE}"))
    }

    /// Makes the folders, and waits until no other process fetches this content.
    pub(crate) fn lock(&self, digest: &str) -> Result<File, HubError> {
        let blobs = self.folder.join(BLOBS);
        for folder in [&blobs, &self.locks] {
            fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        }
        let path = self.locks.join(format!("{digest}.lock"));
        let lock = File::create(&path).map_err(HubError::io(&path))?;
        lock.lock().map_err(HubError::io(&path))?;
        Ok(lock)
    }

    /// Gives files, by name and digest, their places in the snapshot of a commit, and the commit
    /// its name.
    pub(crate) fn publish(
        &self,
        commit: &str,
        files: &[(String, String)],
        revision: &str,
    ) -> Result<PathBuf, HubError> {
        let snapshot = self.snapshot_folder(commit);
        fs::create_dir_all(&snapshot).map_err(HubError::io(&snapshot))?;
        for (name, digest) in files {
            link(&self.blob(digest), &snapshot.join(name))?;
        }
        if revision != commit {
            self.name_commit(revision, commit)?;
        }
        Ok(snapshot)
    }

    /// Writes a ref, whole or not at all.
    fn name_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.folder.join(REFS).join(revision);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(HubError::io(parent))?;
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(parent)?;
            file.write_all(commit.as_bytes())?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(HubError::io(&path))
    }

    /// Every ref with its commit.
    fn refs(&self) -> Result<BTreeMap<String, String>, HubError> {
        let mut refs = BTreeMap::new();
        let mut folders = vec![String::new()];
        for _ in 0..REF_DEPTH {
            let mut deeper = Vec::new();
            for prefix in folders {
                let folder = self.folder.join(REFS).join(&prefix);
                for entry in entries(&folder)? {
                    let Some(name) = entry.to_str().map(|name| format!("{prefix}{name}")) else {
                        continue;
                    };
                    let path = folder.join(&entry);
                    if path.is_dir() {
                        deeper.push(format!("{name}/"));
                    } else if let Ok(commit) = fs::read_to_string(path) {
                        refs.insert(name, commit.trim().to_owned());
                    }
                }
            }
            folders = deeper;
        }
        Ok(refs)
    }

    /// Every snapshot, by a revision that names it: `main` if that does, else another ref, else
    /// its commit.
    fn snapshots(&self) -> Result<Vec<(String, String)>, HubError> {
        let refs = self.refs()?;
        let commits = entries(&self.folder.join(SNAPSHOTS))?;
        let mut snapshots = Vec::new();
        for commit in commits.into_iter().filter_map(|commit| commit.into_string().ok()) {
            let named = |name: &&String| refs.get(*name) == Some(&commit);
            let names: Vec<&String> = refs.keys().filter(named).collect();
            let main = names.iter().find(|name| **name == MAIN).or(names.first());
            let revision = main.map_or(&commit, |name| *name).clone();
            snapshots.push((commit, revision));
        }
        snapshots.sort_by(|(_, a), (_, b)| (a != MAIN, a).cmp(&(b != MAIN, b)));
        Ok(snapshots)
    }

    /// Contents, also those that have not arrived in full, with their sizes.
    fn blobs(&self) -> Result<BTreeMap<PathBuf, u64>, HubError> {
        let folder = self.folder.join(BLOBS);
        let size = |name: OsString| {
            let path = folder.join(name);
            let size = fs::symlink_metadata(&path).map_err(HubError::io(&path))?.len();
            Ok((path, size))
        };
        entries(&folder)?.into_iter().map(size).collect()
    }

    /// Removes a ref, and its snapshot unless another ref names it.
    fn remove_revision(&self, revision: &str, commit: &str) -> Result<Removed, HubError> {
        let snapshot = self.snapshot_folder(commit);
        let mut refs = self.refs()?;
        let path = self.folder.join(REFS).join(revision);
        if refs.remove(revision).is_some() {
            fs::remove_file(&path).map_err(HubError::io(&path))?;
        } else {
            // A commit was named: whatever names it goes with it.
            for (name, _) in refs.iter().filter(|(_, named)| *named == commit) {
                let path = self.folder.join(REFS).join(name);
                fs::remove_file(&path).map_err(HubError::io(&path))?;
            }
            refs.retain(|_, named| named != commit);
        }
        let mut removed = Removed { folder: snapshot.clone(), files: 0, bytes: 0 };
        if refs.values().any(|named| named == commit) {
            return Ok(removed);
        }
        fs::remove_dir_all(&snapshot).map_err(HubError::io(&snapshot))?;
        let mut used = BTreeSet::new();
        for (commit, _) in self.snapshots()? {
            let folder = self.snapshot_folder(&commit);
            let links = entries(&folder)?.into_iter().map(|name| fs::read_link(folder.join(name)));
            used.extend(links.filter_map(|link| Some(link.ok()?.file_name()?.to_owned())));
        }
        for (path, size) in self.blobs()? {
            if !path.file_name().is_some_and(|name| used.contains(name)) {
                fs::remove_file(&path).map_err(HubError::io(&path))?;
                removed.files += 1;
                removed.bytes += size;
            }
        }
        Ok(removed)
    }
}

/// The file or folder of a snapshot that is to be opened.
pub(crate) fn usable(snapshot: &Path) -> Result<Usable, HubError> {
    let exists = |name: &OsString| snapshot.join(name).is_file();
    let names: Vec<String> = entries(snapshot)?
        .into_iter()
        .filter(exists)
        .filter_map(|name| name.into_string().ok())
        .collect();
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut sets = match weights::find(&names) {
        Found::Single(_) => return Ok(Usable::Path(snapshot.to_path_buf())),
        Found::Sharded => {
            let path = snapshot.join(weights::INDEX);
            let index = fs::read_to_string(&path).map_err(HubError::io(&path))?;
            // An index that cannot be read is explained when it is opened.
            let has_all =
                |shards: BTreeSet<String>| shards.iter().all(|s| names.contains(s.as_str()));
            return Ok(if weights::shards(&index).is_ok_and(|shards| !has_all(shards)) {
                Usable::Incomplete
            } else {
                Usable::Path(snapshot.to_path_buf())
            });
        }
        Found::Sets(sets) => sets,
    };
    sets.retain(|set| weights::is_complete(set));
    match &sets[..] {
        [] => Ok(Usable::Incomplete),
        [only] => Ok(Usable::Path(snapshot.join(only[0]))),
        _ => Err(HubError::SeveralCached {
            folder: snapshot.to_path_buf(),
            files: crate::select::first_names(&sets),
        }),
    }
}

/// Puts a content into a snapshot: by a relative link, so that the cache can be moved, or by a
/// copy where the system has no links for everyone.
fn link(blob: &Path, target: &Path) -> Result<(), HubError> {
    let digest = blob.file_name().unwrap_or_default();
    let relative = Path::new("../..").join(BLOBS).join(digest);
    if fs::read_link(target).is_ok_and(|link| link == relative) {
        return Ok(());
    }
    match fs::remove_file(target) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(HubError::io(target)(error));
        }
        _ => {}
    }
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(relative, target);
    #[cfg(not(unix))]
    let linked = fs::copy(blob, target).map(drop);
    linked.map_err(HubError::io(target))
}

/// The names in a folder, sorted; none if it does not exist.
fn entries(folder: &Path) -> Result<Vec<OsString>, HubError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names: Vec<OsString> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
        .map_err(HubError::io(folder))?;
    names.sort();
    Ok(names)
}
