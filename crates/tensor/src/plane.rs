//! How small integers are packed into bytes.

/// Fields of `BITS` bits in groups of `WIDTH` bytes: field k of byte j in group g belongs to
/// element (g · 8/BITS + k) · WIDTH + j, and holds its bits from `SHIFT` up.
pub(crate) struct Plane<const BITS: u32, const WIDTH: usize, const SHIFT: u32>;

impl<const BITS: u32, const WIDTH: usize, const SHIFT: u32> Plane<BITS, WIDTH, SHIFT> {
    const FIELDS: usize = (8 / BITS) as usize;
    const MASK: u8 = (1 << BITS) - 1;

    /// Puts the bits of this plane into `out`, which has the elements of all bytes: the plane of
    /// the lowest bits sets them, the others add to it.
    #[inline(always)]
    pub(crate) fn unpack(bytes: &[u8], out: &mut [u8]) {
        let groups = out.as_chunks_mut::<WIDTH>().0.chunks_exact_mut(Self::FIELDS);
        for (bytes, fields) in bytes.as_chunks::<WIDTH>().0.iter().zip(groups) {
            for (out, at) in fields.iter_mut().zip(Self::places()) {
                for (out, byte) in out.iter_mut().zip(bytes) {
                    let field = ((byte >> at) & Self::MASK) << SHIFT;
                    *out = if SHIFT == 0 { field } else { *out | field };
                }
            }
        }
    }

    /// The bytes of this plane, taken from the elements.
    #[inline(always)]
    pub(crate) fn pack<const BYTES: usize>(elements: &[u8]) -> [u8; BYTES] {
        let mut packed = [0; BYTES];
        let groups = elements.as_chunks::<WIDTH>().0.chunks_exact(Self::FIELDS);
        for (bytes, fields) in packed.as_chunks_mut::<WIDTH>().0.iter_mut().zip(groups) {
            for (elements, at) in fields.iter().zip(Self::places()) {
                for (byte, element) in bytes.iter_mut().zip(elements) {
                    *byte |= ((element >> SHIFT) & Self::MASK) << at;
                }
            }
        }
        packed
    }

    /// First bits of the fields within a byte.
    #[inline(always)]
    fn places() -> impl Iterator<Item = u32> {
        (0..8).step_by(BITS as usize)
    }
}

/// Writes what `value` makes of each integer. Their number is known when this is compiled, which
/// makes it several times as fast.
#[inline(always)]
pub(crate) fn expand<const N: usize>(q: &[u8; N], out: &mut [f32], value: impl Fn(f32) -> f32) {
    let out: &mut [f32; N] = out.first_chunk_mut().expect("a place for every integer");
    for (out, &q) in out.iter_mut().zip(q) {
        *out = value(f32::from(q));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_byte_are_a_width_apart() {
        type Pairs = Plane<2, 2, 1>;
        let elements: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
        // Elements j, j + 2, j + 4, j + 6 share byte j, without their lowest bit.
        let packed: [u8; 2] = Pairs::pack(&elements);
        assert_eq!(packed, [0b11_10_01_00; 2]);
        let mut out = [0; 8];
        Pairs::unpack(&packed, &mut out);
        assert_eq!(out, elements.map(|element| element & 0b110));
    }
}
