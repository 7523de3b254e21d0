//! Seeded operands and the double-precision oracle for the tests of this crate.

use apr_tensor::DType;
use half::f16;

pub(crate) const SUPPORTED: [DType; 5] =
    [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q8_0];

/// Marsaglia's xorshift64.
pub(crate) struct Xorshift(u64);

impl Xorshift {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn bytes(&mut self) -> [u8; 8] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()
    }

    /// Between −1 and 1.
    pub(crate) fn float(&mut self) -> f32 {
        let [.., low, high] = self.bytes();
        f32::from(i16::from_le_bytes([low, high])) / 32_768.0
    }

    pub(crate) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

/// Random blocks: any integers in quantized ones, with finite scales; finite floats.
pub(crate) fn random_blocks(random: &mut Xorshift, dtype: DType, blocks: usize) -> Vec<u8> {
    let mut bytes = vec![0; blocks * dtype.block_bytes()];
    if !dtype.is_quantized() {
        dtype.encode(&random.floats(blocks), &mut bytes).unwrap();
        return bytes;
    }
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        for bytes in block.chunks_mut(8) {
            bytes.copy_from_slice(&random.bytes()[..bytes.len()]);
        }
        // In the types tested here the scale comes first.
        block[..2].copy_from_slice(&f16::from_f32(random.float() * 0.1).to_bits().to_le_bytes());
    }
    bytes
}

/// A sum of products, and the sum of their magnitudes that rounding errors are measured by.
pub(crate) struct Exact {
    pub(crate) sum: f64,
    pub(crate) magnitude: f64,
}

pub(crate) fn dot_f64(a: &[f32], b: &[f32]) -> Exact {
    let products = || a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    Exact { sum: products().sum(), magnitude: products().map(f64::abs).sum() }
}

/// Each of the eight or more partial sums takes at most `len / 8` roundings, and adding them up
/// and scaling a few more, each of half a unit in the last place of the magnitude.
pub(crate) fn assert_close(found: f32, exact: Exact, len: usize) {
    let roundings = f64::from(u32::try_from(len).unwrap()) / 8.0 + 16.0;
    let bound = roundings * f64::from(f32::EPSILON) / 2.0 * exact.magnitude;
    let difference = (f64::from(found) - exact.sum).abs();
    assert!(difference <= bound, "{found} is not {} within {bound:e}, len {len}", exact.sum);
}
