//! One file: resumed where it broke off, checked, and then put in its place.

use crate::client::{Client, text};
use crate::digest::Digest;
use crate::retry::{Failure, Patience};
use crate::{HubError, Observer, Stage};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;
use ureq::http::{HeaderMap, StatusCode};

const BUFFER: usize = 1 << 17;

/// What is fetched.
pub(crate) struct Wanted<'a> {
    /// Its name, for messages.
    pub(crate) name: &'a str,
    pub(crate) url: &'a str,
    pub(crate) size: u64,
    pub(crate) digest: &'a Digest,
}

/// Fetches a file into `target` by way of `partial`, which is kept when the transfer breaks off
/// and continued the next time.
pub(crate) fn download(
    client: &Client,
    wanted: &Wanted<'_>,
    (partial, target): (&Path, &Path),
    observer: &dyn Observer,
) -> Result<(), HubError> {
    let resumed = fs::metadata(partial).is_ok_and(|partial| partial.len() > 0);
    match attempt(client, wanted, partial, observer) {
        // What was there before may be of another transfer: once more, from the beginning.
        Err(HubError::Digest { .. } | HubError::TooLong { .. }) if resumed => {
            attempt(client, wanted, partial, observer)
        }
        result => result,
    }?;
    fs::rename(partial, target).map_err(HubError::io(target))
}

fn attempt(
    client: &Client,
    wanted: &Wanted<'_>,
    partial: &Path,
    observer: &dyn Observer,
) -> Result<(), HubError> {
    let result =
        complete(client, wanted, partial, observer).and_then(|()| check(wanted, partial, observer));
    if let Err(HubError::Digest { .. } | HubError::TooLong { .. }) = result {
        fs::remove_file(partial).map_err(HubError::io(partial))?;
    }
    result
}

fn check(wanted: &Wanted<'_>, partial: &Path, observer: &dyn Observer) -> Result<(), HubError> {
    let found = wanted.digest.of_file(partial, wanted.size, observer)?;
    if found == wanted.digest.as_str() {
        return Ok(());
    }
    Err(HubError::Digest {
        file: wanted.name.to_owned(),
        kind: wanted.digest.kind(),
        expected: wanted.digest.as_str().to_owned(),
        found,
    })
}

/// Fetches until the file has its size.
fn complete(
    client: &Client,
    wanted: &Wanted<'_>,
    partial: &Path,
    observer: &dyn Observer,
) -> Result<(), HubError> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(partial)
        .map_err(HubError::io(partial))?;
    let len = |file: &File| file.metadata().map(|m| m.len()).map_err(HubError::io(partial));
    observer.begin(Stage::Download, wanted.size);
    observer.advance(len(&file)?);
    let mut patience = Patience::with(wanted.url);
    loop {
        let have = len(&file)?;
        if have == wanted.size {
            break;
        }
        if let Err(failure) = transfer(client, wanted, (&mut file, partial), observer) {
            if len(&file)? > have {
                patience.renew();
            }
            patience.wait(failure)?;
        }
    }
    observer.end();
    file.sync_all().map_err(HubError::io(partial))
}

/// One connection.
fn transfer(
    client: &Client,
    wanted: &Wanted<'_>,
    (file, path): (&mut File, &Path),
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let io = |error| HubError::io(path)(error);
    let mut have = file.metadata().map_err(io)?.len();
    let too_long = || HubError::TooLong { file: wanted.name.to_owned(), expected: wanted.size };
    if have > wanted.size {
        return Err(too_long().into());
    }
    let answer = client.get(wanted.url, have)?;
    let continues = answer.status() == StatusCode::PARTIAL_CONTENT
        && range_start(answer.headers()) == Some(have);
    if have > 0 && !continues {
        // Whatever this is, it is not the rest: take it from the beginning.
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        have = 0;
    }
    if answer.status() != StatusCode::OK && !continues {
        let cause = format!("HTTP {} to a request for the rest of the file", answer.status());
        return Err(Failure::Passing { cause, wait: None });
    }
    let mut body = answer.into_body().into_reader();
    let mut buffer = vec![0; BUFFER];
    loop {
        let passing = |error: std::io::Error| {
            let cause = format!("after {have} of {} bytes: {error}", wanted.size);
            Failure::Passing { cause, wait: None }
        };
        let read = body.read(&mut buffer).map_err(passing)?;
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        if have + bytes > wanted.size {
            return Err(too_long().into());
        }
        if read == 0 && have < wanted.size {
            let cause = format!("the transfer ended after {have} of {} bytes", wanted.size);
            return Err(Failure::Passing { cause, wait: None });
        }
        if read == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..read]).map_err(io)?;
        have += bytes;
        observer.advance(bytes);
    }
}

/// Where the bytes of an answer begin: `Content-Range: bytes START-END/SIZE`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-range")?.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
