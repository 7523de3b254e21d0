//! Rows of a cache, transposed, and weighted and added up, given the vectors of an instruction set.
#![allow(unsafe_code, reason = "kernels are compiled for instruction sets that must be detected")]

use super::float::Vector;
use super::lanes::Lanes;
use crate::attention::{RUN, Strided, Weights};
use std::ops::Range;
use zerocopy::IntoBytes;

/// Vectors of a row that are added up together.
const VECTORS: usize = 4;
/// Elements of the largest vector.
const MAX_LEN: usize = 16;
/// Elements of a row that are transposed together.
const FOUR: usize = 4;

/// See [`Transpose`](crate::attention::Transpose).
///
/// # Safety
/// The CPU must have the instruction set of `L`.
#[inline(always)]
pub(super) unsafe fn transpose<L: Lanes<ROWS>, const ROWS: usize>(
    rows: Strided<'_>,
    count: usize,
    out: &mut [f32],
) {
    let elems = out.len() / RUN;
    for first in (0..count).step_by(ROWS) {
        // At the end the last row is repeated.
        let mut lanes: [&[f32]; ROWS] = [&[]; ROWS];
        for (r, lane) in lanes.iter_mut().enumerate() {
            *lane = rows.row((first + r).min(count - 1), elems);
        }
        for (i, out) in out.chunks_exact_mut(FOUR * RUN).enumerate() {
            let mut bytes = [&[0; 16]; ROWS];
            for (bytes, lane) in bytes.iter_mut().zip(lanes) {
                let four = lane[FOUR * i..].first_chunk::<FOUR>();
                let Some(Ok(four)) = four.map(|four| four.as_bytes().try_into()) else {
                    unreachable!("rows have four elements for four of the output")
                };
                *bytes = four;
            }
            // SAFETY: the caller vouches for the CPU.
            unsafe {
                for (column, out) in L::columns(bytes).into_iter().zip(out.chunks_exact_mut(RUN)) {
                    let Some(out) = out[first..].first_chunk_mut() else {
                        unreachable!("a run is a multiple of the lanes")
                    };
                    L::store_floats(column.bits(), out);
                }
            }
        }
        for e in elems / FOUR * FOUR..elems {
            for (out, lane) in out[e * RUN + first..].iter_mut().zip(lanes) {
                *out = lane[e];
            }
        }
    }
}

/// See [`AddWeighted`](crate::attention::AddWeighted).
///
/// # Safety
/// The CPU must have the instruction set of the vector.
#[inline(always)]
pub(super) unsafe fn add_weighted<V: Vector>(
    weights: Weights<'_>,
    rows: Strided<'_>,
    out: &mut [f32],
) {
    let queries = weights.data.rows().len();
    let len = out.len() / queries;
    let mut query = 0;
    while query < queries {
        // As even as can be.
        let count = (queries - query).div_ceil((queries - query).div_ceil(V::TOKENS));
        let sums = Sums {
            weights: &weights.data.data[query * weights.data.stride..],
            stride: weights.data.stride,
            counted: weights.rows.clone(),
            rows,
            len,
        };
        let out = &mut out[query * len..][..count * len];
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            match count {
                1 => sums.add::<V, 1>(out),
                2 => sums.add::<V, 2>(out),
                3 => sums.add::<V, 3>(out),
                4 if V::TOKENS >= 4 => sums.add::<V, 4>(out),
                5 if V::TOKENS >= 5 => sums.add::<V, 5>(out),
                6 if V::TOKENS >= 6 => sums.add::<V, 6>(out),
                count => unreachable!("{count} queries together"),
            }
        }
        query += count;
    }
}

/// What is added up for a few queries.
struct Sums<'a> {
    /// `[query, row]`
    weights: &'a [f32],
    /// Weights of a query.
    stride: usize,
    /// The rows that count.
    counted: Range<usize>,
    rows: Strided<'a>,
    /// Elements of a row that are added up.
    len: usize,
}

impl Sums<'_> {
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn add<V: Vector, const QUERIES: usize>(&self, out: &mut [f32]) {
        const { assert!(V::LEN <= MAX_LEN) };
        let Range { start, end } = self.counted;
        assert!(start < end && end <= self.stride, "rows {start} to {end} of {}", self.stride);
        assert!(self.weights.len() >= QUERIES * self.stride, "a weight for each row");
        assert!(out.len() == QUERIES * self.len, "a sum for each element");
        let needed = (end - 1) * self.rows.stride + self.len;
        assert!(self.rows.data.len() >= needed, "{needed} elements of rows");
        let mut at = 0;
        // SAFETY: the caller vouches for the CPU; the vectors lie within `len`, and the lengths
        // were checked.
        unsafe {
            while at + VECTORS * V::LEN <= self.len {
                self.add_at::<V, QUERIES, VECTORS>(out, at);
                at += VECTORS * V::LEN;
            }
            while at + V::LEN <= self.len {
                self.add_at::<V, QUERIES, 1>(out, at);
                at += V::LEN;
            }
            if at < self.len {
                self.add_rest::<V, QUERIES>(out, at);
            }
        }
    }

    /// Elements of the output stay in registers while the rows pass.
    ///
    /// # Safety
    /// The lengths must be as `add` demands, there must be `VECTORS` vectors from `at` up to
    /// `len`, and the CPU must have their instruction set.
    #[inline(always)]
    unsafe fn add_at<V: Vector, const QUERIES: usize, const VECTORS: usize>(
        &self,
        out: &mut [f32],
        at: usize,
    ) {
        // SAFETY: the elements from `at` on are those of `QUERIES` outputs of `len` elements; the
        // weights and rows that count are there.
        unsafe {
            let mut acc = [[V::zero(); VECTORS]; QUERIES];
            for (q, acc) in acc.iter_mut().enumerate() {
                for (v, acc) in acc.iter_mut().enumerate() {
                    *acc = V::load(out.as_ptr().add(q * self.len + at + v * V::LEN));
                }
            }
            for r in self.counted.clone() {
                let row = self.rows.data.as_ptr().add(r * self.rows.stride + at);
                let mut weights = [V::zero(); QUERIES];
                for (q, weight) in weights.iter_mut().enumerate() {
                    *weight = V::splat(*self.weights.as_ptr().add(q * self.stride + r));
                }
                for v in 0..VECTORS {
                    let value = V::load(row.add(v * V::LEN));
                    for (acc, weight) in acc.iter_mut().zip(weights) {
                        acc[v] = weight.mul_add(value, acc[v]);
                    }
                }
            }
            for (q, acc) in acc.iter().enumerate() {
                for (v, acc) in acc.iter().enumerate() {
                    acc.store(out.as_mut_ptr().add(q * self.len + at + v * V::LEN));
                }
            }
        }
    }

    /// The elements from `at` on, fewer than a vector has: they are copied and end in zeros.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    unsafe fn add_rest<V: Vector, const QUERIES: usize>(&self, out: &mut [f32], at: usize) {
        let rest = self.len - at;
        for (q, out) in out.chunks_exact_mut(self.len).enumerate() {
            let mut sums = [0.0; MAX_LEN];
            sums[..rest].copy_from_slice(&out[at..]);
            for r in self.counted.clone() {
                let mut row = [0.0; MAX_LEN];
                row[..rest].copy_from_slice(&self.rows.row(r, self.len)[at..]);
                // SAFETY: the caller vouches for the CPU, and the arrays are as long as a vector.
                unsafe {
                    let weight = V::splat(self.weights[q * self.stride + r]);
                    let sum = weight.mul_add(V::load(row.as_ptr()), V::load(sums.as_ptr()));
                    sum.store(sums.as_mut_ptr());
                }
            }
            out[at..].copy_from_slice(&sums[..rest]);
        }
    }
}
