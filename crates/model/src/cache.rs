//! Keys and values of the positions seen so far.

/// Keys and values of every layer, `[layer][position][kv_heads · head_dim]`, in single precision.
#[derive(Debug, Clone)]
pub struct KvCache {
    kv_size: usize,
    capacity: usize,
    len: usize,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl KvCache {
    /// An empty cache for `capacity` positions. Memory is taken when it is written to.
    #[must_use]
    pub fn new(layers: usize, kv_size: usize, capacity: usize) -> Self {
        let rows = vec![0.0; capacity * kv_size];
        let (keys, values) = (vec![rows.clone(); layers], vec![rows; layers]);
        Self { kv_size, capacity, len: 0, keys, values }
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

    pub(crate) fn keys(&self, layer: usize) -> Rows<'_> {
        Rows { data: &self.keys[layer], stride: self.kv_size }
    }

    pub(crate) fn values(&self, layer: usize) -> Rows<'_> {
        Rows { data: &self.values[layer], stride: self.kv_size }
    }
}

/// The rows of one layer, one per position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    data: &'a [f32],
    stride: usize,
}

impl<'a> Rows<'a> {
    /// The part of one head of one position.
    pub(crate) fn head(&self, position: usize, head: usize, head_dim: usize) -> &'a [f32] {
        let start = position * self.stride + head * head_dim;
        &self.data[start..start + head_dim]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_positions_are_filled_again() {
        let mut cache = KvCache::new(2, 4, 8);
        assert_eq!(cache.bytes_per_position(), 2 * 2 * 4 * 4);
        cache.advance(5);
        cache.truncate(6);
        assert_eq!(cache.len(), 5);
        cache.truncate(3);
        assert_eq!(cache.len(), 3);
        cache.store(1, &[1.0; 4], &[2.0; 4]);
        cache.advance(1);
        assert_eq!(cache.keys(1).head(3, 1, 2), [1.0; 2]);
        assert_eq!(cache.keys(1).head(4, 1, 2), [0.0; 2]);
    }
}
