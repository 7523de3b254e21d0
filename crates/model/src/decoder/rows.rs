//! Which token of which sequence a row belongs to.

use crate::KvCache;
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

    /// Writes the keys and values of all rows, `[rows, kv_size]`, of a layer.
    pub(super) fn store(&mut self, layer: usize, keys: &[f32], values: &[f32]) {
        let len = keys.len() / self.caches.len();
        let rows = keys.chunks_exact(len).zip(values.chunks_exact(len));
        for (cache, (keys, values)) in self.caches.iter_mut().zip(rows) {
            cache.store(layer, keys, values);
        }
    }

    /// Counts the rows as filled.
    pub(super) fn advance(&mut self) {
        self.caches.iter_mut().for_each(|cache| cache.advance(self.of_each));
    }
}
