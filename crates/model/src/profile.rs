//! Where the time of the decoder goes: per operation, how often it ran, how long, and how many
//! bytes of weights it read. When it is off, an operation costs a branch.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What time is counted for. Operations do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Rows of the embedding and of learned positions.
    Embedding,
    /// Normalisation of rows, of queries and keys too.
    Norm,
    /// Projections to queries, keys and values.
    QueryKeyValue,
    /// Rotation of queries and keys.
    Rope,
    /// Keys and values into the cache.
    Cache,
    /// Queries on keys, and the weighted sum of values.
    Attention,
    /// Projection of what the heads saw.
    AttentionOutput,
    /// Sums with the residual stream.
    Residual,
    /// The choice of experts.
    Router,
    /// Projections into the MLP.
    MlpIn,
    /// The MLP's non-linearity, and the product with the other half.
    Activation,
    /// Projection out of the MLP.
    MlpOut,
    /// From hidden states to logits.
    Head,
    /// Choosing a token.
    Sampling,
    /// Guessing tokens, by a draft model or from the text.
    Guess,
    /// Turning tokens into text and handing it out.
    Text,
}

impl Operation {
    /// For reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Norm => "norms",
            Self::QueryKeyValue => "qkv",
            Self::Rope => "rope",
            Self::Cache => "cache",
            Self::Attention => "attention",
            Self::AttentionOutput => "attention output",
            Self::Residual => "residual",
            Self::Router => "router",
            Self::MlpIn => "mlp in",
            Self::Activation => "activation",
            Self::MlpOut => "mlp out",
            Self::Head => "head",
            Self::Sampling => "sampling",
            Self::Guess => "guessing",
            Self::Text => "text",
        }
    }
}

/// What an operation took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How often it ran.
    pub calls: u64,
    /// How long, all together.
    pub time: Duration,
    /// Bytes of weights that it read, as they are stored.
    pub bytes: u64,
}

/// What each operation took that ran.
pub type Usages = BTreeMap<Operation, Usage>;

/// Counts, or does not.
#[derive(Debug, Default)]
pub struct Profile(Option<Mutex<Usages>>);

impl Profile {
    /// One that counts.
    #[must_use]
    pub fn counting() -> Self {
        Self(Some(Mutex::default()))
    }

    /// Counts the time until what is returned is dropped.
    #[must_use = "time is counted until this is dropped"]
    pub fn time(&self, operation: Operation) -> Timer<'_> {
        self.time_reading(operation, || 0)
    }

    /// The same of an operation that reads so many bytes of weights.
    #[must_use = "time is counted until this is dropped"]
    pub fn time_reading(&self, operation: Operation, bytes: impl FnOnce() -> usize) -> Timer<'_> {
        Timer(self.0.as_ref().map(|usages| {
            let bytes = u64::try_from(bytes()).unwrap_or(u64::MAX);
            Running { usages, operation, bytes, start: Instant::now() }
        }))
    }

    /// What was counted since the last call; none if nothing is counted.
    #[must_use]
    pub fn take(&self) -> Option<Usages> {
        self.0.as_ref().map(|usages| mem::take(&mut *lock(usages)))
    }
}

/// An operation that is running.
#[derive(Debug)]
pub struct Timer<'a>(Option<Running<'a>>);

#[derive(Debug)]
struct Running<'a> {
    usages: &'a Mutex<Usages>,
    operation: Operation,
    bytes: u64,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let Some(Running { usages, operation, bytes, start }) = &self.0 else { return };
        let time = start.elapsed();
        let mut usages = lock(usages);
        let usage = usages.entry(*operation).or_default();
        usage.calls += 1;
        usage.time += time;
        usage.bytes = usage.bytes.saturating_add(*bytes);
    }
}

/// Numbers stay sound when a thread panics between them.
fn lock(usages: &Mutex<Usages>) -> MutexGuard<'_, Usages> {
    usages.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn operations_are_counted_until_they_are_taken() {
        let profile = Profile::counting();
        for bytes in [3, 4] {
            let timer = profile.time_reading(Operation::Head, || bytes);
            thread::sleep(Duration::from_millis(2));
            drop(timer);
        }
        drop(profile.time(Operation::Norm));
        let usages = profile.take().unwrap();
        let head = usages[&Operation::Head];
        assert_eq!((head.calls, head.bytes), (2, 7));
        assert!(head.time >= Duration::from_millis(4));
        assert_eq!((usages[&Operation::Norm].calls, usages.len()), (1, 2));
        assert!(profile.take().unwrap().is_empty());
    }

    #[test]
    fn nothing_is_counted_when_it_is_off() {
        let profile = Profile::default();
        drop(profile.time_reading(Operation::Head, || unreachable!("nobody asks")));
        assert_eq!(profile.take(), None);
    }
}
