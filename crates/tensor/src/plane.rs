//! How small integers are packed into bytes.

/// Fields of `bits` bits in groups of `width` bytes: field k of byte j in group g belongs to
/// element (g · 8/bits + k) · width + j, and holds its bits from `shift` up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) bits: u32,
    pub(crate) width: usize,
    pub(crate) shift: u32,
}

impl Plane {
    /// Adds the bits of this plane to `out`, which has the elements of all bytes.
    #[inline]
    pub(crate) fn unpack(self, bytes: &[u8], out: &mut [u8]) {
        let groups = out.chunks_exact_mut(self.width * self.fields());
        for (bytes, out) in bytes.chunks_exact(self.width).zip(groups) {
            for (out, at) in out.chunks_exact_mut(self.width).zip(self.places()) {
                for (out, byte) in out.iter_mut().zip(bytes) {
                    *out |= ((byte >> at) & self.mask()) << self.shift;
                }
            }
        }
    }

    /// The bytes of this plane, taken from the elements.
    #[inline]
    pub(crate) fn pack<const BYTES: usize>(self, elements: &[u8]) -> [u8; BYTES] {
        let mut packed = [0; BYTES];
        let groups = elements.chunks_exact(self.width * self.fields());
        for (bytes, elements) in packed.chunks_exact_mut(self.width).zip(groups) {
            for (elements, at) in elements.chunks_exact(self.width).zip(self.places()) {
                for (byte, element) in bytes.iter_mut().zip(elements) {
                    *byte |= ((element >> self.shift) & self.mask()) << at;
                }
            }
        }
        packed
    }

    const fn fields(self) -> usize {
        (8 / self.bits) as usize
    }

    const fn mask(self) -> u8 {
        (1 << self.bits) - 1
    }

    /// First bits of the fields within a byte.
    fn places(self) -> impl Iterator<Item = u32> {
        (0..8).step_by(self.bits as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_byte_are_a_width_apart() {
        let plane = Plane { bits: 2, width: 2, shift: 1 };
        let elements = [0, 1, 2, 3, 4, 5, 6, 7].map(|element: u8| element);
        // Elements j, j + 2, j + 4, j + 6 share byte j, without their lowest bit.
        let packed: [u8; 2] = plane.pack(&elements);
        assert_eq!(packed, [0b11_10_01_00; 2]);
        let mut out = [0; 8];
        plane.unpack(&packed, &mut out);
        assert_eq!(out, elements.map(|element| element & 0b110));
    }
}
