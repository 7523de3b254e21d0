//! Blocks of every type, whatever their bytes: decoded without a panic, by every kernel table to
//! the same bits.
#![no_main]

use apr_fuzz::bounded;
use apr_kernel::Kernels;
use apr_tensor::{DType, TensorLayout, TensorView};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let dtype = DType::ALL[usize::from(kind) % DType::ALL.len()];
    bounded(bytes.len(), || check(dtype, bytes));
});

fn check(dtype: DType, bytes: &[u8]) {
    let blocks = bytes.len() / dtype.block_bytes();
    let (whole, rest) = bytes.split_at(blocks * dtype.block_bytes());
    let mut values = vec![f32::NAN; blocks * dtype.block_elems()];
    dtype.decode(whole, &mut values).expect("whole blocks");
    // A length that is no whole number of blocks, or not that of the values, is refused.
    assert!(rest.is_empty() || dtype.decode(bytes, &mut values).is_err());
    assert!(dtype.decode(whole, &mut vec![0.0; values.len() + 1]).is_err());
    for kernels in Kernels::available() {
        let mut own = vec![f32::NAN; values.len()];
        kernels.decode(dtype, whole, &mut own).expect("whole blocks");
        let same = own.iter().zip(&values).all(|(own, value)| {
            own.to_bits() == value.to_bits() || (own.is_nan() && value.is_nan())
        });
        assert!(same, "{dtype}: {} decodes otherwise", kernels.name());
    }
    let mut swapped = whole.to_vec();
    dtype.swap_bytes(&mut swapped).expect("whole blocks");
    dtype.swap_bytes(&mut swapped).expect("whole blocks");
    assert_eq!(swapped, whole, "{dtype}: swapped twice");
    let layout = TensorLayout::new(dtype, &[blocks, dtype.block_elems()]).expect("it is small");
    let view = TensorView::new(&layout, whole).expect("whole blocks");
    assert_eq!(view.to_f32().len(), values.len());
    assert!(rest.is_empty() || TensorView::new(&layout, bytes).is_err());
}
