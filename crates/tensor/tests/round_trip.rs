//! Every type that can be encoded keeps its own bound, on every kind of row that quantizers meet.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use apr_tensor::DType;
use proptest::prelude::*;

/// Whole blocks of every type.
const ROW: usize = 512;

/// Types that values can be encoded in, found by trying.
fn encodable() -> Vec<DType> {
    let types: Vec<DType> = DType::ALL
        .iter()
        .copied()
        .filter(|dtype| dtype.encode(&[0.0; ROW], &mut row_buffer(*dtype)).is_ok())
        .collect();
    assert!(types.len() >= 5, "{types:?}");
    types
}

fn row_buffer(dtype: DType) -> Vec<u8> {
    vec![0; ROW / dtype.block_elems() * dtype.block_bytes()]
}

/// Checks every element against the bound of its block. Returns whether the row was encodable.
fn check(dtype: DType, values: &[f32]) -> Result<bool, TestCaseError> {
    let mut bytes = row_buffer(dtype);
    if let Err(error) = dtype.encode(values, &mut bytes) {
        let amax = values.iter().fold(0.0_f32, |amax, value| amax.max(value.abs()));
        prop_assert!(amax > 65_504.0, "{dtype} refused a row of magnitude {amax}: {error}");
        return Ok(false);
    }
    let mut decoded = vec![f32::NAN; ROW];
    dtype.decode(&bytes, &mut decoded).unwrap();
    for (block, found) in
        values.chunks(dtype.block_elems()).zip(decoded.chunks(dtype.block_elems()))
    {
        let bound = f64::from(dtype.error_bound(block));
        for (value, found) in block.iter().zip(found) {
            let error = (f64::from(*value) - f64::from(*found)).abs();
            prop_assert!(error <= bound, "{dtype}: {value} became {found}, bound {bound}");
            prop_assert!(
                !dtype.keeps_zero() || *value != 0.0 || *found == 0.0,
                "{dtype}: zero became {found}"
            );
        }
    }
    Ok(true)
}

fn rows(element: impl Strategy<Value = f32>) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(element, ROW)
}

macro_rules! kinds {
    ($($name:ident: $rows:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(2_000))]
            $(#[test]
            fn $name(row in $rows) {
                for dtype in encodable() {
                    check(dtype, &row)?;
                }
            })*
        }
    };
}

kinds! {
    random_rows: (rows(-1.0_f32..1.0), -30_i32..10)
        .prop_map(|(row, exponent)| row.iter().map(|v| v * f32::powi(2.0, exponent)).collect::<Vec<_>>());
    denormal_rows: rows((0_u32..0x0080_0000, any::<bool>())
        .prop_map(|(bits, negative)| f32::from_bits(bits | (u32::from(negative) << 31))));
    smallest_denormal_rows: (rows(any::<u32>().prop_map(f32::from_bits)), 0_u32..23)
        .prop_map(|(row, bits)| row.iter()
            .map(|v| f32::from_bits(v.to_bits() & (0x8000_0000 | ((1 << bits) - 1))))
            .collect::<Vec<_>>());
    huge_rows: (rows(-1.0_f32..1.0), 10_i32..127)
        .prop_map(|(row, exponent)| row.iter().map(|v| v * f32::powi(2.0, exponent)).collect::<Vec<_>>());
    constant_rows: (-1e5_f32..1e5).prop_map(|value| vec![value; ROW]);
    single_outlier_rows: (rows(-1e-3_f32..1e-3), 0..ROW, -6e4_f32..6e4)
        .prop_map(|(mut row, at, value)| { row[at] = value; row });
    any_bits_rows: rows(any::<u32>().prop_map(f32::from_bits)
        .prop_filter("finite", |value| value.is_finite()));
    sparse_rows: rows(prop_oneof![9 => Just(0.0_f32), 1 => -1.0_f32..1.0]);
}

#[test]
fn all_zero_rows_stay_zero() {
    for dtype in encodable() {
        assert!(check(dtype, &[0.0; ROW]).unwrap());
        assert!(check(dtype, &[-0.0; ROW]).unwrap());
    }
}

#[test]
fn values_that_are_not_finite_are_named() {
    for dtype in encodable() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut row = vec![1.0; ROW];
            row[45] = value;
            let error = dtype.encode(&row, &mut row_buffer(dtype)).unwrap_err().to_string();
            assert!(error.starts_with("element 45 is"), "{dtype}: {error}");
        }
    }
}

#[test]
fn values_past_the_range_are_named() {
    let mut refusing = 0;
    for dtype in encodable() {
        for value in [3e38, -3e38] {
            let mut row = vec![1.0; ROW];
            row[300] = value;
            if let Err(error) = dtype.encode(&row, &mut row_buffer(dtype)) {
                let start = format!("element 300 is {value}, past the range of {dtype}");
                assert_eq!(error.to_string(), start);
                refusing += 1;
            }
        }
    }
    assert!(refusing >= 20, "{refusing}");
}
