//! What was measured, for people and programs.

use crate::units;
use apr_kernel::Limits;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// How fast a model runs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Bench {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Bytes of the matrices of each type.
    pub types: BTreeMap<&'static str, u64>,
    /// Name of the kernel table that ran.
    pub kernels: &'static str,
    /// Threads that ran.
    pub threads: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that were generated.
    pub gen_tokens: usize,
    /// Positions in the cache before the first of these.
    pub depth: usize,
    /// Sequences that were generated together.
    pub batch: usize,
    /// Rounds that count.
    pub iterations: usize,
    /// Rounds before those.
    pub warmup: usize,
    /// Prompt tokens per second until the first token is known: the median.
    pub prefill_tokens_per_second: f64,
    /// The same with its spread.
    pub prefill: Rate,
    /// Generated tokens per second, of all sequences together: the median.
    pub tokens_per_second: f64,
    /// The same with its spread.
    pub decode: Rate,
    /// From opening the file until the model is ready, tokenizer included.
    pub load_seconds: f64,
    /// From opening the file until the first token after the prompt is known.
    pub first_token_seconds: f64,
    /// Resident memory of this process at its peak, pages of mapped files included; none where
    /// the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Bytes of weights that a generated token reads: its share where sequences are generated
    /// together.
    pub weight_bytes_per_token: u64,
    /// How keys and values are stored.
    pub cache: &'static str,
    /// Bytes of keys and values that a generated token reads, on average.
    pub cache_bytes_per_token: u64,
    /// Both together.
    pub bytes_per_token: u64,
    /// Bytes that decoding reads per second.
    pub read_bytes_per_second: f64,
    /// What the machine can do at most, and the shares of it that were reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Shares>,
}

/// Tokens per second over several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Rate {
    /// The middle one.
    pub median: f64,
    /// The lowest.
    pub slowest: f64,
    /// The highest.
    pub fastest: f64,
}

/// What a machine can do at most, and the shares of it that a model reaches.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Shares {
    /// Bytes read per second at most.
    pub read_bytes_per_second: f64,
    /// The share of these that decoding reads.
    pub decode_share: f64,
    /// The share of the peak that the matrix products of prefill reach: that of the arithmetic
    /// and the instructions that the kernels use for each type. None if it was not measured.
    pub prefill_share: Option<f64>,
    /// For each arithmetic and instruction set of the processor.
    pub peaks: Vec<Limit>,
}

/// A peak of arithmetic.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Limit {
    /// Of what is computed.
    pub arithmetic: &'static str,
    /// The instruction set.
    pub instructions: &'static str,
    /// Multiplications and additions per second.
    pub operations_per_second: f64,
}

impl Rate {
    /// Of the rates of all rounds.
    pub(super) fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
        let last = rounds.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            slowest: at(0),
            fastest: at(last),
        }
    }
}

impl Shares {
    pub(super) fn new(limits: &Limits, decode_share: f64, prefill_share: Option<f64>) -> Self {
        let peaks = limits.peaks.iter().map(|peak| Limit {
            arithmetic: peak.arithmetic.name(),
            instructions: peak.instructions,
            operations_per_second: peak.operations_per_second,
        });
        Self {
            read_bytes_per_second: limits.read_bytes_per_second,
            decode_share,
            prefill_share,
            peaks: peaks.collect(),
        }
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<String> = self
            .types
            .iter()
            .map(|(dtype, bytes)| format!("{} {dtype}", units::bytes(*bytes)))
            .collect();
        let rounds = |rate: &Rate, what: &str| {
            let Rate { median, slowest, fastest } = *rate;
            let rounds = format!("{slowest:.1} to {fastest:.1} in {} rounds", self.iterations);
            format!("{median:.1} tokens/s   ({rounds} of {what})")
        };
        let generated = match (self.batch, self.depth) {
            (1, 0) => format!("{} tokens", self.gen_tokens),
            (1, depth) => format!("{} tokens after {depth}", self.gen_tokens),
            (batch, depth) => {
                format!("{batch} sequences of {} tokens after {depth}", self.gen_tokens)
            }
        };
        let first = format!(
            "{:.3} s   (from opening the file, prompt of {} tokens)",
            self.first_token_seconds, self.prompt_tokens
        );
        let bytes = format!(
            "{}   ({} of weights, {} of cache in {})",
            units::bytes(self.bytes_per_token),
            units::bytes(self.weight_bytes_per_token),
            units::bytes(self.cache_bytes_per_token),
            self.cache
        );
        let peak = self.peak_memory_bytes.map_or("unknown".to_owned(), units::bytes);
        for (what, value) in [
            ("model", format!("{}, {}", self.architecture, types.join(", "))),
            ("kernels", format!("{}, {} threads", self.kernels, self.threads)),
            ("prefill", rounds(&self.prefill, &format!("{} tokens", self.prompt_tokens))),
            ("decode", rounds(&self.decode, &generated)),
            ("load", format!("{:.3} s", self.load_seconds)),
            ("first token", first),
            ("peak memory", peak),
            ("read per token", bytes),
            ("decode reads", per_second(self.read_bytes_per_second, "B/s")),
        ] {
            writeln!(f, "{what:<16}{value}")?;
        }
        self.limits.as_ref().map_or(Ok(()), |limits| limits.fmt(f))
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let prefill = self.prefill_share.map_or("unknown".to_owned(), percent);
        writeln!(f, "\nlimits of this machine")?;
        let read = per_second(self.read_bytes_per_second, "B/s");
        writeln!(f, "  {:<22}{read:>12}", "memory, reading")?;
        for Limit { arithmetic, instructions, operations_per_second } in &self.peaks {
            let name = format!("{arithmetic}, {instructions}");
            writeln!(f, "  {name:<22}{:>12}", per_second(*operations_per_second, "op/s"))?;
        }
        writeln!(f, "decode reaches  {} of the reading", percent(self.decode_share))?;
        writeln!(f, "prefill reaches {prefill} of the arithmetic that its kernels use")
    }
}

/// `12.3 GB/s`.
fn per_second(rate: f64, unit: &str) -> String {
    let (scaled, prefix) = if rate < 1e12 { (rate / 1e9, "G") } else { (rate / 1e12, "T") };
    format!("{scaled:.2} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let rate = Rate::of(vec![5.0, 1.0, 9.0]);
        assert_eq!((rate.median, rate.slowest, rate.fastest), (5.0, 1.0, 9.0));
        assert_eq!(Rate::of(vec![4.0, 2.0]).median, 3.0);
        assert_eq!(Rate::of(vec![4.0]).median, 4.0);
    }
}
