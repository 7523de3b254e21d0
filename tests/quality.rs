//! What quantization costs on the shipped models, measured.

use crate::checkpoints::transpose;
use crate::harness::{MODELS, heldout, model};
use apr::{Checkpoint, LoadOptions, Recipe, TextModel};
use apr_model::log_softmax_at;
use apr_tensor::DType;
use std::fs;

/// Matrices of a model in single precision, `[out, in]`, with the length of their rows.
pub(crate) fn matrices(name: &str) -> Vec<(usize, Vec<f32>)> {
    let container = apr_format::open(&model(name)).unwrap();
    container
        .tensors()
        .iter()
        .filter(|entry| entry.layout.shape().len() == 2 && entry.name != "wpe.weight")
        .map(|entry| {
            let values = container.tensor(&entry.name).unwrap().view().to_f32();
            let shape = entry.layout.shape();
            if entry.name.contains(".c_") {
                (shape[0], transpose(&values, shape))
            } else {
                (shape[1], values)
            }
        })
        .collect()
}

/// Plain Q4_0 rounding as the GGML reference does it: d = max / −8, rounded half up.
fn plain_q4_0(block: &[f32]) -> Vec<f32> {
    let max =
        block.iter().copied().fold(0.0_f32, |max, x| if x.abs() > max.abs() { x } else { max });
    let d = max / -8.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let mut stored = [0; 2];
    DType::F16.encode(&[d], &mut stored).unwrap();
    let mut scale = [0.0];
    DType::F16.decode(&stored, &mut scale).unwrap();
    block.iter().map(|x| ((x * inverse + 8.5).floor().clamp(0.0, 15.0) - 8.0) * scale[0]).collect()
}

pub(crate) fn squared_error(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[test]
fn int4_error_is_at_most_0_90_of_plain_rounding() {
    for name in MODELS {
        let (mut searched, mut plain) = (0.0, 0.0);
        for (_, matrix) in matrices(name) {
            let mut bytes = vec![0; matrix.len() / 32 * 18];
            DType::Q4_0.encode(&matrix, &mut bytes).unwrap();
            let mut decoded = vec![0.0; matrix.len()];
            DType::Q4_0.decode(&bytes, &mut decoded).unwrap();
            searched += squared_error(&matrix, &decoded);
            plain += matrix
                .chunks(32)
                .map(|block| squared_error(block, &plain_q4_0(block)))
                .sum::<f64>();
        }
        println!("{name}: {:.4} of plain Q4_0", searched / plain);
        assert!(searched <= 0.90 * plain, "{name}: {}", searched / plain);
    }
}

/// Mean KL divergence of next-token distributions on the held-out text, in nats, from those of
/// the float path, which the golden tests tie to `transformers`.
fn mean_kl(name: &str, recipe: Recipe) -> f64 {
    let load = |recipe| {
        let options = LoadOptions { recipe: Some(recipe), ..LoadOptions::default() };
        TextModel::open(&Checkpoint::open(model(name)).unwrap(), &options, &()).unwrap()
    };
    let (float, quantized) = (load(Recipe::KEEP), load(recipe));
    let vocab = float.decoder().config().vocab_size;
    let tokens = float.tokenizer().encode(&fs::read_to_string(heldout()).unwrap()).unwrap();
    let logits = |model: &TextModel, window: &[u32]| {
        let mut cache = model.decoder().cache(window.len()).unwrap();
        let hidden = model.decoder().forward(&mut cache, window).unwrap();
        model.decoder().logits(&hidden).unwrap()
    };
    let mut sum = 0.0;
    for window in tokens.chunks(256) {
        let (expected, found) = (logits(&float, window), logits(&quantized, window));
        sum += expected.chunks(vocab).zip(found.chunks(vocab)).map(|(e, f)| kl(e, f)).sum::<f64>();
    }
    sum / tokens.len() as f64
}

/// KL divergence of one distribution from another, by their logits.
fn kl(expected: &[f32], found: &[f32]) -> f64 {
    let (log_p, log_q) = (log_softmax_at(expected, 0), log_softmax_at(found, 0));
    expected
        .iter()
        .zip(found)
        .map(|(&g, &f)| {
            let p = f64::from(g) - f64::from(expected[0]) + log_p;
            let q = f64::from(f) - f64::from(found[0]) + log_q;
            p.exp() * (p - q)
        })
        .sum()
}

#[test]
fn divergence_grows_with_fewer_bits_and_stays_small() {
    for name in MODELS {
        let [int8, int4, pure] = [
            mean_kl(name, Recipe::named("int8").unwrap()),
            mean_kl(name, Recipe::named("int4").unwrap()),
            mean_kl(name, Recipe::named("int4").unwrap().pure().unwrap()),
        ];
        println!("{name}: mean KL int8 {int8:.2e}, int4 {int4:.2e}, pure {pure:.2e}");
        assert!(0.0 < int8 && int8 < int4 && int4 < pure, "{name}: {int8} {int4} {pure}");
        assert!(int8 < 1e-3 && int4 < 0.05, "{name}: {int8} {int4}");
    }
}
