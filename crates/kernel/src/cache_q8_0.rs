//! Scores and sums straight from a cache of Q8_0 blocks: the portable functions.

use crate::attention::{CacheKernels, Strided};
use crate::scalar::half;
use apr_tensor::{Block, BlockQ8_0};

pub(crate) const PORTABLE: CacheKernels<BlockQ8_0> = CacheKernels { scores, add_weighted };

/// The scale of a block comes after the sum of its products.
fn scores(query: &[f32], rows: Strided<'_, BlockQ8_0>, out: &mut [f32]) {
    let query = query.as_chunks::<{ BlockQ8_0::ELEMS }>().0;
    for (p, out) in out.iter_mut().enumerate() {
        let blocks = rows.row(p, query.len()).iter().zip(query);
        let products = blocks.map(|(block, query)| {
            let products = block.qs.iter().zip(query).map(|(q, x)| f32::from(*q) * x);
            products.sum::<f32>() * half(block.d)
        });
        *out = products.sum();
    }
}

fn add_weighted(weights: &[f32], rows: Strided<'_, BlockQ8_0>, out: &mut [f32]) {
    let out = out.as_chunks_mut::<{ BlockQ8_0::ELEMS }>().0;
    for (p, weight) in weights.iter().enumerate() {
        for (block, out) in rows.row(p, out.len()).iter().zip(out.iter_mut()) {
            let weight = weight * half(block.d);
            out.iter_mut().zip(&block.qs).for_each(|(out, q)| *out += weight * f32::from(*q));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::test_data::Xorshift;
    use crate::{Attention, CacheRows, Kernels};
    use apr_tensor::DType;

    /// Rows that are cut out of wider ones, as a head is out of a position.
    #[test]
    fn attention_is_that_of_the_decoded_cache() {
        let mut random = Xorshift::new(31);
        for (head_dim, positions) in [(32, 1), (32, 63), (64, 64), (64, 65), (96, 200), (128, 3)] {
            let stride = head_dim + 32;
            let [keys, values] = [0, 1].map(|_| {
                let floats = random.floats(positions * stride);
                let mut bytes = vec![0; floats.len() / 32 * 34];
                Kernels::best().encode(DType::Q8_0, &floats, &mut bytes).unwrap();
                let mut decoded = vec![0.0; floats.len()];
                DType::Q8_0.decode(&bytes, &mut decoded).unwrap();
                (bytes, decoded)
            });
            let queries = random.floats(3 * head_dim);
            let decoded = Attention {
                head_dim,
                positions,
                keys: CacheRows::F32(&keys.1[32..]),
                values: CacheRows::F32(&values.1[32..]),
                stride,
                scale: 0.5,
                softcap: None,
            };
            let packed = Attention {
                keys: CacheRows::Q8_0(&keys.0[34..]),
                values: CacheRows::Q8_0(&values.0[34..]),
                ..decoded
            };
            let mut expected = vec![f32::NAN; queries.len()];
            Kernels::best().attend(decoded, &queries, &mut expected);
            for table in Kernels::available() {
                let mut found = vec![f32::NAN; queries.len()];
                table.attend(packed, &queries, &mut found);
                for (found, expected) in found.iter().zip(&expected) {
                    // Values are up to 1; rounding of scores up to 64 moves their weights.
                    assert!((found - expected).abs() <= 2e-5, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "heads and rows of whole blocks")]
    fn heads_within_a_block_are_refused() {
        let attention = Attention {
            head_dim: 16,
            positions: 1,
            keys: CacheRows::Q8_0(&[0; 34]),
            values: CacheRows::Q8_0(&[0; 34]),
            stride: 32,
            scale: 1.0,
            softcap: None,
        };
        Kernels::best().attend(attention, &[0.0; 16], &mut [0.0; 16]);
    }
}
