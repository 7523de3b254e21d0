//! `apr diff`, `compare-hf` and `rosetta diff-tensors`: every figure against arithmetic on the
//! bytes of the files.

use crate::architectures::folders;
use crate::checkpoints::{SafeTensors, StoredTensor, copy_model, transpose};
use crate::cli::{fill_cache, with_hub};
use crate::harness::{
    Forged, Imported, MODELS, apr, assert_described, failure, json, model, stdout, text,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The differences of a tensor, by type.
fn of_tensor(report: &Value, tensor: &str) -> BTreeMap<String, Value> {
    let found = array(&report["differences"]).iter().filter(|found| found["tensor"] == tensor);
    found.map(|found| (found["type"].as_str().unwrap().to_owned(), found.clone())).collect()
}

/// Every type of difference that occurs.
fn kinds(report: &Value) -> BTreeSet<&str> {
    array(&report["differences"]).iter().map(|found| found["type"].as_str().unwrap()).collect()
}

/// The figures of a difference by their definitions.
struct Figures {
    max_abs: f64,
    max_at: usize,
    rms: f64,
    relative: f64,
    cosine: f64,
    differing: usize,
}

impl Figures {
    fn of(a: &[f64], b: &[f64]) -> Self {
        assert_eq!(a.len(), b.len());
        let errors: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect();
        let max_abs = errors.iter().copied().fold(0.0, f64::max);
        let square = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
        let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        Self {
            max_abs,
            max_at: errors.iter().position(|error| *error == max_abs).unwrap(),
            rms: (square(&errors) / a.len() as f64).sqrt(),
            relative: (square(&errors) / square(b)).sqrt(),
            cosine: product / (square(a) * square(b)).sqrt(),
            differing: errors.iter().filter(|error| **error > 0.0).count(),
        }
    }

    fn assert_are(&self, found: &Value, cols: usize) {
        let close = |key: &str, expected: f64| {
            let value = found[key].as_f64().unwrap_or_else(|| panic!("{key} of {found}"));
            let bound = 1e-9 * expected.abs().max(1e-9);
            assert!((value - expected).abs() <= bound, "{key}: {value}, expected {expected}");
        };
        close("max_abs", self.max_abs);
        close("rms", self.rms);
        close("relative", self.relative);
        close("cosine", self.cosine);
        assert_eq!(found["differing"], json!(self.differing), "{found}");
        assert_eq!(found["max_at"], json!([self.max_at / cols, self.max_at % cols]), "{found}");
    }
}

/// Half precision by its definition, for normal numbers and zero.
fn half(bytes: &[u8]) -> f64 {
    let bits = u16::from_le_bytes(bytes.try_into().unwrap());
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        exponent => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    if bits >> 15 == 0 { size } else { -size }
}

/// The values of Q8_0 and Q4_0 blocks, by GGML's layout.
fn unpack(bytes: &[u8], block: usize) -> Vec<f64> {
    let values = bytes.chunks(block).flat_map(|block| {
        let (scale, q) = (half(&block[..2]), &block[2..]);
        let integers: Vec<i32> = if q.len() == 32 {
            q.iter().map(|byte| i32::from(byte.cast_signed())).collect()
        } else {
            let low = q.iter().map(|byte| i32::from(byte & 15) - 8);
            low.chain(q.iter().map(|byte| i32::from(byte >> 4) - 8)).collect()
        };
        integers.into_iter().map(move |q| scale * f64::from(q)).collect::<Vec<_>>()
    });
    values.collect()
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    let word = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()));
    bytes.chunks(4).map(word).collect()
}

fn bf16(bytes: &[u8]) -> Vec<f64> {
    let value = |bytes: &[u8]| f64::from(f32::from_le_bytes([0, 0, bytes[0], bytes[1]]));
    bytes.chunks(2).map(value).collect()
}

#[test]
fn int8_and_int4_differ_in_types_sizes_and_values_alone() {
    for name in MODELS {
        let (eight, four) = (Imported::new(name, Some("int8")), Imported::new(name, Some("int4")));
        let report = json(&["diff", eight.path(), four.path()]);
        assert_eq!(kinds(&report), ["data", "dtype", "size"].into(), "{name}");
        assert_eq!(report["identical"], json!(false));
        assert_eq!(report["difference_count"], json!(array(&report["differences"]).len()));
        let (of_eight, of_four) = (Forged::read(&eight.file), Forged::read(&four.file));
        assert_eq!(report["common_tensors"], json!(of_eight.entries().len()));
        let mut compared = 0;
        for (tensor, entry) in of_eight.entries() {
            let [a, b] = [&of_eight, &of_four].map(|file| &file.bytes[file.tensor(&tensor)]);
            let found = of_tensor(&report, &tensor);
            if a.len() == b.len() {
                assert!(found.is_empty() && a == b, "{tensor}: {found:?}");
                continue;
            }
            assert_eq!(found.len(), 3, "{tensor}: {found:?}");
            let (dtype, size) = (&found["dtype"], &found["size"]);
            assert_eq!(
                (&dtype["a"]["dtype"], &dtype["b"]["dtype"]),
                (&json!("Q8_0"), &json!("Q4_0"))
            );
            assert_eq!(size["a"]["size_bytes"], json!(a.len()), "{tensor}");
            assert_eq!(size["b"]["size_bytes"], json!(b.len()), "{tensor}");
            let cols = *of_eight.shape(entry).last().unwrap();
            for figures in found.values() {
                Figures::of(&unpack(a, 34), &unpack(b, 18)).assert_are(figures, cols);
            }
            compared += 1;
        }
        assert!(compared > 10, "{name}: {compared}");
        let asserted = failure(&["diff", eight.path(), four.path(), "--assert"]);
        assert!(asserted.contains("differences"), "{asserted}");
        json(&["diff", eight.path(), eight.path(), "--assert"]);
    }
}

#[test]
fn a_model_is_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let (source, kept) = (model(name), Imported::new(name, None));
        let gguf = folder.path().join(format!("{name}.gguf"));
        stdout(&["import", text(&source), "-o", text(&gguf)]);
        let report = json(&["diff", text(&source), kept.path(), "--assert"]);
        assert_eq!((&report["identical"], &report["differences"]), (&json!(true), &json!([])));
        assert_eq!(report["matched_by_name"], Value::Null, "{name}");
        let stored = Forged::read(&kept.file).entries().len();
        assert_eq!(report["common_tensors"], json!(stored), "{name}");
        // Vectors are single precision in GGUF; no value differs, and none is lost.
        for (a, b) in [(text(&source), text(&gguf)), (text(&gguf), kept.path())] {
            let report = json(&["diff", a, b]);
            let found = kinds(&report);
            assert!(found.is_subset(&["dtype", "size"].into()), "{name}: {found:?}");
            assert_eq!(report["common_tensors"], json!(stored), "{name}");
        }
        let eight = Imported::new(name, Some("int8"));
        let exported = folder.path().join(format!("{name}-int8.gguf"));
        stdout(&["export", eight.path(), "-o", text(&exported)]);
        let report = json(&["diff", eight.path(), text(&exported)]);
        assert!(!kinds(&report).contains("data"), "{name}: {report}");
    }
}

/// The weights of a shipped model, changed, in a folder beside its other files.
fn changed(name: &str, change: impl FnOnce(&mut Vec<StoredTensor>)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_model(name, folder.path());
    let path = folder.path().join("model.safetensors");
    let mut weights = SafeTensors::read(&path);
    change(&mut weights.tensors);
    weights.write(&path);
    folder
}

fn find<'a>(tensors: &'a mut [StoredTensor], name: &str) -> &'a mut StoredTensor {
    tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn changed_values_are_measured_in_whichever_orientation_they_lie() {
    // [192, 768] in single precision, [in, out] in the folder and [out, in] in the file.
    let name = "h.1.mlp.c_fc.weight";
    let mut original = Vec::new();
    let damaged = changed("tiny-gpt2", |tensors| {
        let tensor = find(tensors, name);
        original = floats(&tensor.bytes);
        for (at, value) in [(768 * 100 + 7, 4.0_f32), (5, -1.5), (768 * 191 + 767, 0.25)] {
            tensor.bytes[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        }
    });
    let mut weights = SafeTensors::read(&damaged.path().join("model.safetensors"));
    let found = floats(&find(&mut weights.tensors, name).bytes);
    let kept = Imported::new("tiny-gpt2", None);
    for other in [&model("tiny-gpt2"), &kept.file] {
        let report = json(&["diff", text(damaged.path()), text(other)]);
        assert_eq!(report["difference_count"], json!(1), "{}", other.display());
        let expected = Figures::of(&found, &original);
        expected.assert_are(&of_tensor(&report, name)["data"], 768);
    }
    // From the other side, the places are those of the other file.
    let report = json(&["diff", kept.path(), text(damaged.path())]);
    let turn = |values: &[f64]| -> Vec<f64> {
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        transpose(&values, &[192, 768]).into_iter().map(f64::from).collect()
    };
    let expected = Figures::of(&turn(&original), &turn(&found));
    expected.assert_are(&of_tensor(&report, name)["data"], 192);
}

#[test]
fn rows_of_heads_are_compared_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let name = "model.layers.2.self_attn.q_proj.weight";
    let gguf = folder.path().join("model.gguf");
    stdout(&["import", text(&model("tiny-llama")), "-o", text(&gguf)]);
    let mut original = Vec::new();
    let damaged = changed("tiny-llama", |tensors| {
        let tensor = find(tensors, name);
        original = bf16(&tensor.bytes);
        tensor.bytes[2 * (33 * 192)..2 * (33 * 192 + 64)].fill(0);
    });
    let mut weights = SafeTensors::read(&damaged.path().join("model.safetensors"));
    let found = bf16(&find(&mut weights.tensors, name).bytes);
    let report = json(&["diff", text(damaged.path()), text(&gguf)]);
    assert!(kinds(&report).contains("data"), "{report}");
    let data = |report: &Value| {
        let all = array(&report["differences"]).iter().filter(|found| found["type"] == "data");
        all.cloned().collect::<Vec<_>>()
    };
    let [only] = &data(&report)[..] else { panic!("{report}") };
    assert_eq!(only["b"]["name"], "blk.2.attn_q.weight");
    Figures::of(&found, &original).assert_are(only, 192);
}

#[test]
fn values_that_are_not_finite_are_counted_and_come_first() {
    let damaged = changed("tiny-llama", |tensors| {
        let tensor = find(tensors, "model.layers.0.mlp.up_proj.weight");
        tensor.bytes[20..22].copy_from_slice(&[0xC0, 0x7F]);
        tensor.bytes[400..402].copy_from_slice(&[0x80, 0x7F]);
        find(tensors, "model.norm.weight").bytes.fill(0);
    });
    let source = model("tiny-llama");
    let report = json(&["diff", text(damaged.path()), text(&source)]);
    let [first, second] = array(&report["differences"]) else { panic!("{report}") };
    assert_eq!(first["tensor"], "model.layers.0.mlp.up_proj.weight");
    assert_eq!((&first["not_finite"], &first["differing"]), (&json!(2), &json!(2)));
    assert_eq!((&first["max_abs"], &first["rms"]), (&json!(0.0), &json!(0.0)));
    assert_eq!((&second["relative"], &second["cosine"]), (&json!(1.0), &Value::Null));
    let shown = stdout(&["diff", text(damaged.path()), text(&source)]);
    assert!(shown.contains("2 NaN or infinite") && shown.contains("100.0 %"), "{shown}");
    // A file with the same NaN is the same file.
    json(&["diff", text(damaged.path()), text(damaged.path()), "--assert"]);
}

#[test]
fn tensors_that_one_file_lacks_or_has_in_another_shape_are_named() {
    let damaged = changed("tiny-llama", |tensors| {
        tensors.retain(|tensor| tensor.name != "model.layers.3.mlp.up_proj.weight");
        let norm = find(tensors, "model.norm.weight");
        norm.shape = vec![96, 2];
    });
    let report = json(&["diff", text(damaged.path()), text(&model("tiny-llama"))]);
    assert_eq!(kinds(&report), ["missing", "shape"].into(), "{report}");
    let missing = &of_tensor(&report, "model.layers.3.mlp.up_proj.weight")["missing"];
    assert_eq!((&missing["a"], &missing["b"]["dtype"]), (&Value::Null, &json!("BF16")));
    let shape = &of_tensor(&report, "model.norm.weight")["shape"];
    assert_eq!((&shape["a"]["shape"], &shape["b"]["shape"]), (&json!([96, 2]), &json!([192])));
    assert_eq!(shape["max_abs"], Value::Null);
}

/// A file of tensors that belong to no architecture.
fn unknown(path: &Path, tensors: &[(&str, &str, Vec<usize>, Vec<u8>)]) {
    let stored = tensors.iter().map(|(name, dtype, shape, bytes)| StoredTensor {
        name: (*name).to_owned(),
        dtype: (*dtype).to_owned(),
        shape: shape.clone(),
        bytes: bytes.clone(),
    });
    SafeTensors { tensors: stored.collect() }.write(path);
}

#[test]
fn what_belongs_to_no_architecture_is_compared_by_name_and_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let past = (1_i64 << 53) + 1;
    let words = |values: [i64; 3]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let doubles = |values: [f64; 2]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let same = vec![1, 2, 3, 4];
    let of = |path: &Path, integers, floats| {
        let tensors = [
            ("positions", "I64", vec![3], words(integers)),
            ("steps", "F64", vec![2], doubles(floats)),
            ("bytes", "U8", vec![2, 2], same.clone()),
        ];
        unknown(path, &tensors);
    };
    of(&a, [1, past, -3], [0.1, 1.0 + f64::EPSILON]);
    of(&b, [1, past - 1, -3], [0.1, 1.0]);
    let report = json(&["diff", text(&a), text(&b)]);
    assert!(report["matched_by_name"].is_string(), "{report}");
    assert_eq!(report["difference_count"], json!(2), "{report}");
    let integers = &of_tensor(&report, "positions")["data"];
    assert_eq!((&integers["max_abs"], &integers["differing"]), (&json!(1.0), &json!(1)));
    assert_eq!(integers["max_at"], json!([0, 1]));
    let steps = &of_tensor(&report, "steps")["data"];
    assert_eq!(steps["max_abs"], json!(f64::EPSILON));
}

#[test]
fn the_text_has_the_worst_first_and_an_end() {
    let damaged = changed("tiny-qwen2", |tensors| {
        find(tensors, "model.layers.1.mlp.down_proj.weight").bytes.fill(0);
    });
    let four = Imported::new("tiny-qwen2", Some("int4"));
    let shown = stdout(&["diff", four.path(), text(damaged.path())]);
    let first = shown.lines().nth(1).unwrap();
    assert!(first.contains("model.layers.1.mlp.down_proj.weight"), "{shown}");
    assert!(first.contains("Q4_0 > BF16"), "{shown}");
    let rows = shown.lines().filter(|line| line.contains(" > ")).count();
    assert_eq!(rows, 20, "{shown}");
    let report = json(&["diff", four.path(), text(damaged.path())]);
    let tensors: BTreeSet<&str> =
        array(&report["differences"]).iter().map(|d| d["tensor"].as_str().unwrap()).collect();
    assert!(shown.contains(&format!("and {} more", tensors.len() - 20)), "{shown}");
    let end = format!("DIFFERENT  {} tensors", tensors.len());
    assert!(shown.contains(&end), "{shown}");
    let same = stdout(&["diff", four.path(), four.path()]);
    assert!(same.contains("IDENTICAL"), "{same}");
}

/// Verdicts of a comparison with the checkpoint, by tensor.
fn verdicts(report: &Value) -> BTreeMap<&str, &str> {
    let tensors = array(&report["tensors"]).iter();
    tensors
        .map(|tensor| (tensor["name"].as_str().unwrap(), tensor["verdict"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_quantized_file_is_faithful_to_the_cached_checkpoint() {
    let cache = tempfile::tempdir().unwrap();
    for name in MODELS {
        fill_cache(cache.path(), "org", name, &model(name));
        let source = SafeTensors::read(&model(name).join("model.safetensors")).tensors;
        for (recipe, extension) in [
            (None, "apr"),
            (Some("int8"), "apr"),
            (Some("int4"), "apr"),
            (Some("q4_k_m"), "gguf"),
            (Some("q2_k"), "gguf"),
            (Some("f16"), "gguf"),
        ] {
            let file = cache.path().join(format!("{name}.{extension}"));
            let source_folder = model(name);
            let import = ["import", text(&source_folder), "-o", text(&file)];
            let quantize = recipe.map(|recipe| ["--quantize", recipe]);
            stdout(&[&import[..], quantize.as_ref().map_or(&[], |words| &words[..])].concat());
            let hf = format!("org/{name}");
            let call = ["compare-hf", text(&file), "--hf", &hf, "--assert"];
            let report = with_hub(&call, &[("HF_HUB_CACHE", cache.path())]);
            assert_described("compare-hf", &report);
            let found = verdicts(&report);
            assert!(
                found.values().all(|verdict| ["identical", "rounded"].contains(verdict)),
                "{name} {recipe:?}: {report}"
            );
            assert_eq!(report["is_faithful"], json!(true));
            // Every tensor of the checkpoint is there, or follows from the rest.
            let derived = array(&report["derived"]).len();
            assert_eq!(found.len() + derived, source.len(), "{name} {recipe:?}");
            if recipe.is_none() {
                assert!(found.values().all(|verdict| *verdict == "identical"), "{report}");
            }
        }
    }
}

#[test]
fn damage_that_the_type_does_not_explain_is_found_in_a_file() {
    let tensor = "model.layers.1.mlp.up_proj.weight";
    for (recipe, change) in [
        // Every tensor of the model zero: no other of its kind is any better.
        (Some("int4"), None),
        (Some("int8"), Some((64, 34 * 4))),
        (None, Some((2, 4))),
    ] {
        let imported = Imported::new("tiny-llama", recipe);
        let mut forged = Forged::read(&imported.file);
        match change {
            None => {
                for (name, _) in forged.entries() {
                    let range = forged.tensor(&name);
                    forged.bytes[range].fill(0);
                    forged.rehash(&name);
                }
            }
            Some((from, len)) => {
                let start = forged.tensor(tensor).start;
                let from = start + from / 34 * 34;
                forged.bytes[from..from + len].fill(0);
                forged.rehash(tensor);
            }
        }
        let count = if change.is_some() { 1 } else { forged.entries().len() };
        forged.seal(&imported.file);
        let source = model("tiny-llama");
        let call = ["compare-hf", imported.path(), "--hf", text(&source)];
        let report = json(&call);
        let found = verdicts(&report);
        let different: Vec<&str> =
            found.iter().filter(|(_, is)| **is == "different").map(|(name, _)| *name).collect();
        assert_eq!(different.len(), count, "{recipe:?}: {different:?}");
        assert_eq!(
            (&report["verdict"], &report["is_faithful"]),
            (&json!("different"), &json!(false))
        );
        assert_eq!(report["tensors"][0]["verdict"], "different");
        if change.is_some() {
            assert_eq!(different, [tensor]);
        }
        let said = failure(&[&call[..], &["--assert"]].concat());
        assert!(said.contains("departs by"), "{said}");
        assert!(stdout(&call).contains("DIFFERENT"), "{recipe:?}");
    }
}

#[test]
fn tensors_without_a_counterpart_have_a_verdict_too() {
    let damaged = changed("tiny-gpt2", |tensors| {
        tensors.retain(|tensor| tensor.name != "h.3.mlp.c_fc.bias");
        let norm = find(tensors, "ln_f.weight");
        norm.shape = vec![2, 96];
        let mut extra = find(tensors, "ln_f.bias").clone();
        extra.name = "ln_g.bias".to_owned();
        tensors.push(extra);
        // One value of half a million, by a hundredth.
        let tensor = &mut find(tensors, "wte.weight").bytes;
        let value = f32::from_le_bytes(tensor[..4].try_into().unwrap()) + 0.01;
        tensor[..4].copy_from_slice(&value.to_le_bytes());
    });
    let source = model("tiny-gpt2");
    let call = ["compare-hf", text(damaged.path()), "--hf", text(&source)];
    let report = json(&call);
    let found: Vec<(&str, &str)> = array(&report["tensors"])
        .iter()
        .map(|tensor| (tensor["verdict"].as_str().unwrap(), tensor["name"].as_str().unwrap()))
        .filter(|(verdict, _)| *verdict != "identical")
        .collect();
    let expected = [
        ("missing", "h.3.mlp.c_fc.bias"),
        ("shape", "ln_f.weight"),
        ("different", "wte.weight"),
        ("added", "ln_g.bias"),
    ];
    assert_eq!(found, expected, "the worst first");
    assert_eq!(report["counts"]["identical"], json!(array(&report["tensors"]).len() - 4));
    let said = failure(&[&call[..], &["--assert"]].concat());
    assert!(said.contains("4 tensors") && said.contains("h.3.mlp.c_fc.bias"), "{said}");
}

#[test]
fn names_that_the_hub_does_not_have_are_refused() {
    let (source, cache) = (model("tiny-llama"), tempfile::tempdir().unwrap());
    let call = ["compare-hf", text(&source), "--hf", "org/nothing"];
    let mut command = apr(&call);
    command.env("HF_HUB_CACHE", cache.path()).env("HF_HUB_OFFLINE", "1");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("hf://org/nothing"), "{said}");
}

#[test]
fn the_rosetta_stone_has_names_and_layouts_and_no_types() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let (eight, four) = (Imported::new(name, Some("int8")), Imported::new(name, Some("int4")));
        let same = json(&["rosetta", "diff-tensors", eight.path(), four.path()]);
        let count = Forged::read(&eight.file).entries().len();
        assert_eq!((&same["mismatches"], &same["common_tensors"]), (&json!([]), &json!(count)));
        let gguf = folder.path().join(format!("{name}.gguf"));
        stdout(&["export", eight.path(), "-o", text(&gguf)]);
        let found = json(&["rosetta", "diff-tensors", text(&model(name)), text(&gguf)]);
        assert_eq!(array(&found["mismatches"]).len(), count, "{name}: every name is another");
        let of = |tensor: &str| {
            let mut all = array(&found["mismatches"]).iter();
            all.find(|found| found["tensor"] == tensor).cloned().unwrap()
        };
        match name {
            "tiny-llama" => {
                let query = of("model.layers.1.self_attn.q_proj.weight");
                assert_eq!(query["differs"], json!(["name", "row_order"]), "{query}");
                assert_eq!(query["b"]["name"], "blk.1.attn_q.weight");
            }
            "tiny-gpt2" => {
                let mlp = of("h.2.mlp.c_fc.weight");
                assert_eq!(mlp["differs"], json!(["name", "orientation"]), "{mlp}");
                assert_eq!(mlp["a"]["shape"], json!([192, 768]));
                assert_eq!(mlp["b"]["shape"], json!([768, 192]));
            }
            _ => assert_eq!(of("model.norm.weight")["differs"], json!(["name"])),
        }
    }
    let (llama, gpt2) = (model("tiny-llama"), model("tiny-gpt2"));
    let others = json(&["rosetta", "diff-tensors", text(&llama), text(&gpt2)]);
    assert_eq!(others["common_tensors"], json!(0));
    assert!(
        array(&others["mismatches"]).iter().all(|found| found["differs"] == json!(["missing"]))
    );
    // The header of a piped file suffices.
    let bytes = fs::read(llama.join("model.safetensors")).unwrap();
    let mut command = apr(&["rosetta", "diff-tensors", "-", text(&llama), "--json"]);
    let output = command.write_stdin(bytes).output().unwrap();
    let piped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(piped["mismatches"], json!([]), "{piped}");
}

/// Heads one by one, experts stacked, norms that GGUF stores plus one: every way in which formats
/// hold the same values otherwise.
#[test]
fn every_architecture_is_the_same_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for source in folders() {
        let [kept, gguf] = ["apr", "gguf"].map(|format| {
            let file = folder.path().join("model").with_extension(format);
            stdout(&["import", text(&source), "-o", text(&file)]);
            file
        });
        let count = Forged::read(&kept).entries().len();
        for (a, b) in [(&source, &kept), (&source, &gguf), (&gguf, &kept), (&kept, &gguf)] {
            let report = json(&["diff", text(a), text(b)]);
            let found = kinds(&report);
            let what = format!("{} {}", source.display(), b.display());
            assert!(found.is_subset(&["dtype", "size"].into()), "{what}: {report}");
            assert_eq!(report["common_tensors"], json!(count), "{what}");
        }
    }
}
