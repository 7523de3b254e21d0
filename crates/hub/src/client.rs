//! Requests to the hub. The token goes to the hub alone, never to where it redirects.

use crate::retry::Failure;
use crate::{HubError, ModelName, Settings};
use std::time::Duration;
use ureq::config::{Config, RedirectAuthHeaders};
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

/// Time to connect, to answer, and between two parts of a body.
const PATIENCE: Duration = Duration::from_secs(20);
/// Redirects within the hub, of models that were renamed.
const RENAMES: usize = 5;

const TOKEN_ADVICE: &str = "there is no such model, or it is private or gated: check the name, accept its conditions on its page, and set HF_TOKEN to a token that may read it";

/// A connection to the hub.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Self {
        let config: Config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("apr/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .build();
        Self {
            agent: config.new_agent(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
        }
    }

    /// Where the hub lists the files of a revision, with their digests.
    pub(crate) fn listing_url(&self, name: &ModelName) -> String {
        let (org, repo) = (escaped(name.org()), escaped(name.name()));
        let revision = escaped(name.revision());
        format!("{}/api/models/{org}/{repo}/revision/{revision}?blobs=true", self.endpoint)
    }

    /// Where the hub has a file of a commit.
    pub(crate) fn file_url(&self, name: &ModelName, commit: &str, file: &str) -> String {
        let (org, repo) = (escaped(name.org()), escaped(name.name()));
        let commit = escaped(commit);
        format!("{}/{org}/{repo}/resolve/{commit}/{}", self.endpoint, escaped(file))
    }

    fn authorized(&self, request: RequestBuilder<WithoutBody>) -> RequestBuilder<WithoutBody> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// What is at an address, from an offset on.
    pub(crate) fn get(&self, url: &str, from: u64) -> Result<Response<Body>, Failure> {
        let mut request = self.authorized(self.agent.get(url));
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        judge(url, request.call())
    }

    /// What the hub itself, and not where it redirects to, says about a file.
    pub(crate) fn headers(&self, url: &str) -> Result<HeaderMap, Failure> {
        let mut url = url.to_owned();
        for _ in 0..RENAMES {
            let request = self.authorized(self.agent.head(&url));
            let request = request.config().max_redirects(0).max_redirects_will_error(false).build();
            let headers = judge(&url, request.call())?.headers().clone();
            match text(&headers, "location") {
                Some(path) if path.starts_with('/') => url = format!("{}{path}", self.endpoint),
                _ => return Ok(headers),
            }
        }
        Err(HubError::answer(&url, "too many redirects").into())
    }
}

/// The text of a header.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Tells answers from refusals, and refusals from failures that pass.
fn judge(
    url: &str,
    answer: Result<Response<Body>, ureq::Error>,
) -> Result<Response<Body>, Failure> {
    let answer = answer.map_err(|error| failure(url, &error))?;
    let status = answer.status();
    if status.is_success() || status.is_redirection() || status == StatusCode::RANGE_NOT_SATISFIABLE
    {
        return Ok(answer);
    }
    let advice = match status.as_u16() {
        408 | 429 | 500 | 502 | 503 | 504 => {
            let seconds = text(answer.headers(), "retry-after").and_then(|s| s.trim().parse().ok());
            let cause = format!("HTTP {status}");
            return Err(Failure::Passing { cause, wait: seconds.map(Duration::from_secs) });
        }
        401 | 403 => TOKEN_ADVICE,
        404 => "the hub has no such model, revision or file",
        _ => "the hub refuses",
    };
    let (url, status) = (url.to_owned(), status.as_u16());
    Err(HubError::Refused { url, status, advice }.into())
}

/// Tells failures of the network that pass from others.
pub(crate) fn failure(url: &str, error: &ureq::Error) -> Failure {
    let cause = error.to_string();
    if matches!(error, ureq::Error::HostNotFound) {
        let cause =
            "the host is not found: is there a network? HF_HUB_OFFLINE=1 uses the cache alone";
        return HubError::answer(url, cause).into();
    }
    let passes = matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
    );
    if passes {
        Failure::Passing { cause, wait: None }
    } else {
        HubError::answer(url, cause).into()
    }
}

/// A name as part of an address (RFC 3986: everything but unreserved characters is encoded).
fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_names_only_as_names() {
        let settings = Settings {
            cache: "cache".into(),
            endpoint: "http://hub".to_owned(),
            token: None,
            offline: false,
        };
        let (client, name) = (Client::new(&settings), ModelName::parse("hf://o/n@refs/pr/1"));
        let name = name.unwrap();
        let expected = "http://hub/api/models/o/n/revision/refs%2Fpr%2F1?blobs=true";
        assert_eq!(client.listing_url(&name), expected);
        let url = client.file_url(&name, "abc", "a b?c#d%.safetensors");
        assert_eq!(url, "http://hub/o/n/resolve/abc/a%20b%3Fc%23d%25.safetensors");
    }
}
