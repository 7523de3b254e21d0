//! Models of the hub as reports: what was pulled, what the local cache has, what was removed.

use crate::{Error, Progress, Step, units};
use apr_hub::{Cache, ModelName, Observer, Pulled, Settings, SkippedFile, Stage, locate};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The path of a model: itself, or for `hf://ORG/NAME[@REVISION]` what is to be opened in the
/// cache, which it is pulled into if it is not there.
pub(crate) fn resolve(source: &Path, progress: &dyn Progress) -> Result<PathBuf, Error> {
    if !ModelName::is_meant(source) {
        return Ok(source.to_path_buf());
    }
    let (name, settings) = (parse(&source.to_string_lossy())?, settings()?);
    locate(&name, &settings, &Shown(progress)).map_err(Error::hub(&name))
}

fn parse(name: &str) -> Result<ModelName, Error> {
    ModelName::parse(name).map_err(Error::hub(name))
}

fn settings() -> Result<Settings, Error> {
    Settings::from_env().map_err(Error::HubCache)
}

/// Passes on how far a download is.
struct Shown<'a>(&'a dyn Progress);

impl Observer for Shown<'_> {
    fn begin(&self, stage: Stage, bytes: u64) {
        let step = match stage {
            Stage::Download => Step::Download,
            Stage::Check => Step::Check,
        };
        self.0.begin(step, bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn end(&self) {
        self.0.end();
    }
}

/// A model that is in the cache now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PulledModel {
    /// As `hf://` takes it.
    pub name: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit that it is.
    pub commit: String,
    /// The folder of its files.
    pub path: PathBuf,
    /// The files that it needs.
    pub files: Vec<PulledFile>,
    /// Bytes that came from the hub just now.
    pub downloaded_bytes: u64,
    /// What the hub has besides.
    pub skipped: Vec<Skipped>,
}

/// A file in the cache.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PulledFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it came from the hub just now.
    pub downloaded: bool,
}

/// A file that is not needed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Skipped {
    /// Its path in the repository.
    pub name: String,
    /// Its size, if the hub says.
    pub size_bytes: Option<u64>,
}

/// Brings a model of the hub, `hf://ORG/NAME[@REVISION]`, into the cache: the revision as it is
/// now, of it the files that are needed. `file` chooses one of several weight files, by its name
/// or a part of it.
///
/// # Errors
/// When the hub does not have it or does not give it, when what arrives is not what the hub
/// describes, or when the cache cannot be written.
pub fn pull(name: &str, file: Option<&str>, progress: &dyn Progress) -> Result<PulledModel, Error> {
    let (name, settings) = (parse(name)?, settings()?);
    let pulled = apr_hub::pull(&name, file, &settings, &Shown(progress));
    let Pulled { commit, folder, files, skipped } = pulled.map_err(Error::hub(&name))?;
    let new = files.iter().filter(|file| file.is_new);
    Ok(PulledModel {
        downloaded_bytes: new.map(|file| file.size).sum(),
        name: name.to_string(),
        revision: name.revision().to_owned(),
        commit,
        path: folder,
        files: files
            .into_iter()
            .map(|f| PulledFile { name: f.name, size_bytes: f.size, downloaded: f.is_new })
            .collect(),
        skipped: skipped
            .into_iter()
            .map(|SkippedFile { name, size }| Skipped { name, size_bytes: size })
            .collect(),
    })
}

impl fmt::Display for PulledModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = units::Table::new(&["file", "size", ""]).right_align([1]);
        for file in &self.files {
            let from = if file.downloaded { "downloaded" } else { "was in the cache" };
            let name = file.name.escape_debug().to_string();
            table.row([name, units::bytes(file.size_bytes), from.to_owned()]);
        }
        writeln!(f, "{table}")?;
        if !self.skipped.is_empty() {
            writeln!(f, "not needed  {}", self.skipped_by_folder().join(", "))?;
        }
        writeln!(f, "commit      {}", self.commit)?;
        writeln!(f, "folder      {}", self.path.display())
    }
}

impl PulledModel {
    /// What is not needed: files by name, folders by what is in them.
    fn skipped_by_folder(&self) -> Vec<String> {
        let mut places: BTreeMap<String, (usize, u64)> = BTreeMap::new();
        for file in &self.skipped {
            let folder = file.name.split_once('/').map(|(folder, _)| format!("{folder}/"));
            let place = places.entry(folder.unwrap_or_else(|| file.name.clone())).or_default();
            *place = (place.0 + 1, place.1 + file.size_bytes.unwrap_or_default());
        }
        let shown = |(name, (count, bytes)): (String, (usize, u64))| {
            let (name, size) = (name.escape_debug().to_string(), units::bytes(bytes));
            let count =
                if name.ends_with('/') { format!("{count} files, ") } else { String::new() };
            format!("{name} ({count}{size})")
        };
        places.into_iter().map(shown).collect()
    }
}

/// The models in the cache.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CachedModels {
    /// Sorted by name.
    pub models: Vec<CachedModel>,
    /// Folder of the cache.
    pub cache: PathBuf,
}

/// A weight file in the cache.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CachedModel {
    /// `ORG_NAME`; with `@REVISION` unless that is `main`, and with the file's name where a
    /// snapshot has several weight files.
    pub name: String,
    /// `ORG/NAME[@REVISION]`, as `hf://` takes it.
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
    let cache = settings()?.cache;
    let files = Cache::new(&cache).files().map_err(Error::HubCache)?;
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        *count.entry(file.name.to_string()).or_default() += 1;
    }
    let model = |file: &apr_hub::CachedFile| {
        let (name, several) = (&file.name, count[&file.name.to_string()] > 1);
        let at = name.asked_revision().map(|revision| format!("@{revision}")).unwrap_or_default();
        let weights = file.path.file_name().unwrap_or_default().to_string_lossy();
        let suffix = if several { format!("/{weights}") } else { String::new() };
        CachedModel {
            name: format!("{}_{}{at}{suffix}", name.org(), name.name()),
            repo: format!("{}{at}", name.repo()),
            path: file.path.clone(),
            size_bytes: file.size,
        }
    };
    let mut models: Vec<CachedModel> = files.iter().map(model).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(CachedModels { models, cache })
}

impl fmt::Display for CachedModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.models.is_empty() {
            let folder = self.cache.display();
            return writeln!(f, "no models in {folder}; `apr pull hf://ORG/NAME` brings one there");
        }
        let mut table = units::Table::new(&["model", "size", "file"]).right_align([1]);
        for model in &self.models {
            table.row([
                format!("hf://{}", model.repo),
                units::bytes(model.size_bytes),
                model.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            ]);
        }
        table.fmt(f)
    }
}

/// What was removed from the cache.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemovedModel {
    /// As `hf://` takes it.
    pub name: String,
    /// The folder that is gone; a snapshot stays while another revision is the same commit.
    pub path: PathBuf,
    /// Contents that no other revision has.
    pub removed_files: usize,
    /// Their bytes.
    pub freed_bytes: u64,
}

/// Removes a model of the cache, `hf://ORG/NAME`, or with `@REVISION` only that revision and what
/// no other needs.
///
/// # Errors
/// When it is not there, or cannot be removed.
pub fn remove(name: &str) -> Result<RemovedModel, Error> {
    let (name, settings) = (parse(name)?, settings()?);
    let removed = Cache::new(settings.cache).remove(&name).map_err(Error::hub(&name))?;
    Ok(RemovedModel {
        name: name.to_string(),
        path: removed.folder,
        removed_files: removed.files,
        freed_bytes: removed.bytes,
    })
}

impl fmt::Display for RemovedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, freed) = (self.removed_files, units::bytes(self.freed_bytes));
        writeln!(f, "removed {}: {files} files, {freed}", self.name)
    }
}
