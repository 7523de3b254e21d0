//! Keys and values of the positions seen so far.

use crate::ops::Rope;
use apr_kernel::CacheRows;

/// Keys and values of every layer, `[layer][position][kv_heads · head_dim]`, in single precision.
#[derive(Debug, Clone)]
pub struct KvCache {
    kv_size: usize,
    capacity: usize,
    len: usize,
    ropes: Ropes,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

/// How positions are rotated, where they are. Frequencies can depend on the cache's capacity.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ropes {
    pub(crate) global: Option<Rope>,
    /// For layers with a window.
    pub(crate) local: Option<Rope>,
}

impl KvCache {
    /// An empty cache for `capacity` positions. Memory is taken when it is written to.
    pub(crate) fn new(layers: usize, kv_size: usize, capacity: usize, ropes: Ropes) -> Self {
        // Zeros from the system are no memory yet; a copy of them would be.
        let rows = || (0..layers).map(|_| vec![0.0; capacity * kv_size]).collect();
        Self { kv_size, capacity, len: 0, ropes, keys: rows(), values: rows() }
    }

    /// Positions that are filled.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is filled.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions that it can hold.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets everything.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets the positions from `len` on; does nothing when there are none.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Bytes of the keys and values of a position, over all layers.
    #[must_use]
    pub const fn bytes_per_position(&self) -> usize {
        2 * self.keys.len() * self.kv_size * size_of::<f32>()
    }

    /// Writes keys and values, `[tokens, kv_size]`, of the positions after the filled ones.
    pub(crate) fn store(&mut self, layer: usize, keys: &[f32], values: &[f32]) {
        let start = self.len * self.kv_size;
        self.keys[layer][start..start + keys.len()].copy_from_slice(keys);
        self.values[layer][start..start + values.len()].copy_from_slice(values);
    }

    /// Counts positions as filled, once every layer has stored them.
    pub(crate) const fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    pub(crate) const fn ropes(&self) -> &Ropes {
        &self.ropes
    }

    /// Keys of a layer from an element of a position on.
    pub(crate) fn keys(&self, layer: usize, (element, position): (usize, usize)) -> CacheRows<'_> {
        CacheRows::F32(&self.keys[layer][position * self.kv_size + element..])
    }

    /// Values, likewise.
    pub(crate) fn values(
        &self,
        layer: usize,
        (element, position): (usize, usize),
    ) -> CacheRows<'_> {
        CacheRows::F32(&self.values[layer][position * self.kv_size + element..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_positions_are_filled_again() {
        let mut cache = KvCache::new(2, 4, 8, Ropes::default());
        assert_eq!(cache.bytes_per_position(), 2 * 2 * 4 * 4);
        cache.advance(5);
        cache.truncate(6);
        assert_eq!(cache.len(), 5);
        cache.truncate(3);
        assert_eq!(cache.len(), 3);
        cache.store(1, &[1.0; 4], &[2.0; 4]);
        cache.advance(1);
        let CacheRows::F32(keys) = cache.keys(1, (2, 3)) else { panic!("single precision") };
        assert_eq!(keys[..6], [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
