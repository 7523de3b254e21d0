//! A model, from the cache or from the hub.

use crate::cache::{Repo, Usable, usable};
use crate::client::Client;
use crate::download::{Wanted, download};
use crate::listing::{RemoteFile, describe, list};
use crate::select::select;
use crate::{Cache, HubError, ModelName, Observer, Settings, weights};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A model that is in the cache now.
#[derive(Debug)]
pub struct Pulled {
    /// The commit of its revision.
    pub commit: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// What it consists of.
    pub files: Vec<PulledFile>,
    /// What the hub has besides.
    pub skipped: Vec<SkippedFile>,
}

/// A file that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Whether it came from the hub just now, and was not in the cache before.
    pub is_new: bool,
}

/// A file that is not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedFile {
    /// Its path in the repository, as the hub spells it.
    pub name: String,
    /// Its bytes, if the hub says.
    pub size: Option<u64>,
}

/// The path of a model: of its snapshot in the cache, or of its only file there. What is not in
/// the cache is [pulled](pull).
///
/// # Errors
/// As for [`pull`].
pub fn locate(
    name: &ModelName,
    settings: &Settings,
    observer: &dyn Observer,
) -> Result<PathBuf, HubError> {
    let repo = Cache::new(&settings.cache).repo(name);
    if let Some((_, folder)) = repo.snapshot(name.revision())
        && let Usable::Path(path) = usable(&folder)?
    {
        return Ok(path);
    }
    let pulled = pull(name, None, settings, observer)?;
    match usable(&pulled.folder)? {
        Usable::Path(path) => Ok(path),
        Usable::Incomplete => {
            let found = pulled.files.into_iter().map(|file| file.name).collect::<Vec<_>>();
            Err(HubError::NoWeights { found: found.join(", ") })
        }
    }
}

/// Brings a model of the hub into the cache: the revision as it is now, of it the files that are
/// needed, of several weight files the one that is `wanted`. Offline, says what the cache has.
///
/// # Errors
/// When the hub does not have it or does not give it, when what arrives is not what the hub
/// describes, or when the cache cannot be written.
pub fn pull(
    name: &ModelName,
    wanted: Option<&str>,
    settings: &Settings,
    observer: &dyn Observer,
) -> Result<Pulled, HubError> {
    let repo = Cache::new(&settings.cache).repo(name);
    if settings.offline {
        return cached(&repo, name);
    }
    let client = Client::new(settings);
    let listing = list(&client, name)?;
    let selection = select(name, &listing.files, wanted)?;
    let source = Source { client: &client, repo: &repo, name, commit: &listing.commit, observer };
    let mut fetched = source.fetch_all(&selection.first)?;
    if selection.is_sharded {
        let index = fetched.iter().find(|file| file.file.name == weights::INDEX);
        let shards = index.map_or(Ok(Vec::new()), |index| source.shards(index, &listing.files))?;
        fetched.extend(source.fetch_all(&shards)?);
    }
    let places: Vec<(String, String)> =
        fetched.iter().map(|file| (file.file.name.clone(), file.digest.clone())).collect();
    let folder = repo.publish(&listing.commit, &places, name.revision())?;
    let files: Vec<PulledFile> = fetched.into_iter().map(|fetched| fetched.file).collect();
    let needed: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let skipped = listing.files.iter().filter(|file| !needed.contains(file.name.as_str()));
    let skipped = skipped.map(|file| SkippedFile { name: file.name.clone(), size: file.size });
    Ok(Pulled { commit: listing.commit, folder, skipped: skipped.collect(), files })
}

/// What the cache has.
fn cached(repo: &Repo, name: &ModelName) -> Result<Pulled, HubError> {
    let snapshot = repo.snapshot(name.revision());
    let whole = snapshot.filter(|(_, folder)| !matches!(usable(folder), Ok(Usable::Incomplete)));
    let (commit, folder) = whole.ok_or_else(|| HubError::Offline {
        revision: name.revision().to_owned(),
        folder: repo.folder().to_path_buf(),
    })?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(HubError::io(&folder))? {
        let path = entry.map_err(HubError::io(&folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = fs::metadata(&path).map_err(HubError::io(&path))?.len();
        files.push(PulledFile { name, size, is_new: false });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Pulled { commit, folder, files, skipped: Vec::new() })
}

/// A file whose content is in the cache.
struct Fetched {
    file: PulledFile,
    digest: String,
    blob: PathBuf,
}

/// Where files come from and go to.
struct Source<'a> {
    client: &'a Client,
    repo: &'a Repo,
    name: &'a ModelName,
    commit: &'a str,
    observer: &'a dyn Observer,
}

impl Source<'_> {
    fn fetch_all(&self, files: &[&RemoteFile]) -> Result<Vec<Fetched>, HubError> {
        files.iter().map(|file| self.fetch(file)).collect()
    }

    /// Fetches a file, unless its content is in the cache.
    fn fetch(&self, file: &RemoteFile) -> Result<Fetched, HubError> {
        let url = self.client.file_url(self.name, self.commit, &file.name);
        let (size, digest) = describe(self.client, &url, file)?;
        let (name, digits) = (file.name.as_str(), digest.as_str());
        let blob = self.repo.blob(digits);
        let _lock = self.repo.lock(digits)?;
        let is_new = !has_size(&blob, size);
        if is_new {
            let wanted = Wanted { name, url: &url, size, digest: &digest };
            let partial = self.repo.partial(digits);
            download(self.client, &wanted, (&partial, &blob), self.observer)?;
        }
        let file = PulledFile { name: name.to_owned(), size, is_new };
        Ok(Fetched { file, digest: digits.to_owned(), blob })
    }

    /// The files that an index names.
    fn shards<'f>(
        &self,
        index: &Fetched,
        files: &'f [RemoteFile],
    ) -> Result<Vec<&'f RemoteFile>, HubError> {
        let wrong = |cause: String| {
            let url = self.client.file_url(self.name, self.commit, weights::INDEX);
            HubError::answer(&url, cause)
        };
        let text = fs::read_to_string(&index.blob).map_err(HubError::io(&index.blob))?;
        let shards = weights::shards(&text).map_err(wrong)?;
        let find = |shard: &String| {
            let found = files.iter().find(|file| file.name == *shard);
            found.ok_or_else(|| wrong(format!("the index names {shard:?}, which is not there")))
        };
        shards.iter().map(find).collect()
    }
}

/// Whether a content is there, and not cut off by a full disk or another program.
fn has_size(blob: &Path, size: u64) -> bool {
    fs::metadata(blob).is_ok_and(|found| found.is_file() && found.len() == size)
}
