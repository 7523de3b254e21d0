//! Speed of the kernels: `cargo bench -p apr-kernel -- decode` for products of one token with
//! weights that no cache holds, `prefill` for 256 tokens. `cargo bench -p apr-kernel -- --test`
//! runs each once.

use apr_kernel::{Attention, CacheRows, Kernels, Pool, matmul};
use apr_tensor::{DType, Tensor, TensorLayout};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Types with kernels of their own.
const TYPES: &[DType] = &[
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::Q4_0,
    DType::Q8_0,
    DType::Q4_K,
    DType::Q5_K,
    DType::Q6_K,
    DType::IQ4_XS,
];
const THREADS: &[usize] = &[1, 2];

/// Weights whose bytes are all 1: small finite numbers in every type.
fn weights(dtype: DType, rows: usize, cols: usize) -> Tensor {
    let layout = TensorLayout::new(dtype, &[rows, cols]).expect("whole blocks");
    let bytes = vec![1; layout.byte_len()];
    Tensor::owned(layout, bytes).expect("the bytes of the layout")
}

fn input(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

/// Every table but the portable one, which is for comparing results.
fn tables() -> impl Iterator<Item = &'static str> {
    Kernels::available().into_iter().skip(1).map(Kernels::name)
}

fn cases() -> Vec<(&'static str, DType, usize)> {
    tables()
        .flat_map(|table| TYPES.iter().map(move |&dtype| (table, dtype)))
        .flat_map(|(table, dtype)| THREADS.iter().map(move |&threads| (table, dtype, threads)))
        .collect()
}

/// Products of `tokens` inputs with `[rows, cols]` weights.
fn bench_matmul(
    bencher: Bencher<'_, '_>,
    (table, dtype, threads): (&str, DType, usize),
    [tokens, rows, cols]: [usize; 3],
) {
    let kernels = Kernels::named(table).expect("the cases are the tables that there are");
    let pool = Pool::new(threads);
    let (weights, input) = (weights(dtype, rows, cols), input(tokens * cols));
    let mut output = vec![0.0; tokens * rows];
    bencher
        .counter(ItemsCount::new(tokens * rows * cols))
        .counter(BytesCount::new(weights.layout().byte_len()))
        .bench_local(|| {
            matmul(kernels, &pool, weights.view(), black_box(&input), &mut output)
                .expect("operands that fit");
            black_box(&mut output);
        });
}

/// 57 MB of Q8_0: bound by memory if the kernel is fast enough.
#[divan::bench(args = cases(), sample_count = 20, sample_size = 1, max_time = 1)]
fn decode(bencher: Bencher<'_, '_>, case: (&str, DType, usize)) {
    bench_matmul(bencher, case, [1, 65_536, 768]);
}

/// As `decode`, with eight tokens.
#[divan::bench(args = cases(), sample_count = 20, sample_size = 1, max_time = 1)]
fn batch(bencher: Bencher<'_, '_>, case: (&str, DType, usize)) {
    bench_matmul(bencher, case, [8, 65_536, 768]);
}

/// The weights fit the second cache: bound by the kernel.
#[divan::bench(args = cases(), sample_count = 100, max_time = 1)]
fn decode_cached(bencher: Bencher<'_, '_>, case: (&str, DType, usize)) {
    bench_matmul(bencher, case, [1, 192, 1024]);
}

/// As `decode_cached`, with eight tokens.
#[divan::bench(args = cases(), sample_count = 100, max_time = 1)]
fn batch_cached(bencher: Bencher<'_, '_>, case: (&str, DType, usize)) {
    bench_matmul(bencher, case, [8, 192, 1024]);
}

#[divan::bench(args = cases(), sample_count = 50, sample_size = 1, max_time = 1)]
fn prefill(bencher: Bencher<'_, '_>, case: (&str, DType, usize)) {
    bench_matmul(bencher, case, [256, 384, 768]);
}

/// Attention of four heads that share keys and values, over 1024 positions of 64 elements:
/// of one token, and of a prompt's last sixteen.
#[divan::bench(args = tables().flat_map(|table| [(table, 1), (table, 16)]))]
fn attend(bencher: Bencher<'_, '_>, (table, tokens): (&str, usize)) {
    let kernels = Kernels::named(table).expect("the cases are the tables that there are");
    let (head_dim, heads, positions) = (64, 4, 1024);
    let cache = input(positions * head_dim);
    let queries = input(tokens * heads * head_dim);
    let mut output = vec![0.0; queries.len()];
    let attention = Attention {
        head_dim,
        heads,
        token_stride: heads * head_dim,
        positions: positions + 1 - tokens,
        keys: CacheRows::F32(&cache),
        values: CacheRows::F32(&cache),
        stride: head_dim,
        scale: 0.125,
        softcap: None,
    };
    bencher
        .counter(ItemsCount::new(2 * queries.len() * positions))
        .bench_local(|| kernels.attend(attention, black_box(&queries), &mut output));
}

/// The activation of a row of 4096 elements.
#[divan::bench(args = tables())]
fn silu(bencher: Bencher<'_, '_>, table: &str) {
    let kernels = Kernels::named(table).expect("the cases are the tables that there are");
    let mut row = input(4096);
    bencher.counter(ItemsCount::new(row.len())).bench_local(|| kernels.silu(black_box(&mut row)));
}

/// An empty dispatch: what threads cost a product.
#[divan::bench(args = [1, 2, 4])]
fn dispatch(bencher: Bencher<'_, '_>, threads: usize) {
    let pool = Pool::new(threads);
    bencher.bench_local(|| {
        pool.run(8, &|task| {
            black_box(task);
        });
    });
}
