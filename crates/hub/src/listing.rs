//! What a revision of a model consists of, as the hub says.

use crate::client::{Client, failure, text};
use crate::digest::Digest;
use crate::name::is_plain;
use crate::retry::patiently;
use crate::{HubError, ModelName};
use serde::Deserialize;

/// The files of a commit.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Name of the commit, a plain name.
    pub(crate) commit: String,
    /// Every file, in subfolders too.
    pub(crate) files: Vec<RemoteFile>,
}

/// A file of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Path within the repository. Not trusted: only [plain](is_plain) names are fetched.
    pub(crate) name: String,
    pub(crate) size: Option<u64>,
    pub(crate) digest: Option<Digest>,
}

/// The answer to `/api/models/ORG/NAME/revision/REVISION?blobs=true`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

/// A file of Git LFS: the blob of the repository is only a pointer to it.
#[derive(Deserialize)]
struct LargeFile {
    #[serde(alias = "oid")]
    sha256: String,
    size: u64,
}

impl From<Sibling> for RemoteFile {
    fn from(sibling: Sibling) -> Self {
        let (digest, size) = match sibling.lfs {
            Some(large) => (Digest::parse(&large.sha256), Some(large.size)),
            None => (sibling.blob_id.as_deref().and_then(Digest::parse), sibling.size),
        };
        Self { name: sibling.rfilename, size, digest }
    }
}

/// Asks for the files of a revision.
pub(crate) fn list(client: &Client, name: &ModelName) -> Result<Listing, HubError> {
    let url = client.listing_url(name);
    let body = patiently(&url, || {
        let mut answer = client.get(&url, 0)?;
        answer.body_mut().read_to_string().map_err(|error| failure(&url, &error))
    })?;
    let answer: Answer = serde_json::from_str(&body).map_err(|error| {
        HubError::answer(&url, format!("not the description of a model: {error}"))
    })?;
    if !is_plain(&answer.sha) {
        return Err(HubError::UnsafeName { what: "commit", name: answer.sha });
    }
    let files = answer.siblings.into_iter().map(RemoteFile::from).collect();
    Ok(Listing { commit: answer.sha, files })
}

/// Size and digest of a file; asked for if the listing does not have them.
pub(crate) fn describe(
    client: &Client,
    url: &str,
    file: &RemoteFile,
) -> Result<(u64, Digest), HubError> {
    if let (Some(size), Some(digest)) = (file.size, &file.digest) {
        return Ok((size, digest.clone()));
    }
    let headers = patiently(url, || client.headers(url))?;
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| text(&headers, name));
    let size = first(["x-linked-size", "content-length"]).and_then(|size| size.parse().ok());
    let digest = first(["x-linked-etag", "etag"]).and_then(Digest::parse);
    match (size.or(file.size), digest.or_else(|| file.digest.clone())) {
        (Some(size), Some(digest)) => Ok((size, digest)),
        _ => Err(HubError::answer(
            url,
            "the hub gives no size and digest by which the file could be checked",
        )),
    }
}
