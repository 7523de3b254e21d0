//! Where the time of a generation went, for people and programs.

use crate::units::{self, Table};
use apr_model::{Operation, Usages};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Where the time of a generation went.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Profile {
    /// Until the first token was known.
    pub prefill: Phase,
    /// From then on.
    pub decode: Phase,
}

/// A part of a generation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Phase {
    /// Tokens that the phase is about: those of the prompt, or the generated ones after the first.
    pub tokens: usize,
    /// Passes over the weights.
    pub passes: usize,
    /// How long it took.
    pub seconds: f64,
    /// What that time went into, the longest first. What belongs to no operation is `other`.
    pub operations: Vec<OperationTime>,
}

/// What an operation took.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OperationTime {
    /// Its name.
    pub operation: &'static str,
    /// How long, all calls together.
    pub seconds: f64,
    /// The share of the phase.
    pub share: f64,
    /// How often it ran; none of what belongs to no operation.
    pub calls: Option<u64>,
    /// Bytes of weights that it read, each time all of them; none if it reads none.
    pub bytes: Option<u64>,
    /// The same per second.
    pub bytes_per_second: Option<f64>,
}

impl Phase {
    /// Of what was counted while `time` went by.
    pub(super) fn new(usages: &Usages, time: Duration, (tokens, passes): (usize, usize)) -> Self {
        let seconds = time.as_secs_f64();
        let share = |part: f64| if seconds > 0.0 { part / seconds } else { 0.0 };
        let of = |(operation, usage): (&Operation, &apr_model::Usage)| {
            let spent = usage.time.as_secs_f64();
            let bytes = Some(usage.bytes).filter(|&bytes| bytes > 0);
            OperationTime {
                operation: operation.name(),
                seconds: spent,
                share: share(spent),
                calls: Some(usage.calls),
                bytes,
                bytes_per_second: bytes.map(|bytes| bytes as f64 / spent.max(1e-9)),
            }
        };
        let mut operations: Vec<OperationTime> = usages.iter().map(of).collect();
        operations.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let counted: f64 = operations.iter().map(|operation| operation.seconds).sum();
        let other = (seconds - counted).max(0.0);
        operations.push(OperationTime {
            operation: "other",
            seconds: other,
            share: share(other),
            calls: None,
            bytes: None,
            bytes_per_second: None,
        });
        Self { tokens, passes, seconds, operations }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, phase) in [("prefill", &self.prefill), ("decode", &self.decode)] {
            let Phase { tokens, passes, seconds, .. } = phase;
            writeln!(f, "{name}: {tokens} tokens in {passes} passes, {:.1} ms", 1e3 * seconds)?;
            phase.table().fmt(f)?;
        }
        Ok(())
    }
}

impl Phase {
    fn table(&self) -> Table {
        let header = ["operation", "ms", "share", "calls", "µs/call", "weights", "per second"];
        let mut table = Table::new(&header).right_align(1..header.len());
        for operation in &self.operations {
            let per_call = operation.calls.map(|calls| 1e6 * operation.seconds / calls as f64);
            let rate = operation.bytes_per_second.map(|rate| format!("{:.1} GB/s", rate / 1e9));
            table.row([
                operation.operation.to_owned(),
                format!("{:.2}", 1e3 * operation.seconds),
                format!("{:.1} %", 100.0 * operation.share),
                operation.calls.map(units::count).unwrap_or_default(),
                per_call.map(|micros| format!("{micros:.1}")).unwrap_or_default(),
                operation.bytes.map(units::bytes).unwrap_or_default(),
                rate.unwrap_or_default(),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apr_model::Usage;

    #[test]
    fn shares_of_a_phase_are_one_and_the_longest_comes_first() {
        let usage = |millis, bytes| Usage { calls: 2, time: Duration::from_millis(millis), bytes };
        let usages =
            [(Operation::Norm, usage(10, 0)), (Operation::Head, usage(30, 3_000_000))].into();
        let phase = Phase::new(&usages, Duration::from_millis(50), (5, 1));
        let names: Vec<_> = phase.operations.iter().map(|operation| operation.operation).collect();
        assert_eq!(names, ["head", "norms", "other"]);
        let shares: f64 = phase.operations.iter().map(|operation| operation.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        assert_eq!(phase.operations[0].bytes, Some(3_000_000));
        assert!((phase.operations[0].bytes_per_second.unwrap() - 1e8).abs() < 1.0);
        assert_eq!((phase.operations[1].bytes, phase.operations[1].calls), (None, Some(2)));
        let text = Profile { prefill: phase.clone(), decode: phase }.to_string();
        assert!(text.contains("prefill: 5 tokens in 1 passes, 50.0 ms"), "{text}");
        assert!(text.contains("60.0 %") && text.contains("0.1 GB/s"), "{text}");
    }
}
