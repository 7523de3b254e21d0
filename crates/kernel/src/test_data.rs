//! Seeded operands and the double-precision oracle for the tests of this crate.

use crate::activations::{HALF_STEP, PART, Part, group, place, quantize};
use crate::integer::{Integers, integer_types};
use crate::scalar::blocks;
use apr_tensor::DType;

/// Every type that can be multiplied with.
pub(crate) fn supported() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|dtype| dtype.is_float() || dtype.is_quantized())
}

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

/// Random blocks: any bytes in quantized ones that stand for values of a reasonable size.
pub(crate) fn random_blocks(random: &mut Xorshift, dtype: DType, blocks: usize) -> Vec<u8> {
    let mut bytes = vec![0; blocks * dtype.block_bytes()];
    if !dtype.is_quantized() {
        dtype.encode(&random.floats(blocks), &mut bytes).unwrap();
        return bytes;
    }
    let mut values = vec![0.0; dtype.block_elems()];
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        loop {
            for bytes in block.chunks_mut(8) {
                bytes.copy_from_slice(&random.bytes()[..bytes.len()]);
            }
            dtype.decode(block, &mut values).unwrap();
            if values.iter().all(|value| value.abs() < 1e6) {
                break;
            }
        }
    }
    bytes
}

/// An element as an integer type describes it.
pub(crate) struct Element {
    pub(crate) integer: i16,
    pub(crate) scale: f32,
    pub(crate) offset: f32,
}

impl Element {
    /// Its value, and the magnitude that rounding errors are measured by.
    pub(crate) fn value(&self) -> Exact {
        let product = f64::from(self.integer) * f64::from(self.scale);
        let offset = f64::from(self.offset);
        Exact { sum: product + offset, magnitude: product.abs() + offset.abs() }
    }
}

type Describe = fn(&[u8]) -> Vec<Element>;
/// The types with integers.
pub(crate) const DESCRIBED: &[(DType, Describe)] = integer_types!(describe);

const fn describe<B: Integers>() -> Describe {
    |bytes| {
        let elements = blocks::<B>(bytes).iter().flat_map(|block| {
            let (scales, offsets) = (block.scales(), block.offsets());
            (0..B::ELEMS).map(move |k| {
                let part = k / PART;
                let half = if B::OFFSETS == 2 { k / 16 % 2 } else { 0 };
                let offset = if B::OFFSETS == 0 { 0.0 } else { offsets[half][part] };
                Element { integer: block.integers(part)[k % PART], scale: scales[part], offset }
            })
        });
        elements.collect()
    }
}

/// Asserts that a product of a row with an input is what it should be: within rounding of double
/// precision, and with a type of integers within half a step of each rounded input.
pub(crate) fn assert_product(dtype: DType, row: &[u8], input: &[f32], found: f32) {
    let mut weights = vec![0.0; input.len()];
    dtype.decode(row, &mut weights).unwrap();
    let exact = dot_f64(&weights, input);
    let Some((_, describe)) = DESCRIBED.iter().find(|(of, _)| *of == dtype) else {
        return assert_close(found, exact, input.len());
    };
    let mut parts = vec![Part::default(); input.len() / PART];
    quantize(input, &mut parts);
    let (mut rounded, mut steps) = (Exact { sum: 0.0, magnitude: 0.0 }, 0.0);
    for (k, element) in describe(row).iter().enumerate() {
        let (part, k) = (&parts[k / PART], k % PART);
        let scale = f64::from(part.scales[group(k)]);
        let (x, weight) = (f64::from(part.values[place(k)]) * scale, element.value());
        rounded.sum += weight.sum * x;
        rounded.magnitude += weight.magnitude * x.abs();
        steps += weight.sum.abs() * scale * HALF_STEP;
    }
    let rounding = f64::from(f32::EPSILON) * 16.0 * rounded.magnitude;
    let difference = (f64::from(found) - exact.sum).abs();
    assert!(difference <= steps + rounding, "{dtype}: {found} is not {}", exact.sum);
    assert_close(found, rounded, input.len());
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
