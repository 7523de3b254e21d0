//! Portable code, compiled for the instruction set of a table: codecs and whatever else is plain
//! arithmetic. Wider vectors change how long it takes, never a bit of what it gives.
#![allow(unsafe_code, reason = "code is compiled for instruction sets that must be detected")]

use crate::Kernels;
use apr_tensor::{Block, BlockTask, DType, EncodeError, TensorError};
use std::marker::PhantomData;

/// Work on numbers that is worth wide vectors.
///
/// Implementations mark `run`, and all that it calls and that shall use the instructions, as
/// `#[inline(always)]`: what is not inlined stays as portable as it was.
pub trait Task {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run(self) -> Self::Output;
}

/// What portable code is compiled for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernels {
    /// Does `task` with the instructions of this table.
    pub fn run<T: Task>(&self, task: T) -> T::Output {
        match self.target {
            Target::Baseline => task.run(),
            // SAFETY: the table was handed out after its instruction set was detected.
            #[cfg(target_arch = "x86_64")]
            Target::Avx2 => unsafe { avx2(task) },
            // SAFETY: the table was handed out after its instruction set was detected.
            #[cfg(target_arch = "x86_64")]
            Target::Avx512 => unsafe { avx512(task) },
        }
    }

    /// As [`DType::encode`], with the same bytes.
    ///
    /// # Errors
    /// Those of [`DType::encode`].
    pub fn encode(&self, dtype: DType, values: &[f32], out: &mut [u8]) -> Result<(), EncodeError> {
        dtype.check_lengths(out.len(), values.len())?;
        dtype.with_block(Encode { table: self, values, out })
    }

    /// As [`DType::decode`], with the same values.
    ///
    /// # Errors
    /// Those of [`DType::decode`].
    pub fn decode(&self, dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), TensorError> {
        dtype.check_lengths(bytes.len(), out.len())?;
        if let Some(rows) = self.block(dtype) {
            rows.decode(bytes, out);
            return Ok(());
        }
        dtype.decode(bytes, out)
    }

    /// Decodes blocks whose lengths were checked.
    pub(crate) fn decode_blocks(&self, dtype: DType, bytes: &[u8], out: &mut [f32]) {
        dtype.with_block(Decode { table: self, bytes, out });
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn avx2<T: Task>(task: T) -> T::Output {
    task.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<T: Task>(task: T) -> T::Output {
    task.run()
}

struct Encode<'a> {
    table: &'a Kernels,
    values: &'a [f32],
    out: &'a mut [u8],
}

impl BlockTask for Encode<'_> {
    type Output = Result<(), EncodeError>;

    fn with<B: Block>(self) -> Self::Output {
        self.table.run(Of::<_, B>(self, PhantomData))
    }
}

struct Decode<'a> {
    table: &'a Kernels,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl BlockTask for Decode<'_> {
    type Output = ();

    fn with<B: Block>(self) {
        self.table.run(Of::<_, B>(self, PhantomData));
    }
}

/// Work on blocks of a type that is known to the compiler.
struct Of<T, B>(T, PhantomData<B>);

impl<B: Block> Task for Of<Encode<'_>, B> {
    type Output = Result<(), EncodeError>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        B::encode_run(self.0.values, self.0.out)
    }
}

impl<B: Block> Task for Of<Decode<'_>, B> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        B::decode_run(self.0.bytes, self.0.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::Xorshift;

    /// Elements of a row: whole blocks of every type.
    const ROW: usize = 512;

    /// Ordinary rows, and those where rounding, range or sign are at their limits.
    fn rows() -> Vec<Vec<f32>> {
        let mut random = Xorshift::new(11);
        let mut rows = vec![vec![0.0; ROW]];
        for scale in [1.0, 0.02, 1e-6, 1e-20, 1e-38, 1e-42, 1e4] {
            for _ in 0..8 {
                let mut row = random.floats(ROW);
                row.iter_mut().for_each(|value| *value *= scale);
                let mut outlier = row.clone();
                outlier[77] *= 300.0;
                let signed_zeros = row.iter().map(|value| if *value > 0.0 { 0.0 } else { -0.0 });
                let sparse =
                    row.iter().map(|value| if *value > 0.3 * scale { *value } else { -0.0 });
                let one_sign = row.iter().map(|value| value.abs() + scale);
                rows.extend([signed_zeros.collect(), sparse.collect(), one_sign.collect()]);
                rows.extend([row, outlier]);
            }
        }
        let mut not_finite = random.floats(ROW);
        not_finite[300] = f32::NAN;
        let mut too_large = random.floats(ROW);
        too_large[301] = 3e38;
        rows.extend([not_finite, too_large]);
        rows
    }

    #[test]
    fn encoding_gives_the_same_bytes_with_every_instruction_set() {
        for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_encodable()) {
            for (at, row) in rows().iter().enumerate() {
                let mut expected = vec![0; ROW / dtype.block_elems() * dtype.block_bytes()];
                let outcome = dtype.encode(row, &mut expected).map_err(|error| error.to_string());
                for table in Kernels::available() {
                    let mut found = vec![0; expected.len()];
                    let of_table = table.encode(dtype, row, &mut found);
                    let of_table = of_table.map_err(|error| error.to_string());
                    assert_eq!(of_table, outcome, "{} {dtype} row {at}", table.name());
                    assert_eq!(found, expected, "{} {dtype} row {at}", table.name());
                }
            }
        }
    }

    #[test]
    fn lengths_that_disagree_are_refused() {
        let table = Kernels::best();
        assert!(table.encode(DType::Q8_0, &[0.0; 31], &mut [0; 34]).is_err());
        assert!(table.decode(DType::Q8_0, &[0; 34], &mut [0.0; 31]).is_err());
        assert!(table.decode(DType::I32, &[0; 5], &mut [0.0; 1]).is_err());
    }
}
