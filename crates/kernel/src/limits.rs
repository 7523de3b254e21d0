//! What this machine can do at most, measured: how fast its threads read memory, and how many
//! operations they do on operands that are in registers. What kernels reach is a share of this.
#![allow(unsafe_code, reason = "loops are compiled for instruction sets that must be detected")]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::{Kernels, Pool};
use apr_tensor::DType;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes of memory per thread that are read: several times a core's share of any cache.
const BYTES_PER_THREAD: usize = 128 << 20;
/// Bytes that a thread reads at a stretch.
const STRETCH: usize = 1 << 20;
/// Tasks per thread, so that none is waited for.
const TASKS_PER_THREAD: usize = 8;
/// Multiplications and additions of a task, at least: from below a millisecond to some tens.
const OPERATIONS: u64 = 1 << 29;
/// How long each loop is repeated for; the fastest time counts.
const PATIENCE: Duration = Duration::from_millis(250);

/// The arithmetic of a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arithmetic {
    /// Single precision.
    Float32,
    /// Products of 16-bit integers, added up in 32 bits.
    Int16,
    /// Products of 8-bit integers, added up in 32 bits.
    Int8,
}

impl Arithmetic {
    /// `"float32"`, `"int16"`, `"int8"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
        }
    }
}

/// The fastest that operations were done with some instructions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// What was computed.
    pub arithmetic: Arithmetic,
    /// The instruction set, named as the [kernel table](Kernels::name) for it.
    pub instructions: &'static str,
    /// Multiplications and additions per second, of all threads together.
    pub operations_per_second: f64,
}

/// What a machine can do at most with a number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes read per second, far from any cache, of all threads together.
    pub read_bytes_per_second: f64,
    /// For each instruction set of this CPU and each arithmetic that it has.
    pub peaks: Vec<Peak>,
}

impl Limits {
    /// Measures for a few seconds, with the threads of this pool. Takes 128 MiB of memory per
    /// thread meanwhile.
    #[must_use]
    pub fn measure(pool: &Pool) -> Self {
        let mut peaks: Vec<Peak> = loops().map(|of| of.measure(pool)).collect();
        peaks.sort_by_key(|peak| peak.arithmetic);
        Self { read_bytes_per_second: measure_reading(pool), peaks }
    }

    /// The peak of an arithmetic with these instructions, if they have it.
    #[must_use]
    pub fn peak(&self, arithmetic: Arithmetic, instructions: &str) -> Option<f64> {
        let peak =
            |peak: &&Peak| (peak.arithmetic, peak.instructions) == (arithmetic, instructions);
        self.peaks.iter().find(peak).map(|peak| peak.operations_per_second)
    }
}

impl Kernels {
    /// In which arithmetic this table multiplies weights of a type.
    #[must_use]
    pub fn arithmetic(&self, dtype: DType) -> Arithmetic {
        if self.integers(dtype).is_some() { Arithmetic::Int16 } else { Arithmetic::Float32 }
    }
}

/// A loop of independent multiplications and additions on operands that are as near as can be.
#[derive(Clone, Copy)]
struct Loop {
    arithmetic: Arithmetic,
    instructions: &'static str,
    /// Multiplications and additions of a round.
    operations: u64,
    /// Does this many rounds. Memory-safe for any number; the only condition on calling it is the
    /// instruction set.
    run: unsafe fn(u64),
}

impl Loop {
    fn measure(&self, pool: &Pool) -> Peak {
        let tasks = pool.threads() * TASKS_PER_THREAD;
        let rounds = OPERATIONS.div_ceil(self.operations);
        let operations = (rounds * self.operations) as f64 * tasks as f64;
        let seconds = fastest(|| {
            pool.run(tasks, &|_| {
                // SAFETY: `loops` hands out a loop after its instruction set was detected.
                unsafe { (self.run)(rounds) }
            });
        });
        Peak {
            arithmetic: self.arithmetic,
            instructions: self.instructions,
            operations_per_second: operations / seconds,
        }
    }
}

/// Reads every byte of a stretch; the result keeps compilers from leaving it out.
type Reader = fn(&[u8]) -> u64;

/// The loops that this CPU can run.
fn loops() -> impl Iterator<Item = Loop> {
    portable::LOOPS.into_iter().chain(x86_64::detected())
}

/// What there is for other architectures: nothing.
#[cfg(not(target_arch = "x86_64"))]
mod x86_64 {
    use super::{Loop, Reader};

    pub(super) const READERS: [Reader; 0] = [];

    pub(super) fn detected() -> std::iter::Empty<Loop> {
        std::iter::empty()
    }
}

fn measure_reading(pool: &Pool) -> f64 {
    // Every page is written to: pages that were not have no memory of their own.
    let memory = vec![1_u8; pool.threads() * BYTES_PER_THREAD];
    let stretches: Vec<&[u8]> = memory.chunks(STRETCH).collect();
    let seconds = [portable::read as Reader].into_iter().chain(x86_64::READERS).map(|read| {
        fastest(|| {
            pool.run(stretches.len(), &|i| {
                black_box(read(stretches[i]));
            });
        })
    });
    memory.len() as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// Seconds of the fastest of several runs.
fn fastest(mut run: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < PATIENCE {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_that_of_the_type() {
        for table in Kernels::available() {
            assert_eq!(table.arithmetic(DType::Q8_0), Arithmetic::Int16);
            assert_eq!(table.arithmetic(DType::BF16), Arithmetic::Float32);
        }
    }

    #[test]
    fn limits_are_plausible() {
        let limits = Limits::measure(&Pool::new(2));
        let plausible = |rate: f64| (1e8..1e15).contains(&rate);
        assert!(plausible(limits.read_bytes_per_second), "{limits:?}");
        assert!(limits.peaks.iter().all(|peak| plausible(peak.operations_per_second)));
        for arithmetic in [Arithmetic::Float32, Arithmetic::Int16, Arithmetic::Int8] {
            for table in Kernels::available() {
                assert!(limits.peak(arithmetic, table.name()).is_some(), "{}", table.name());
            }
        }
    }
}
