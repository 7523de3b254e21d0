//! How long to keep trying: failures that pass are tried again after a while, a bounded number of
//! times, and after as long as the hub asks, if that is bearable.

use crate::HubError;
use std::thread;
use std::time::Duration;

/// Attempts without progress.
const ATTEMPTS: u32 = 5;
/// The first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// The longest wait that the hub may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why an attempt failed.
pub(crate) enum Failure {
    /// It would fail again.
    Final(HubError),
    /// It may succeed later, perhaps after a time that the hub names.
    Passing { cause: String, wait: Option<Duration> },
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Counts attempts.
pub(crate) struct Patience<'a> {
    url: &'a str,
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(crate) const fn with(url: &'a str) -> Self {
        Self { url, failures: 0 }
    }

    /// Something has arrived: the count begins anew.
    pub(crate) const fn renew(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// When there shall be no other.
    pub(crate) fn wait(&mut self, failure: Failure) -> Result<(), HubError> {
        let (cause, wait) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { cause, wait } => (cause, wait),
        };
        self.failures += 1;
        let (url, attempts) = (self.url.to_owned(), self.failures);
        if let Some(wait) = wait.filter(|wait| *wait > LONGEST_WAIT) {
            return Err(HubError::Busy { url, cause, seconds: wait.as_secs() });
        }
        if attempts >= ATTEMPTS {
            return Err(HubError::Unreachable { url, cause, attempts });
        }
        thread::sleep(wait.unwrap_or(FIRST_WAIT * 2_u32.pow(attempts - 1)));
        Ok(())
    }
}

/// Tries until it succeeds or fails for good.
pub(crate) fn patiently<T>(
    url: &str,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, HubError> {
    let mut patience = Patience::with(url);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => patience.wait(failure)?,
        }
    }
}
