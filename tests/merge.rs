//! Merging: against numpy, with itself, in every format, and what is refused.

use crate::checkpoints::{SafeTensors, copy_model, narrow_mlp};
use crate::harness::{MODELS, apr, failure, json, model, stdout, text};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// A file beside the goldens that numpy made.
fn operations(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/operations");
    folder.join(name).with_extension("safetensors")
}

/// Name, type, shape and values of every tensor.
fn tensors(path: &Path) -> Vec<(String, String, Vec<usize>, Vec<f32>)> {
    let container = apr_format::open(path).unwrap();
    let read = |entry: &apr_format::TensorEntry| {
        let values = container.tensor(&entry.name).unwrap().view().to_f32();
        let layout = &entry.layout;
        (entry.name.clone(), layout.dtype().name().to_owned(), layout.shape().to_vec(), values)
    };
    container.tensors().iter().map(read).collect()
}

/// The largest difference of two files with the same names, types and shapes.
fn distance(found: &Path, expected: &Path) -> f32 {
    let (found, expected) = (tensors(found), tensors(expected));
    assert_eq!(found.len(), expected.len());
    let mut largest = 0.0_f32;
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.0, &found.1, &found.2), (&expected.0, &expected.1, &expected.2));
        for (a, b) in found.3.iter().zip(&expected.3) {
            largest = largest.max((a - b).abs());
        }
    }
    largest
}

/// A shipped model whose bf16 or single values all have other last bits.
fn perturbed(name: &str, folder: &Path, salt: u8) -> PathBuf {
    copy_model(name, folder);
    let path = folder.join("model.safetensors");
    let mut weights = SafeTensors::read(&path);
    let mut state = u32::from(salt);
    let is_float = |dtype: &str| matches!(dtype, "BF16" | "F16" | "F32");
    let weights_of = |name: &str| !name.ends_with("attn.bias") && !name.contains("lm_head");
    for tensor in weights.tensors.iter_mut().filter(|t| is_float(&t.dtype) && weights_of(&t.name)) {
        let size = if tensor.dtype == "F32" { 4 } else { 2 };
        // The byte with the upper bits of the mantissa, its lower half.
        for value in tensor.bytes.chunks_mut(size) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            value[size - 2] ^= (state >> 28) as u8;
        }
    }
    weights.write(&path);
    folder.to_path_buf()
}

#[test]
fn every_strategy_gives_what_numpy_gives() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c, base] = ["a", "b", "c", "base"].map(operations);
    let weights = ["--weight", "1", "--weight", "2", "--weight", "1"];
    let of_base = ["--base", text(&base), "--density", "0.4"];
    let three = [text(&a), text(&b), text(&c)];
    for (strategy, models, options) in [
        ("linear", &three[..], weights.to_vec()),
        ("slerp", &three[..2], vec!["--t", "0.3"]),
        ("ties", &three, [&weights[..], &of_base].concat()),
        ("dare", &three, [&weights[..], &of_base, &["--seed", "7"]].concat()),
    ] {
        let out = folder.path().join(format!("{strategy}.safetensors"));
        let call = ["merge"].iter().chain(models).copied();
        let call = call.chain(["--strategy", strategy, "-o", text(&out)]).chain(options);
        let report = json(&call.collect::<Vec<_>>());
        assert_eq!(report["strategy"], strategy);
        assert_eq!(report["models"].as_array().unwrap().len(), models.len());
        assert_eq!(report["verdict"], "proven");
        let farthest = distance(&out, &operations(strategy));
        assert!(farthest <= 5e-7, "{strategy}: {farthest:e}");
        assert!(distance(&out, &a) > 0.05, "{strategy} does something");
    }
}

#[test]
fn a_model_merged_with_itself_is_itself() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let source = model(name);
        let of_base = ["--base", text(&source)];
        for (strategy, options) in
            [("linear", &[][..]), ("slerp", &[]), ("ties", &of_base), ("dare", &of_base)]
        {
            let out = folder.path().join(format!("{name}-{strategy}.safetensors"));
            let call = ["merge", text(&source), text(&source), "--strategy", strategy];
            stdout(&[&call[..], &["-o", text(&out)], options].concat());
            let farthest = distance(&out, &source.join("model.safetensors"));
            assert!(farthest <= 1e-4, "{name} {strategy}: {farthest:e}");
        }
    }
}

/// Heads in another order, transposed matrices, added ones: the values do not depend on them.
#[test]
fn the_merged_model_is_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["tiny-llama", "tiny-gpt2"] {
        let source = model(name);
        let others = [
            perturbed(name, &at(&format!("{name}-b")), 1),
            perturbed(name, &at(&format!("{name}-c")), 2),
        ];
        for (strategy, options) in [("dare", &["--seed", "3", "--base"][..]), ("ties", &["--base"])]
        {
            let write = |target: &Path| {
                let call = ["merge", text(&others[0]), text(&others[1]), "--strategy", strategy];
                stdout(&[&call[..], &["-o", text(target)], options, &[text(&source)]].concat());
            };
            let canonical = |target: &Path| {
                let through = target.with_extension("through.apr");
                stdout(&["convert", text(target), "-o", text(&through)]);
                tensors(&through)
            };
            let direct = at(&format!("{name}-{strategy}.apr"));
            write(&direct);
            let expected = canonical(&direct);
            assert!(json(&["validate", text(&direct)])["failed"] == 0);
            for target in ["gguf", "safetensors", "folder"] {
                let target = if target == "folder" {
                    at(&format!("{name}-{strategy}"))
                } else {
                    // A lone file finds what belongs to it beside it.
                    let beside = at(&format!("{name}-{strategy}-{target}"));
                    copy_model(name, &beside);
                    fs::remove_file(beside.join("model.safetensors")).unwrap();
                    beside.join(format!("model.{target}"))
                };
                write(&target);
                for (found, expected) in canonical(&target).iter().zip(&expected) {
                    assert_eq!((&found.0, &found.2), (&expected.0, &expected.2), "{name}");
                    // Norms and biases are single in GGUF.
                    let same = if found.1 == expected.1 { 0.0 } else { 4e-3 };
                    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= same * b.abs();
                    assert!(
                        found.3.iter().zip(&expected.3).all(close),
                        "{name} {strategy} {target:?} {}",
                        found.0
                    );
                }
            }
            let run = json(&["run", text(&direct), "-p", "Hello", "-n", "4"]);
            assert_eq!(run["tokens"].as_array().unwrap().len(), 4);
        }
    }
}

#[test]
fn the_file_says_what_it_was_made_from() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, base) = (operations("a"), operations("b"), operations("base"));
    let digest = |path: &Path| -> String {
        let hash = Sha256::digest(fs::read(path).unwrap());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let call = |target: &Path| {
        let call = ["merge", text(&a), text(&b), "--strategy", "dare", "--base", text(&base)];
        json(&[&call[..], &["--seed", "9", "--density", "0.25", "-o", text(target)]].concat());
    };
    let (apr, safetensors) = (folder.path().join("m.apr"), folder.path().join("m.safetensors"));
    call(&apr);
    call(&safetensors);
    let recorded = json(&["inspect", text(&apr)])["metadata"]["provenance"].clone();
    let text_of = apr_format::open(&safetensors).unwrap().metadata()["apr.provenance"].clone();
    let told: Value = serde_json::from_str(text_of.as_str().unwrap()).unwrap();
    for provenance in [recorded, told] {
        let operation = &provenance["operation"];
        assert_eq!((&operation["name"], &operation["strategy"]), (&json!("merge"), &json!("dare")));
        assert_eq!((&operation["seed"], &operation["density"]), (&json!(9), &json!(0.25)));
        assert_eq!(operation["weights"], json!([0.5, 0.5]));
        assert_eq!(provenance["sources"][0]["sha256"], digest(&a));
        assert_eq!(operation["others"][0][0]["sha256"], digest(&b));
        assert_eq!(operation["others"][1][0]["sha256"], digest(&base));
    }
}

#[test]
fn a_plan_tells_the_size_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, out) = (model("tiny-llama"), model("tiny-llama"), folder.path().join("m.apr"));
    let call = ["merge", text(&a), text(&b), "--strategy", "slerp", "-o", text(&out)];
    let plan = json(&[&call[..], &["--plan"]].concat());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!((&plan["strategy"], &plan["t"]), (&json!("slerp"), &json!(0.5)));
    let said = stdout(&call);
    assert!(said.contains("slerp of 2 models") && said.contains("PROVEN"), "{said}");
    assert_eq!(plan["estimated_output_size"], fs::metadata(&out).unwrap().len());
}

#[test]
fn threads_and_resuming_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let other = perturbed("tiny-qwen2", &folder.path().join("b"), 5);
    let source = model("tiny-qwen2");
    let write = |name: &str, threads: &str, options: &[&str]| {
        let target = folder.path().join(name);
        let call =
            ["merge", text(&source), text(&other), "--strategy", "slerp", "-o", text(&target)];
        let done = apr(&call).args(options).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::read(target).unwrap()
    };
    let expected = write("a.apr", "1", &[]);
    assert!(write("b.apr", "3", &[]) == expected);
    assert!(write("c.apr", "2", &["--resume"]) == expected);
}

#[test]
fn quantized_models_keep_their_types_and_mix_with_floats() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed.gguf");
    let source = model("tiny-llama");
    stdout(&["import", text(&source), "--quantize", "int8", "-o", text(&packed)]);
    let out = folder.path().join("merged.gguf");
    let report = json(&["merge", text(&packed), text(&source), "-o", text(&out)]);
    let types = |path: &Path| -> Vec<(String, String)> {
        tensors(path).into_iter().map(|(name, dtype, ..)| (name, dtype)).collect()
    };
    assert_eq!(types(&out), types(&packed));
    assert!(types(&out).iter().any(|(_, dtype)| dtype == "Q8_0"));
    assert!(distance(&out, &packed) < 0.02);
    let worst = report["tensors"].as_array().unwrap().iter();
    assert!(worst.map(|tensor| tensor["bound_share"].as_f64().unwrap()).all(|share| share <= 1.0));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (llama, gpt2, out) = (model("tiny-llama"), model("tiny-gpt2"), folder.path().join("m.apr"));
    let narrow = folder.path().join("narrow");
    narrow_mlp("tiny-llama", &narrow, 64);
    let renamed = folder.path().join("renamed");
    copy_model("tiny-llama", &renamed);
    let tokenizer = renamed.join("tokenizer.json");
    let mut words: Value = serde_json::from_slice(&fs::read(&tokenizer).unwrap()).unwrap();
    let vocabulary = words["model"]["vocab"].as_object_mut().unwrap();
    let last = vocabulary.iter().max_by_key(|(_, id)| id.as_u64()).unwrap().0.clone();
    let id = vocabulary.remove(&last).unwrap();
    vocabulary.insert("somethingelse".to_owned(), id);
    let merges = words["model"]["merges"].as_array_mut().unwrap();
    merges.retain(|merge| {
        let text = merge.as_str().map_or_else(
            || merge.as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect::<String>(),
            |merge| merge.replace(' ', ""),
        );
        text != last
    });
    fs::write(&tokenizer, words.to_string()).unwrap();
    let one = text(&llama);
    for (args, causes) in [
        (vec![one, text(&gpt2)], vec!["does not fit", "architecture is gpt2", "llama"]),
        (vec![one, text(&narrow)], vec!["width of the MLP is 64"]),
        (vec![one, text(&renamed)], vec!["vocabulary is another", "somethingelse"]),
        (vec![one, one, one, "--strategy", "slerp"], vec!["slerp is between two models"]),
        (vec![one, one, "--weight", "1"], vec!["1 weights for 2 models"]),
        (vec![one, one, "--weight", "0", "--weight", "0"], vec!["weights must be"]),
        (vec![one, one, "--t", "0.2"], vec!["--t is a setting of slerp"]),
        (vec![one, one, "--seed", "2"], vec!["--seed is a setting of dare"]),
        (vec![one, one, "--base", one], vec!["linear has no use for a base"]),
        (vec![one, one, "--strategy", "ties"], vec!["--base"]),
        (vec![one], vec!["2"]),
    ] {
        let said = failure(&[&["merge"], &args[..], &["-o", text(&out)]].concat());
        for cause in causes {
            assert!(said.contains(cause), "{args:?}: {said}");
        }
        assert!(!out.exists());
    }
}
