//! Keys and values of the positions seen so far.

use crate::ModelError;
use crate::ops::Rope;
use apr_kernel::{CacheRows, Kernels};
use apr_tensor::{DType, EncodeError};

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheType {
    /// Single precision: as they were computed.
    #[default]
    F32,
    /// Half precision.
    F16,
    /// Blocks of 32 bytes with a scale; heads must be whole blocks.
    Q8_0,
}

impl CacheType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8_0];

    /// As it is written in arguments and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.name() == name)
    }

    const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Q8_0 => DType::Q8_0,
        }
    }

    /// Bytes of so many elements.
    fn bytes(self, elems: usize) -> usize {
        elems / self.dtype().block_elems() * self.dtype().block_bytes()
    }

    /// That heads of this size are whole blocks.
    pub(crate) fn check(self, head_dim: usize) -> Result<(), ModelError> {
        let block = self.dtype().block_elems();
        if head_dim.is_multiple_of(block) {
            return Ok(());
        }
        Err(ModelError::CacheHeads { cache: self.name(), head_dim, block })
    }
}

/// Keys and values of every layer, `[layer][position][kv_heads · head_dim]`.
#[derive(Debug, Clone)]
pub struct KvCache {
    of: CacheType,
    kv_size: usize,
    capacity: usize,
    len: usize,
    ropes: Ropes,
    keys: Vec<Rows>,
    values: Vec<Rows>,
}

/// Keys or values of a layer. Zeros come from the system, which takes no memory for them before
/// they are written.
#[derive(Debug, Clone)]
enum Rows {
    F32(Vec<f32>),
    Packed(CacheType, Vec<u8>),
}

impl Rows {
    fn zeros(of: CacheType, elems: usize) -> Self {
        match of {
            CacheType::F32 => Self::F32(vec![0.0; elems]),
            CacheType::F16 | CacheType::Q8_0 => Self::Packed(of, vec![0; of.bytes(elems)]),
        }
    }

    /// Rounds `values` into the elements from `start` on.
    fn store(
        &mut self,
        kernels: &Kernels,
        start: usize,
        values: &[f32],
    ) -> Result<(), EncodeError> {
        match self {
            Self::F32(rows) => {
                rows[start..][..values.len()].copy_from_slice(values);
                Ok(())
            }
            Self::Packed(of, rows) => {
                let rows = &mut rows[of.bytes(start)..][..of.bytes(values.len())];
                kernels.encode(of.dtype(), values, rows)
            }
        }
    }

    fn from(&self, start: usize) -> CacheRows<'_> {
        match self {
            Self::F32(rows) => CacheRows::F32(&rows[start..]),
            Self::Packed(of, rows) => CacheRows::Packed(of.dtype(), &rows[of.bytes(start)..]),
        }
    }
}

/// How positions are rotated, where they are. Frequencies can depend on the cache's capacity.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ropes {
    pub(crate) global: Option<Rope>,
    /// For layers with a window.
    pub(crate) local: Option<Rope>,
}

impl KvCache {
    /// An empty cache for `capacity` positions of `layers` layers.
    pub(crate) fn new(
        of: CacheType,
        (layers, kv_size): (usize, usize),
        capacity: usize,
        ropes: Ropes,
    ) -> Self {
        let rows = || (0..layers).map(|_| Rows::zeros(of, capacity * kv_size)).collect();
        Self { of, kv_size, capacity, len: 0, ropes, keys: rows(), values: rows() }
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
    pub fn bytes_per_position(&self) -> usize {
        2 * self.keys.len() * self.of.bytes(self.kv_size)
    }

    /// Writes keys and values, `[tokens, kv_size]`, of the positions after the filled ones.
    pub(crate) fn store(
        &mut self,
        kernels: &Kernels,
        layer: usize,
        (keys, values): (&[f32], &[f32]),
    ) -> Result<(), ModelError> {
        let start = self.len * self.kv_size;
        let keys = self.keys[layer].store(kernels, start, keys);
        keys.and_then(|()| self.values[layer].store(kernels, start, values))
            .map_err(|source| ModelError::CacheRange { cache: self.of.name(), layer, source })
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
        self.keys[layer].from(position * self.kv_size + element)
    }

    /// Values, likewise.
    pub(crate) fn values(
        &self,
        layer: usize,
        (element, position): (usize, usize),
    ) -> CacheRows<'_> {
        self.values[layer].from(position * self.kv_size + element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_positions_are_filled_again() {
        let mut cache = KvCache::new(CacheType::F32, (2, 4), 8, Ropes::default());
        assert_eq!(cache.bytes_per_position(), 2 * 2 * 4 * 4);
        cache.advance(5);
        cache.truncate(6);
        assert_eq!(cache.len(), 5);
        cache.truncate(3);
        assert_eq!(cache.len(), 3);
        cache.store(Kernels::best(), 1, (&[1.0; 4], &[2.0; 4])).unwrap();
        cache.advance(1);
        let CacheRows::F32(keys) = cache.keys(1, (2, 3)) else { panic!("single precision") };
        assert_eq!(keys[..6], [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn every_type_keeps_what_it_was_given() {
        for of in CacheType::ALL {
            assert_eq!(CacheType::named(of.name()), Some(of));
            let mut cache = KvCache::new(of, (1, 64), 3, Ropes::default());
            assert_eq!(cache.bytes_per_position(), 2 * of.bytes(64));
            let row: Vec<f32> = (0..64).map(|i| (i % 32 - 16) as f32 * 127.0 / 16.0).collect();
            cache.advance(1);
            cache.store(Kernels::best(), 0, (&row, &row)).unwrap();
            let mut found = [0.0; 32];
            match cache.keys(0, (32, 1)) {
                CacheRows::F32(rows) => found.copy_from_slice(&rows[..32]),
                CacheRows::Packed(dtype, bytes) => {
                    dtype.decode(&bytes[..of.bytes(32)], &mut found).unwrap();
                }
            }
            let off = found.iter().zip(&row[32..]).map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, f32::max);
            assert!(off <= if of == CacheType::Q8_0 { 0.5 } else { 0.0 }, "{of:?}: {off}");
        }
        assert_eq!(CacheType::named("q9"), None);
        assert!(CacheType::Q8_0.check(64).is_ok() && CacheType::F16.check(20).is_ok());
        let error = CacheType::Q8_0.check(20).unwrap_err().to_string();
        assert!(error.contains("20") && error.contains("32"), "{error}");
    }

    #[test]
    fn what_half_precision_does_not_hold_is_an_error() {
        let mut cache = KvCache::new(CacheType::F16, (1, 2), 1, Ropes::default());
        let error = cache.store(Kernels::best(), 0, (&[1.0, 1e6], &[0.0; 2])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("layer 0") && error.contains("--cache f32"), "{error}");
    }
}
