//! The arithmetic between elements and bytes, against the same in numbers that cannot overflow:
//! every type, every combination of dimensions around blocks and around the largest sizes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use apr_tensor::{DType, MAX_RANK, TensorError, TensorLayout};
use proptest::prelude::*;

/// Dimensions: small ones, those around the blocks, and those at which products and sizes in bytes
/// pass the address space.
fn dims() -> Vec<usize> {
    let mut dims: Vec<usize> = (0..=5).collect();
    for block in [32_usize, 256] {
        dims.extend([block - 1, block, block + 1, 3 * block]);
    }
    for bits in [31, 32, 33, 55, 59, 61, 62, 63] {
        let power = 1_usize << bits;
        dims.extend([power - 1, power, power + 32, power + 256]);
    }
    for divisor in [1, 2, 4, 8, 17, 18, 34, 210, 256, 292] {
        let most = usize::MAX / divisor;
        dims.extend([most - 1, most, most.saturating_add(1), most / 256 * 256, most / 32 * 32]);
    }
    dims.sort_unstable();
    dims.dedup();
    dims
}

/// The sizes in elements, bytes of a row and bytes, or none if there are none that can be addressed.
/// Products of three dimensions may be past 128 bits; then they are past 64 as well.
fn expected(dtype: DType, shape: &[usize]) -> Option<(u128, u128, u128)> {
    let wide = |size: usize| u128::try_from(size).unwrap();
    let (block, bytes) = (wide(dtype.block_elems()), wide(dtype.block_bytes()));
    let fits = |size: &u128| usize::try_from(*size).is_ok();
    let product = shape
        .iter()
        .try_fold(1_u128, |product, &dim| product.checked_mul(wide(dim.max(1))).filter(fits))?;
    let elems = if shape.contains(&0) { 0 } else { product };
    let row = wide(shape.last().copied().unwrap_or(1));
    let of = |elems: u128| Some(elems / block * bytes).filter(fits);
    Some((elems, of(row)?, of(elems)?))
}

fn check(dtype: DType, shape: &[usize]) {
    let found = TensorLayout::new(dtype, shape);
    let row = shape.last().copied().unwrap_or(1);
    let sizes = |layout: &TensorLayout| {
        let wide = |size: usize| u128::try_from(size).unwrap();
        (wide(layout.elem_count()), wide(layout.row_bytes()), wide(layout.byte_len()))
    };
    match &found {
        _ if !row.is_multiple_of(dtype.block_elems()) => {
            assert!(matches!(found, Err(TensorError::PartialBlock { .. })), "{dtype} {shape:?}");
        }
        Ok(layout) => {
            assert_eq!(Some(sizes(layout)), expected(dtype, shape), "{dtype} {shape:?}");
            assert_eq!(layout.row_count().checked_mul(row), Some(layout.elem_count()));
            assert_eq!(layout.rows_bytes(layout.row_count()), layout.byte_len());
        }
        Err(error) => {
            assert!(matches!(error, TensorError::TooLarge { .. }), "{dtype} {shape:?}: {error}");
            assert_eq!(expected(dtype, shape), None, "{dtype} {shape:?}");
        }
    }
}

#[test]
fn every_type_with_every_shape_of_up_to_three_dimensions() {
    let (dims, mut checked) = (dims(), 0_usize);
    for &dtype in DType::ALL {
        check(dtype, &[]);
        for &a in &dims {
            check(dtype, &[a]);
            for &b in &dims {
                check(dtype, &[a, b]);
                // The last dimension decides first: of those that cut a block, few are enough.
                for &c in dims.iter().filter(|c| c.is_multiple_of(dtype.block_elems())) {
                    check(dtype, &[a, b, c]);
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 1_000_000, "{checked}");
}

#[test]
fn columns_and_rows_are_those_that_lie_there() {
    for &dtype in DType::ALL {
        let (block, bytes) = (dtype.block_elems(), dtype.block_bytes());
        let layout = TensorLayout::new(dtype, &[3, 3 * block]).unwrap();
        for start in 0..=3 * block + 1 {
            for end in 0..=3 * block + 1 {
                let whole = start % block == 0 && end % block == 0;
                let holds = whole && start <= end && end <= 3 * block;
                let expected = holds.then(|| start / block * bytes..end / block * bytes);
                assert_eq!(
                    layout.column_bytes(start..end).ok(),
                    expected,
                    "{dtype} {start}..{end}"
                );
            }
        }
        let huge = [usize::MAX, usize::MAX / block * block, 1 << 63];
        for (start, end) in huge.into_iter().flat_map(|huge| [(0, huge), (huge, huge), (huge, 0)]) {
            assert!(layout.column_bytes(start..end).is_err(), "{dtype} {start}..{end}");
        }
    }
}

#[test]
fn lengths_agree_where_they_are_whole_blocks_of_as_many_elements() {
    for &dtype in DType::ALL {
        let (block, bytes) = (dtype.block_elems(), dtype.block_bytes());
        for blocks in 0..4 {
            for len in (blocks * bytes).saturating_sub(1)..=blocks * bytes + 1 {
                for elems in (blocks * block).saturating_sub(1)..=blocks * block + 1 {
                    let agree = len.is_multiple_of(bytes)
                        && elems.is_multiple_of(block)
                        && len / bytes == elems / block;
                    assert_eq!(
                        dtype.check_lengths(len, elems).is_ok(),
                        agree,
                        "{dtype} {len} {elems}"
                    );
                }
            }
        }
        for len in [usize::MAX, usize::MAX / bytes * bytes] {
            assert!(dtype.check_lengths(len, 0).is_err(), "{dtype} {len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn shapes_of_every_rank(
        dtype in prop::sample::select(DType::ALL),
        mut shape in prop::collection::vec(prop_oneof![
            4 => 0_usize..70,
            2 => (0_u32..64, 0_usize..3).prop_map(|(bits, add)| (1_usize << bits).saturating_add(add)),
            1 => any::<usize>(),
        ], 0..=MAX_RANK),
        blocks in 0_usize..4,
    ) {
        if let Some(last) = shape.last_mut() {
            // Whole blocks, most of the time.
            *last = if blocks == 3 { *last } else { *last / dtype.block_elems() * dtype.block_elems() };
        }
        check(dtype, &shape);
    }
}
