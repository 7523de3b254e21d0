//! Which token of which sequence a row belongs to.

use crate::{KvCache, ModelError};
use apr_kernel::Kernels;
use std::ops::Range;

/// The tokens that go through the model together: as many of each sequence, one sequence after
/// the other.
pub(super) struct Rows<'a, 'c> {
    caches: &'a mut [&'c mut KvCache],
    of_each: usize,
}

impl<'a, 'c> Rows<'a, 'c> {
    /// `of_each` tokens of the sequence of each cache.
    pub(super) const fn new(caches: &'a mut [&'c mut KvCache], of_each: usize) -> Self {
        Self { caches, of_each }
    }

    /// The cache and the positions of each sequence.
    pub(super) fn sequences(&self) -> impl Iterator<Item = (&KvCache, Range<usize>)> {
        self.caches.iter().map(|cache| (&**cache, cache.len()..cache.len() + self.of_each))
    }

    /// The cache and the position of a row.
    pub(super) fn place(&self, row: usize) -> (&KvCache, usize) {
        let cache = &*self.caches[row / self.of_each];
        (cache, cache.len() + row % self.of_each)
    }

    /// These rows in runs of one sequence whose positions have the same `key`.
    pub(super) fn together<K: PartialEq>(
        &self,
        rows: Range<usize>,
        key: impl Fn(usize) -> K,
    ) -> impl Iterator<Item = Range<usize>> {
        let of = move |row| (row / self.of_each, key(self.place(row).1));
        let mut start = rows.start;
        std::iter::from_fn(move || {
            let run =
                start..(start + 1..rows.end).find(|&row| of(row) != of(start)).unwrap_or(rows.end);
            start = run.end;
            (!run.is_empty()).then_some(run)
        })
    }

    /// Writes the keys and values of all rows, `[rows, kv_size]`, of a layer.
    ///
    /// # Errors
    /// When the cache's type does not hold them.
    pub(super) fn store(
        &mut self,
        kernels: &Kernels,
        layer: usize,
        (keys, values): (&[f32], &[f32]),
    ) -> Result<(), ModelError> {
        let len = keys.len() / self.caches.len();
        let rows = keys.chunks_exact(len).zip(values.chunks_exact(len));
        let mut caches = self.caches.iter_mut().zip(rows);
        caches.try_for_each(|(cache, rows)| cache.store(kernels, layer, rows))
    }

    /// Counts the rows as filled.
    pub(super) fn advance(&mut self) {
        self.caches.iter_mut().for_each(|cache| cache.advance(self.of_each));
    }
}
