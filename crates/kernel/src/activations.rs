//! Activations as integers: what the integer kernels multiply packed weights with.
//!
//! A part is 32 elements. Sixteen of them share a scale, so that an element is known to
//! 1/65534 of the largest one of its group; eight bits would cost the golden tests their bounds.
//! The groups are those quarters of a part that a 128-bit half of a vector register holds after
//! the products of the two halves of the part are added.

/// Elements of a part.
pub(crate) const PART: usize = 32;
/// The largest integer of an activation.
const LIMIT: f32 = 32_767.0;
/// Groups whose largest magnitude is below this are zero: the inverse of their scale could
/// overflow.
const NEGLIGIBLE: f32 = 1e-30;

/// What an element may be off by, in steps: half of one, and three roundings of numbers up to
/// [`LIMIT`] to single precision, for the scale, its inverse and the product with it.
#[cfg(test)]
pub(crate) const HALF_STEP: f64 = 0.5 + 3.0 * LIMIT as f64 * f32::EPSILON as f64 / 2.0;

/// 32 activations: element `k` is `values[k] * scales[k / 8 % 2]`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C, align(16))]
pub(crate) struct Part {
    pub(crate) values: [i16; PART],
    pub(crate) scales: [f32; 2],
    /// Sums of the first and of the last sixteen elements.
    pub(crate) sums: [f32; 2],
}

/// Rounds each run of 32 inputs to a part. An input that is not finite makes the scale of its
/// group, and so every product with it, not a number.
///
/// Tables call this from functions with their own instruction sets, for the compiler to vectorise;
/// the operations are exactly rounded, so that the result has the same bits in all of them.
#[inline(always)]
pub(crate) fn quantize(input: &[f32], parts: &mut [Part]) {
    for (input, part) in input.as_chunks::<PART>().0.iter().zip(parts) {
        *part = quantize_part(input);
    }
}

#[inline(always)]
fn quantize_part(input: &[f32; PART]) -> Part {
    let mut magnitudes = [0_u32; 16];
    for (k, &x) in input.iter().enumerate() {
        // As integers, magnitudes have the order of the floats, and NaN is the largest.
        let bits = x.to_bits() & 0x7fff_ffff;
        let lane = k % 16;
        magnitudes[lane] = magnitudes[lane].max(bits);
    }
    let scale_of = |group: usize| {
        let lanes = &magnitudes[8 * group..8 * group + 8];
        let amax = f32::from_bits(lanes.iter().copied().fold(0, u32::max));
        match amax {
            _ if !amax.is_finite() => (f32::NAN, 0.0),
            _ if amax < NEGLIGIBLE => (0.0, 0.0),
            _ => (amax / LIMIT, LIMIT / amax),
        }
    };
    let [(first, of_first), (second, of_second)] = [scale_of(0), scale_of(1)];
    let mut part = Part { scales: [first, second], ..Part::default() };
    for (i, (values, input)) in
        part.values.as_chunks_mut::<8>().0.iter_mut().zip(input.as_chunks::<8>().0).enumerate()
    {
        let inverse = [of_first, of_second][i % 2];
        for (value, x) in values.iter_mut().zip(input) {
            *value = integer((x * inverse).round_ties_even());
        }
    }
    part.sums = sums(&part);
    part
}

#[allow(clippy::cast_possible_truncation, reason = "saturates, and NaN becomes 0")]
#[inline(always)]
fn integer(value: f32) -> i16 {
    value as i16
}

#[inline(always)]
fn sums(part: &Part) -> [f32; 2] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|octet| {
        let octet: i32 = part.values[8 * octet..8 * octet + 8].iter().map(|&q| i32::from(q)).sum();
        octet as f32
    });
    let [first, second] = part.scales;
    [second.mul_add(b, first * a), second.mul_add(d, first * c)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernels;
    use crate::test_data::Xorshift;

    #[test]
    fn elements_are_within_half_a_step() {
        let mut random = Xorshift::new(11);
        for factor in [1e-20, 1.0, 3e7, 1e33] {
            let input: Vec<_> = random.floats(32 * 50).iter().map(|x| x * factor).collect();
            let mut parts = vec![Part::default(); 50];
            quantize(&input, &mut parts);
            for (part, input) in parts.iter().zip(input.chunks(PART)) {
                let mut sums = [0.0_f64; 2];
                for (k, (&value, &x)) in part.values.iter().zip(input).enumerate() {
                    let scale = f64::from(part.scales[k / 8 % 2]);
                    let found = f64::from(value) * scale;
                    assert!((found - f64::from(x)).abs() <= HALF_STEP * scale);
                    sums[k / 16] += found;
                }
                for (found, exact) in part.sums.iter().zip(sums) {
                    let step = f64::from(factor) * 16.0 * f64::from(f32::EPSILON);
                    assert!((f64::from(*found) - exact).abs() <= step);
                }
            }
        }
    }

    #[test]
    fn every_table_has_the_same_bits() {
        let mut random = Xorshift::new(12);
        let mut input = random.floats(32 * 67);
        input[40..56].fill(0.0);
        input[64..96].fill(-0.0);
        input[100] = 1e-38;
        input[200..208].iter_mut().for_each(|x| *x *= 1e-41);
        let mut expected = vec![Part::default(); 67];
        quantize(&input, &mut expected);
        for table in Kernels::available() {
            let mut found = vec![Part::default(); 67];
            table.quantize(&input, &mut found);
            assert!(found == expected, "{}", table.name());
        }
    }

    #[test]
    fn what_is_not_finite_spoils_its_group_alone() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut input = [1.0; PART];
            input[9] = bad;
            let part = quantize_part(&input);
            assert!(part.scales[1].is_nan() && part.scales[0] == 1.0 / LIMIT);
            assert!(part.sums.iter().all(|sum| sum.is_nan()));
        }
    }
}
