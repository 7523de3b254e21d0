//! Loops that any compiler turns into the vectors of its target.

use super::{Arithmetic, Loop};
use std::hint::black_box;

/// Independent sums, to hide the latency of an addition; they fit the registers of most machines.
const SUMS: usize = 48;

/// Elements of a vector that stays in the nearest cache.
const SHORT: usize = 1024;

pub(super) const LOOPS: [Loop; 3] = [
    Loop {
        arithmetic: Arithmetic::Float32,
        instructions: "scalar",
        operations: 2 * SUMS as u64,
        run: floats,
    },
    Loop {
        arithmetic: Arithmetic::Int8,
        instructions: "scalar",
        operations: 2 * SHORT as u64,
        run: dot::<i8>,
    },
    Loop {
        arithmetic: Arithmetic::Int16,
        instructions: "scalar",
        operations: 2 * SHORT as u64,
        run: dot::<i16>,
    },
];

/// Reads every byte, in order.
pub(super) fn read(bytes: &[u8]) -> u64 {
    read_with(bytes, |_| ())
}

/// Reads every byte, in order, and calls `ahead` with what is about to be read.
pub(super) fn read_with(bytes: &[u8], ahead: impl Fn(&[u8; 128])) -> u64 {
    let mut words = [0; 16];
    for run in bytes.as_chunks::<128>().0 {
        ahead(run);
        for (sum, word) in words.iter_mut().zip(run.as_chunks::<8>().0) {
            *sum ^= u64::from_le_bytes(*word);
        }
    }
    words.iter().fold(0, |all, word| all ^ word)
}

fn floats(rounds: u64) {
    let (factor, term) = black_box((0.5_f32, 1.0_f32));
    let mut sums = [0.0_f32; SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = *sum * factor + term;
        }
    }
    black_box(sums);
}

/// The dot product of two short vectors.
fn dot<T: Copy + Into<i32> + From<bool>>(rounds: u64) {
    let mut operands = [[T::from(true); SHORT]; 2];
    for _ in 0..rounds {
        let [a, b] = black_box(&mut operands);
        let products = a.iter().zip(b).map(|(a, b)| (*a).into().wrapping_mul((*b).into()));
        black_box(products.fold(0, i32::wrapping_add));
    }
}
