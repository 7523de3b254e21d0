//! What `huggingface_hub` takes from the environment, under the same names.

use crate::HubError;
use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, fmt, fs};

const ENDPOINT: &str = "https://huggingface.co";

/// Where the hub and its cache are.
#[derive(Clone)]
pub struct Settings {
    /// Folder of the cache: `HF_HUB_CACHE`, else `HF_HOME`/hub, else `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// Address of the hub, without a slash at its end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// What the hub knows the caller by: `HF_TOKEN`, else the file `HF_HOME`/token.
    pub token: Option<String>,
    /// Whether the network is forbidden: `HF_HUB_OFFLINE`.
    pub offline: bool,
}

impl Settings {
    /// The settings of the environment.
    ///
    /// # Errors
    /// When there is no place for the cache, or the endpoint is no address.
    pub fn from_env() -> Result<Self, HubError> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let home = variable("HF_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".cache/huggingface")));
        let cache = variable("HF_HUB_CACHE")
            .map(PathBuf::from)
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or(HubError::NoHome)?;
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(HubError::Endpoint(endpoint));
        }
        let stored = || fs::read_to_string(home?.join("token")).ok();
        let token = text("HF_TOKEN").or_else(stored).map(|token| token.trim().to_owned());
        Ok(Self {
            cache,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()),
            offline: is_set(variable("HF_HUB_OFFLINE")),
        })
    }
}

/// The values that `huggingface_hub` takes for yes.
fn is_set(value: Option<OsString>) -> bool {
    let value = value.and_then(|value| value.into_string().ok()).unwrap_or_default();
    matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "(secret)"))
            .field("offline", &self.offline)
            .finish()
    }
}
