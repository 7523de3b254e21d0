//! Pruning: against numpy, exact shares, and what stays as it is.

use crate::checkpoints::SafeTensors;
use crate::harness::{Imported, MODELS, failure, json, model, stdout, text};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

fn operations(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/operations");
    folder.join(name).with_extension("safetensors")
}

/// The value of a bf16 or single element.
fn values(dtype: &str, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        "BF16" => bytes
            .chunks(2)
            .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
            .collect(),
        "F32" => bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        other => panic!("no values of {other}"),
    }
}

/// The matrices of the layers, by the names of the three models.
fn is_pruned(name: &str) -> bool {
    let is_matrix = name.ends_with("_proj.weight")
        || ["c_attn.weight", "c_proj.weight", "c_fc.weight"].iter().any(|end| name.ends_with(end));
    (name.contains("layers.") || name.contains("h.")) && is_matrix
}

#[test]
fn both_methods_give_what_numpy_gives() {
    let folder = tempfile::tempdir().unwrap();
    for (method, golden, options) in
        [("magnitude", "magnitude", &["--target-ratio", "0.3"][..]), ("2:4", "2of4", &[])]
    {
        let out = folder.path().join("out.safetensors");
        let call = ["prune", text(&operations("a")), "--method", method, "-o", text(&out)]
            .map(str::to_owned);
        let call: Vec<&str> =
            call.iter().map(String::as_str).chain(options.iter().copied()).collect();
        let report = json(&call);
        assert_eq!(report["method"], method);
        let (found, expected) = (SafeTensors::read(&out), SafeTensors::read(&operations(golden)));
        assert_eq!(found.tensors.len(), expected.tensors.len());
        for expected in expected.tensors {
            let found = found.tensors.iter().find(|tensor| tensor.name == expected.name).unwrap();
            assert_eq!(found.shape, expected.shape);
            // Zeros of either sign.
            let same = values("F32", &found.bytes) == values("F32", &expected.bytes);
            assert!(same, "{method} {}", found.name);
        }
    }
}

#[test]
fn the_share_is_exact_and_everything_else_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let (source, out) = (model(name), folder.path().join(format!("{name}.safetensors")));
        let call = ["prune", text(&source), "--target-ratio", "0.3", "-o", text(&out)];
        let report = json(&call);
        let (before, after) =
            (SafeTensors::read(&source.join("model.safetensors")), SafeTensors::read(&out));
        let (mut zeros, mut elements, mut all_zeros, mut all, mut count) = (0, 0, 0, 0, 0);
        for old in &before.tensors {
            let new = after.tensors.iter().find(|tensor| tensor.name == old.name).unwrap();
            assert_eq!((&new.shape, &new.dtype), (&old.shape, &old.dtype));
            // What follows from the rest, such as causal masks, is no weight.
            if old.name.ends_with(".attn.bias") || old.name.contains("masked_bias") {
                assert!(new.bytes == old.bytes, "{}", old.name);
                continue;
            }
            let (found, source) = (values(&new.dtype, &new.bytes), values(&old.dtype, &old.bytes));
            let zero = found.iter().filter(|value| **value == 0.0).count();
            if is_pruned(&old.name) {
                let expected = (0.3 * source.len() as f64 + 0.5).floor() as usize;
                assert_eq!(zero, expected, "{name} {}", old.name);
                let kept = found.iter().filter(|value| **value != 0.0);
                let least = kept.map(|value| value.abs()).fold(f32::MAX, f32::min);
                let lost = found.iter().zip(&source).filter(|(new, _)| **new == 0.0);
                assert!(lost.map(|(_, old)| old.abs()).all(|old| old <= least));
                (zeros, elements, count) = (zeros + zero, elements + source.len(), count + 1);
            } else {
                assert!(new.bytes == old.bytes, "{name} {}", old.name);
            }
            (all_zeros, all) = (all_zeros + zero, all + source.len());
        }
        assert_eq!(report["pruned_tensors"], count);
        assert_eq!(report["pruned_elements"], elements);
        assert_eq!(report["actual_sparsity"], json!(zeros as f64 / elements as f64));
        assert_eq!(report["target_ratio"], 0.3);
        let model_sparsity = report["model_sparsity"].as_f64().unwrap();
        assert!((model_sparsity - all_zeros as f64 / all as f64).abs() < 0.01);
        let said = stdout(&call);
        assert!(said.contains("PROVEN") && said.contains("embeddings, head, norms"), "{said}");
    }
}

/// GPT-2 publishes its matrices transposed: the four inputs of an output lie below each other.
#[test]
fn groups_of_four_run_along_the_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let check = |path: &Path, by_rows: bool| {
        let file = SafeTensors::read(path);
        for tensor in file.tensors.iter().filter(|tensor| is_pruned(&tensor.name)) {
            let values = values(&tensor.dtype, &tensor.bytes);
            let (rows, cols) = (tensor.shape[0], tensor.shape[1]);
            let zeros = |at: [usize; 4]| at.iter().filter(|at| values[**at] == 0.0).count();
            if by_rows {
                assert!((0..rows * cols / 4).all(|g| zeros([0, 1, 2, 3].map(|i| 4 * g + i)) >= 2));
            } else {
                let group = |g: usize, col: usize| [0, 1, 2, 3].map(|i| (4 * g + i) * cols + col);
                assert!((0..rows / 4).all(|g| (0..cols).all(|col| zeros(group(g, col)) >= 2)));
            }
        }
    };
    for (name, by_rows) in [("tiny-llama", true), ("tiny-gpt2", false)] {
        let direct = folder.path().join(format!("{name}.safetensors"));
        let report = json(&["prune", text(&model(name)), "--method", "2:4", "-o", text(&direct)]);
        assert!((report["actual_sparsity"].as_f64().unwrap() - 0.5).abs() < 0.01);
        check(&direct, by_rows);
        // The same through the form in which all matrices lie alike.
        let (apr, back) = (folder.path().join("x.apr"), folder.path().join("x.safetensors"));
        stdout(&["prune", text(&model(name)), "--method", "2:4", "-o", text(&apr)]);
        stdout(&["export", text(&apr), "-o", text(&back)]);
        let (direct, back) = (SafeTensors::read(&direct), SafeTensors::read(&back));
        for tensor in direct.tensors.iter().filter(|tensor| is_pruned(&tensor.name)) {
            let other = back.tensors.iter().find(|other| other.name == tensor.name).unwrap();
            let (a, b) = (values(&tensor.dtype, &tensor.bytes), values(&other.dtype, &other.bytes));
            assert!(a == b, "{name} {}", tensor.name);
        }
    }
}

#[test]
fn quantized_models_keep_their_types_and_zeros_stay_zeros() {
    let folder = tempfile::tempdir().unwrap();
    for recipe in ["int8", "int4", "q6_k"] {
        let packed = Imported::new("tiny-llama", Some(recipe));
        let out = folder.path().join("out.apr");
        let report = json(&["prune", packed.path(), "--target-ratio", "0.4", "-o", text(&out)]);
        let sparsity = report["actual_sparsity"].as_f64().unwrap();
        assert!(sparsity >= 0.4, "{recipe}: {sparsity}");
        let (old, new) = (apr_format::open(&packed.file).unwrap(), apr_format::open(&out).unwrap());
        for (old, new) in old.tensors().iter().zip(new.tensors()) {
            assert_eq!((&old.name, &old.layout), (&new.name, &new.layout), "{recipe}");
            let certificate = new.certificate.unwrap();
            assert!(certificate.zeros >= certificate.source_zeros, "{recipe} {}", new.name);
        }
        let run = json(&["run", text(&out), "-p", "Hello", "-n", "4"]);
        assert_eq!(run["tokens"].as_array().unwrap().len(), 4);
    }
    let packed = Imported::new("tiny-llama", Some("q4_1"));
    let out = folder.path().join("refused.apr");
    let said = failure(&["prune", packed.path(), "-o", text(&out)]);
    assert!(said.contains("Q4_1") && said.contains("cannot hold zeros") && !out.exists(), "{said}");
}

#[test]
fn a_plan_tells_the_size_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (model("tiny-llama"), folder.path().join("out.gguf"));
    let call = [
        "prune",
        text(&source),
        "--method",
        "magnitude",
        "--target-ratio",
        "0.3",
        "-o",
        text(&out),
    ];
    let plan = json(&[&call[..], &["--plan"]].concat());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!((&plan["method"], &plan["target_ratio"]), (&json!("magnitude"), &json!(0.3)));
    let weights: usize = SafeTensors::read(&source.join("model.safetensors"))
        .tensors
        .iter()
        .map(|tensor| tensor.bytes.len())
        .sum();
    assert_eq!(plan["input_size"], weights);
    stdout(&call);
    assert_eq!(plan["estimated_output_size"], fs::metadata(&out).unwrap().len());
    let without_file = json(&["prune", text(&source), "--plan"]);
    assert_eq!(without_file["target_ratio"], 0.5);
}

#[test]
fn another_share_than_half_of_four_is_refused() {
    let source = model("tiny-llama");
    let said =
        failure(&["prune", text(&source), "--method", "2:4", "--target-ratio", "0.3", "--plan"]);
    assert!(said.contains("2:4") && said.contains("--target-ratio"), "{said}");
    for ratio in ["1.5", "-1", "NaN", "x"] {
        let said = failure(&["prune", text(&source), "--target-ratio", ratio, "--plan"]);
        assert!(said.contains("from 0 to 1") || said.contains("unexpected"), "{said}");
    }
}
