//! The local cache of the model hub, in the layout of `huggingface_hub`:
//! `models--ORG--NAME/refs/REVISION` holds a commit, `snapshots/COMMIT/` the files.

use crate::{Error, units};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::{env, fs};

const SCHEME: &str = "hf://";
const REPO_PREFIX: &str = "models--";

/// The path of a model: itself, or for `hf://ORG/NAME[@REVISION]` its snapshot in the cache.
pub(crate) fn resolve(source: &Path) -> Result<PathBuf, Error> {
    let Some(name) = source.to_str().and_then(|source| source.strip_prefix(SCHEME)) else {
        return Ok(source.to_path_buf());
    };
    let fail = |cause: String| Error::Hub { name: format!("{SCHEME}{name}"), cause };
    let (repo, revision) = name.split_once('@').unwrap_or((name, "main"));
    let plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '\0'])
    };
    let (org, model) = repo
        .split_once('/')
        .filter(|(org, model)| plain(org) && plain(model) && plain(revision))
        .ok_or_else(|| fail("expected hf://ORG/NAME or hf://ORG/NAME@REVISION".to_owned()))?;
    let repo = cache_dir()?.join(format!("{REPO_PREFIX}{org}--{model}"));
    let snapshot = snapshot(&repo, revision);
    snapshot.ok_or_else(|| {
        fail(format!("revision {revision} is not in the cache ({})", repo.display()))
    })
}

/// The folder of a revision's files: a branch or tag by its ref, else a commit.
fn snapshot(repo: &Path, revision: &str) -> Option<PathBuf> {
    let commit = fs::read_to_string(repo.join("refs").join(revision));
    let commit = commit.as_deref().map_or(revision, str::trim);
    Some(repo.join("snapshots").join(commit)).filter(|folder| folder.is_dir())
}

/// `HF_HUB_CACHE`, else `HF_HOME`/hub, else `~/.cache/huggingface/hub`.
fn cache_dir() -> Result<PathBuf, Error> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| env::home_dir().map(|home| home.join(".cache/huggingface/hub")))
        .ok_or_else(|| Error::Argument("no home folder; set HF_HUB_CACHE".to_owned()))
}

/// The models in the cache.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CachedModels {
    /// Sorted by name.
    pub models: Vec<CachedModel>,
    /// Folder of the cache.
    pub cache: PathBuf,
}

/// A weight file or folder in the cache.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CachedModel {
    /// `ORG_NAME`; with the file's name where a snapshot has several weight files.
    pub name: String,
    /// `ORG/NAME`, as `hf://` takes it.
    pub repo: String,
    /// The weight file.
    pub path: PathBuf,
    /// Size of that file.
    pub size_bytes: u64,
}

/// Lists the weight files of every model in the cache.
///
/// # Errors
/// When the cache exists and cannot be read.
pub fn list() -> Result<CachedModels, Error> {
    let cache = cache_dir()?;
    let mut models = Vec::new();
    for repo in entries(&cache)? {
        let Some((org, name)) = repo
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(REPO_PREFIX)?.split_once("--"))
        else {
            continue;
        };
        let Some(folder) = snapshot(&repo, "main") else { continue };
        let mut weights = entries(&folder)?;
        weights.retain(|file| {
            matches!(file.extension().and_then(|e| e.to_str()), Some("safetensors" | "apr"))
        });
        let several = weights.len() > 1;
        for path in weights {
            let size_bytes = fs::metadata(&path).map_err(Error::io(&path))?.len();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let suffix = if several { format!("/{file}") } else { String::new() };
            let (name, repo) = (format!("{org}_{name}{suffix}"), format!("{org}/{name}"));
            models.push(CachedModel { name, repo, path, size_bytes });
        }
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(CachedModels { models, cache })
}

/// The entries of a folder, sorted; none if it does not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(Error::io(folder))?;
    paths.sort();
    Ok(paths)
}

impl fmt::Display for CachedModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.models.is_empty() {
            return writeln!(f, "no models in {}", self.cache.display());
        }
        let mut table = units::Table::new(&["model", "size", "file"]);
        for model in &self.models {
            table.row([
                format!("{SCHEME}{}", model.repo),
                units::bytes(model.size_bytes),
                model.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            ]);
        }
        table.fmt(f)
    }
}
