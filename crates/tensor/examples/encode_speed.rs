//! Elements per second of every encoder and decoder, on one thread, and the relative squared error
//! on normally distributed values: `cargo run --release -p apr-tensor --example encode_speed`.
#![allow(clippy::print_stdout, reason = "printing is its task")]

use apr_tensor::DType;
use std::time::Instant;

const ELEMS: usize = 1 << 16;
/// Many short runs, so that some of them are not interrupted.
const REPEATS: usize = 50;

/// The shortest of several runs, in millions of elements per second.
fn speed(mut run: impl FnMut()) -> f64 {
    let shortest = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    ELEMS as f64 / shortest / 1e6
}

/// Sums of twelve uniform numbers: normally distributed to what matters here.
fn normal_values() -> Vec<f32> {
    let mut state = 1_u64;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    (0..ELEMS).map(|_| 0.02 * ((0..12).map(|_| uniform()).sum::<f32>() - 6.0)).collect()
}

fn main() {
    let values = normal_values();
    let energy: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
    println!("type     encode  decode  (Melem/s)   relative squared error");
    for &dtype in DType::ALL.iter().filter(|dtype| dtype.is_quantized()) {
        let mut bytes = vec![0; ELEMS / dtype.block_elems() * dtype.block_bytes()];
        if dtype.encode(&values, &mut bytes).is_err() {
            continue;
        }
        let encode = speed(|| dtype.encode(&values, &mut bytes).expect("encoded before"));
        let mut decoded = vec![0.0; ELEMS];
        let decode = speed(|| dtype.decode(&bytes, &mut decoded).expect("whole blocks"));
        let error: f64 = values.iter().zip(&decoded).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        println!("{dtype:8} {encode:6.0}  {decode:6.0}              {:.6}", error / energy);
    }
}
