//! Activations as integers: what the integer kernels multiply packed weights with.
//!
//! A part is 32 elements. Eight of them share a scale, so that an element is known to 1/65534 of the
//! largest one of its group. Coarser scales, or eight bits, would cost the golden tests their
//! bounds. A group is two fours of neighbours. The weights of a four lie in four bytes that are one
//! lane's, where the even ones and the odd ones become pairs of 16-bit integers with the least
//! effort.

/// Elements of a part.
pub(crate) const PART: usize = 32;
/// Groups of a part.
pub(crate) const GROUPS: usize = 4;
/// Elements of a group.
pub(crate) const GROUP: usize = PART / GROUPS;
/// Fours of a part.
pub(crate) const FOURS: usize = PART / 4;
/// The largest integer of an activation.
pub(crate) const LIMIT: f32 = 32_767.0;
/// Groups whose largest magnitude is below this are zero: the inverse of their scale could
/// overflow.
pub(crate) const NEGLIGIBLE: f32 = 1e-30;

/// What an element may be off by, in steps: half of one, and three roundings of numbers up to
/// [`LIMIT`] to single precision, for the scale, its inverse and the product with it.
#[cfg(test)]
pub(crate) const HALF_STEP: f64 = 0.5 + 3.0 * LIMIT as f64 * f32::EPSILON as f64 / 2.0;

/// 32 activations: element `k` is `values[place(k)] * scales[group(k)]`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Part {
    pub(crate) values: [i16; PART],
    pub(crate) scales: [f32; GROUPS],
    /// Sums of the first and of the last sixteen elements.
    pub(crate) sums: [f32; 2],
}

/// The group of an element.
pub(crate) const fn group(k: usize) -> usize {
    k / GROUP
}

/// Where an element lies among the values: in each four the even ones come first. The element
/// that lies at a place is told by the same function.
pub(crate) const fn place(k: usize) -> usize {
    k & !3 | (k & 1) << 1 | (k >> 1) & 1
}

/// Rounds each run of 32 inputs to a part. An input that is not finite makes the scale of its
/// group, and so every product with it, not a number. Every operation is exactly rounded, so that
/// all tables have the same bits.
pub(crate) fn quantize(input: &[f32], parts: &mut [Part]) {
    for (input, part) in input.as_chunks::<PART>().0.iter().zip(parts) {
        quantize_part(input, part);
    }
}

fn quantize_part(input: &[f32; PART], part: &mut Part) {
    // As integers, magnitudes have the order of the floats, and NaN is the largest.
    let bits = input.map(|x| x.to_bits() & 0x7fff_ffff);
    let amax: [f32; GROUPS] = std::array::from_fn(|g| {
        f32::from_bits(bits[GROUP * g..][..GROUP].iter().copied().fold(0, u32::max))
    });
    let inverses = amax.map(|amax| {
        let usable = amax >= NEGLIGIBLE && amax.is_finite();
        if usable { LIMIT / amax } else { 0.0 }
    });
    part.scales = amax.map(|amax| match amax {
        _ if !amax.is_finite() => f32::NAN,
        _ if amax < NEGLIGIBLE => 0.0,
        _ => amax / LIMIT,
    });
    part.values = std::array::from_fn(|at| {
        integer((input[place(at)] * inverses[group(at)]).round_ties_even())
    });
    part.sums = sums(part);
}

#[allow(clippy::cast_possible_truncation, reason = "saturates, and NaN becomes 0")]
fn integer(value: f32) -> i16 {
    value as i16
}

/// The sum of a group is exact before it is scaled.
fn sums(part: &Part) -> [f32; 2] {
    let groups: [f32; GROUPS] = std::array::from_fn(|g| {
        let group = &part.values[GROUP * g..][..GROUP];
        group.iter().map(|&value| i32::from(value)).sum::<i32>() as f32 * part.scales[g]
    });
    let [a, b, c, d] = groups;
    [a + b, c + d]
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
                for (k, &x) in input.iter().enumerate() {
                    let scale = f64::from(part.scales[group(k)]);
                    let found = f64::from(part.values[place(k)]) * scale;
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

    /// NaN is no equal of itself, so its bits are compared.
    #[test]
    fn every_table_spoils_the_same_groups() {
        let mut random = Xorshift::new(13);
        let mut input = random.floats(32 * 3);
        (input[5], input[40], input[64], input[81]) =
            (f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN);
        let mut expected = vec![Part::default(); 3];
        quantize(&input, &mut expected);
        for table in Kernels::available() {
            let mut found = vec![Part::default(); 3];
            table.quantize(&input, &mut found);
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.values, expected.values);
                assert_eq!(found.scales.map(f32::is_nan), expected.scales.map(f32::is_nan));
                assert_eq!(found.sums.map(f32::is_nan), expected.sums.map(f32::is_nan));
            }
        }
    }

    #[test]
    fn what_is_not_finite_spoils_its_group_alone() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut input = [1.0; PART];
            input[9] = bad;
            let mut part = Part::default();
            quantize_part(&input, &mut part);
            for (g, scale) in part.scales.into_iter().enumerate() {
                assert!(if g == 1 { scale.is_nan() } else { scale == 1.0 / LIMIT });
            }
            assert_eq!(part.sums.map(f32::is_nan), [true, false]);
        }
    }
}
