//! Order statistics of magnitudes, exact and in constant memory.

use crate::Error;
use crate::source::Source;
use rayon::prelude::*;
use std::ops::Range;

/// Bits of a magnitude that one pass counts by.
const LOW_BITS: u32 = 16;
/// Magnitudes have no sign bit.
const HIGH_VALUES: usize = 1 << (31 - LOW_BITS);
const LOW_VALUES: usize = 1 << LOW_BITS;

/// A magnitude and its place in the order of all of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) magnitude: f32,
    /// How many are smaller.
    pub(crate) smaller: usize,
}

/// The magnitude at place `rank`, counted from 0 for the smallest, of values that `values` gives
/// for every chunk of `source`. Two passes over them, none of which keeps any.
///
/// # Errors
/// When the values cannot be read.
pub(crate) fn ranked(
    source: &Source,
    rank: usize,
    values: impl Fn(Range<usize>) -> Result<Vec<f32>, Error> + Sync,
) -> Result<Ranked, Error> {
    let bits = |value: f32| value.abs().to_bits();
    let high = count(source, &values, HIGH_VALUES, |value| Some(bits(value) >> LOW_BITS))?;
    let (high, below) = place(&high, rank);
    let of_high = |value: f32| {
        let bits = bits(value);
        (bits >> LOW_BITS == high).then_some(bits & ((1 << LOW_BITS) - 1))
    };
    let low = count(source, &values, LOW_VALUES, of_high)?;
    let (low, within) = place(&low, rank - below);
    let magnitude = f32::from_bits(high << LOW_BITS | low);
    Ok(Ranked { magnitude, smaller: below + within })
}

/// The class that holds the value at place `rank`, and how many values are in those before.
fn place(counts: &[usize], rank: usize) -> (u32, usize) {
    let (mut before, mut class) = (0, 0);
    for &count in counts {
        if before + count > rank {
            break;
        }
        before += count;
        class += 1;
    }
    (class, before)
}

/// How many values are in each class. Sums of integers, so in any order.
fn count(
    source: &Source,
    values: &(impl Fn(Range<usize>) -> Result<Vec<f32>, Error> + Sync),
    classes: usize,
    class: impl Fn(f32) -> Option<u32> + Sync,
) -> Result<Vec<usize>, Error> {
    let add = |mut counts: Vec<usize>, rows: Range<usize>| {
        for class in values(rows)?.into_iter().filter_map(&class) {
            if let Some(count) = usize::try_from(class).ok().and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
        Ok(counts)
    };
    let merge = |mut counts: Vec<usize>, others: Vec<usize>| {
        counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
        Ok(counts)
    };
    let none = || vec![0; classes];
    source.chunks().try_fold(none, add).try_reduce(none, merge)
}

/// The part of a whole, to the nearest.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is one, and no float at hand has a conversion"
)]
pub(crate) fn share_of(share: f64, count: usize) -> usize {
    ((share * count as f64 + 0.5).floor() as usize).min(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_a_sorted_list() {
        let values: Vec<f32> =
            (0_u16..5000).map(|i| f32::from(i.wrapping_mul(40_503) % 997) * -0.37).collect();
        let source = Source::of_values("values", &values).unwrap();
        let mut sorted: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        sorted.sort_by(f32::total_cmp);
        for rank in [0, 1, 7, 2500, 4998, 4999] {
            let found = ranked(&source, rank, |rows| source.read(rows)).unwrap();
            let smaller = sorted.iter().filter(|&&value| value < sorted[rank]).count();
            assert_eq!(found, Ranked { magnitude: sorted[rank], smaller }, "{rank}");
        }
    }

    #[test]
    fn shares_are_rounded_to_the_nearest() {
        for (share, count, part) in [(0.3, 10, 3), (0.5, 5, 3), (0.0, 9, 0), (1.0, 9, 9)] {
            assert_eq!(share_of(share, count), part);
        }
    }
}
