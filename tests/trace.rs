//! `apr trace`: the layers of a file, what they compute, and which tensor of a copy is damaged.

use crate::checkpoints::{SafeTensors, StoredTensor, copy_model};
use crate::harness::{Forged, Imported, MODELS, apr, assert_described, failure, json, model, text};
use apr::{Checkpoint, LoadOptions, TextModel};
use apr_model::Point;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PROMPT: &str = "The capital of France is";

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// Tensors, elements and bytes of a layer, by the names in the file.
fn layer_of(tensors: &[StoredTensor], layer: usize) -> Vec<&StoredTensor> {
    let part = format!(".{layer}.");
    tensors.iter().filter(|tensor| format!(".{}", tensor.name).contains(&part)).collect()
}

#[test]
fn the_layers_are_those_of_the_header() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let weights = model(name).join("model.safetensors");
        // A blob: no name, no configuration beside it.
        let blob = folder.path().join(format!("{name}-blob"));
        fs::copy(&weights, &blob).unwrap();
        let gguf = folder.path().join(format!("{name}.gguf"));
        crate::harness::stdout(&["import", text(&model(name)), "-o", text(&gguf)]);
        let imported = Imported::new(name, None);
        let SafeTensors { tensors } = SafeTensors::read(&weights);
        for path in [&model(name), &blob, &gguf, &imported.file] {
            let report = json(&["trace", text(path)]);
            let layers = array(&report["layers"]);
            assert_eq!(layers.len(), 4, "{}", path.display());
            assert_eq!(report["architecture"], name.strip_prefix("tiny-").unwrap());
            for (index, layer) in layers.iter().enumerate() {
                assert_eq!(layer["index"], index);
                assert_eq!(layer["name"], format!("layer {index}"));
                let expected = layer_of(&tensors, index);
                let is_mask = |tensor: &&StoredTensor| tensor.name.ends_with(".attn.bias");
                let masks = expected.iter().copied().filter(is_mask).count();
                let is_source = *path == model(name) || *path == blob;
                let dropped = if is_source { 0 } else { masks };
                assert_eq!(layer["tensors"], expected.len() - dropped);
                let kept = |tensor: &&&StoredTensor| is_source || !is_mask(tensor);
                let elems: usize = expected
                    .iter()
                    .filter(kept)
                    .map(|tensor| tensor.shape.iter().product::<usize>())
                    .sum();
                assert_eq!(layer["parameters"], elems, "{} {index}", path.display());
                if is_source {
                    let bytes: usize = expected.iter().map(|tensor| tensor.bytes.len()).sum();
                    assert_eq!(layer["size_bytes"], bytes);
                }
                assert!(layer.get("operations").is_none() && layer.get("error").is_none());
            }
        }
    }
}

#[test]
fn the_header_of_a_piped_model_suffices() {
    let bytes = fs::read(model("tiny-llama").join("model.safetensors")).unwrap();
    for name in ["-", "/dev/stdin"] {
        let output = apr(&["trace", name, "--json"]).write_stdin(bytes.clone()).output().unwrap();
        assert!(output.status.success());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(array(&report["layers"]).len(), 4);
    }
}

fn load(path: &Path) -> TextModel {
    TextModel::open(&Checkpoint::open(path).unwrap(), &LoadOptions::default(), &()).unwrap()
}

#[test]
fn a_prompt_shows_what_every_operation_computes() {
    for name in MODELS {
        let report = json(&["trace", text(&model(name)), "-p", PROMPT]);
        let loaded = load(&model(name));
        let tokens = loaded.tokenizer().encode(PROMPT).unwrap();
        assert_eq!(report["tokens"], serde_json::json!(tokens));
        let mut expected = Vec::new();
        let mut cache = loaded.decoder().cache(tokens.len()).unwrap();
        let observe = &mut |layer: Option<usize>, point: Point, rows: &mut [f32]| {
            let squares: f64 = rows.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            let max = rows.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
            expected.push((layer, point.name(), (squares / rows.len() as f64).sqrt(), max));
        };
        loaded.decoder().forward_observed(&mut cache, &tokens, observe).unwrap();
        for (layer, operation, rms, max) in expected {
            let list = match layer {
                Some(layer) => &report["layers"][layer]["operations"],
                None => &report["outside"],
            };
            let found = array(list).iter().find(|found| found["name"] == operation).unwrap();
            assert!((found["rms"].as_f64().unwrap() - rms).abs() <= 1e-9 * rms, "{operation}");
            assert_eq!(found["max_abs"].as_f64().unwrap(), f64::from(max), "{operation}");
            assert_eq!(found["not_finite"], 0);
        }
        let names: Vec<&Value> = array(&report["outside"]).iter().map(|op| &op["name"]).collect();
        assert_eq!(names, ["embedding", "final_norm", "logits"]);
    }
}

/// A copy of a shipped model with 32 values of a tensor set to zero, from one on.
fn with_hole(name: &str, tensor: &str, from: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_model(name, folder.path());
    let path = folder.path().join("model.safetensors");
    let mut weights = SafeTensors::read(&path);
    let stored = weights.tensors.iter_mut().find(|stored| stored.name == tensor).unwrap();
    let width = stored.bytes.len() / stored.shape.iter().product::<usize>();
    stored.bytes[from * width..(from + 32) * width].fill(0);
    weights.write(&path);
    folder
}

/// The names of the damaged tensors.
fn damaged(report: &Value) -> Vec<&str> {
    let damaged = array(&report["against"]["damaged"]);
    damaged.iter().map(|tensor| tensor["name"].as_str().unwrap()).collect()
}

fn against(file: &Path, reference: &Path) -> Value {
    json(&["trace", text(file), "--against", text(reference), "-p", PROMPT])
}

/// Values that are zeroed, and where they must be found.
struct Hole {
    model: &'static str,
    tensor: &'static str,
    /// The first of 32.
    from: usize,
    layer: Option<usize>,
    operation: &'static str,
    /// Row and column as the decoder sees them.
    at: [usize; 2],
}

const fn hole(
    model: &'static str,
    (tensor, from): (&'static str, usize),
    (layer, operation): (Option<usize>, &'static str),
    at: [usize; 2],
) -> Hole {
    Hole { model, tensor, from, layer, operation, at }
}

const HOLES: [Hole; 8] = [
    hole(
        "tiny-llama",
        ("model.layers.2.mlp.down_proj.weight", 1024),
        (Some(2), "mlp_output"),
        [2, 0],
    ),
    hole(
        "tiny-llama",
        ("model.layers.0.self_attn.q_proj.weight", 192 * 5),
        (Some(0), "query"),
        [5, 0],
    ),
    hole(
        "tiny-llama",
        ("model.layers.3.mlp.up_proj.weight", 192 * 7 + 64),
        (Some(3), "mlp_up"),
        [7, 64],
    ),
    hole("tiny-llama", ("model.norm.weight", 96), (None, "final_norm"), [0, 96]),
    hole("tiny-qwen2", ("model.layers.1.self_attn.v_proj.bias", 32), (Some(1), "value"), [0, 32]),
    hole("tiny-qwen2", ("model.embed_tokens.weight", 256 * 300), (None, "embedding"), [300, 0]),
    hole("tiny-gpt2", ("wpe.weight", 192 * 2 + 32), (None, "embedding"), [2, 32]),
    hole("tiny-gpt2", ("h.1.mlp.c_proj.bias", 64), (Some(1), "mlp_output"), [0, 64]),
];

#[test]
fn exactly_the_damaged_tensor_is_named() {
    for Hole { model: name, tensor, from, layer, operation, at } in HOLES {
        let folder = with_hole(name, tensor, from);
        let report = against(folder.path(), &model(name));
        assert_eq!(damaged(&report), [tensor]);
        let found = &report["against"]["damaged"][0];
        assert_eq!(found["layer"], serde_json::json!(layer));
        assert_eq!((&found["operation"], &found["worst_run"]), (&operation.into(), &1.0.into()));
        assert_eq!(found["worst_at"], serde_json::json!(at), "{tensor}");
        // The whole tensor departs by the share of what was zeroed.
        let SafeTensors { tensors } = SafeTensors::read(&model(name).join("model.safetensors"));
        let stored = tensors.iter().find(|stored| stored.name == tensor).unwrap();
        let width = if stored.dtype == "BF16" { 2 } else { 4 };
        let value = |bytes: &[u8]| {
            let mut padded = [0; 4];
            padded[4 - width..].copy_from_slice(bytes);
            f64::from(f32::from_le_bytes(padded)).powi(2)
        };
        let squares: Vec<f64> = stored.bytes.chunks(width).map(value).collect();
        let hole: f64 = squares[from..from + 32].iter().sum();
        let share = (hole / squares.iter().sum::<f64>()).sqrt();
        let difference = found["difference"].as_f64().unwrap();
        assert!((difference - share).abs() <= 1e-9, "{tensor}: {difference} {share}");
        // No layer before it departs, and no operation but those that use it does so by itself.
        for (index, found) in array(&report["layers"]).iter().enumerate() {
            if layer.is_some_and(|layer| index < layer) {
                assert_eq!(found["error"], 0.0, "{tensor} {index}");
            }
            for computed in array(&found["operations"]) {
                let is_own = layer == Some(index) && computed["name"] == operation;
                let own = computed["own_error"].as_f64().unwrap();
                assert_eq!(own > 0.0, is_own, "{tensor} {index} {computed}");
            }
        }
    }
}

#[test]
fn a_matrix_that_lies_the_other_way_round_is_compared_as_the_decoder_sees_it() {
    // [in, out]: 32 outputs of input 4.
    let tensor = "h.3.attn.c_proj.weight";
    let folder = with_hole("tiny-gpt2", tensor, 192 * 4 + 64);
    let report = against(folder.path(), &model("tiny-gpt2"));
    assert_eq!(damaged(&report), [tensor]);
    let found = &report["against"]["damaged"][0];
    assert_eq!((&found["layer"], &found["operation"]), (&3.into(), &"attention_output".into()));
    let row = found["worst_at"][0].as_u64().unwrap();
    assert!((64..96).contains(&row) && found["worst_at"][1] == 0, "{found}");
}

#[test]
fn damage_shows_through_quantization() {
    let folder = tempfile::tempdir().unwrap();
    for (name, tensor, from) in [
        ("tiny-llama", "model.layers.2.mlp.down_proj.weight", 1024),
        ("tiny-qwen2", "model.layers.3.self_attn.o_proj.weight", 256 * 9),
        ("tiny-gpt2", "h.2.mlp.c_fc.bias", 0),
    ] {
        let damaged_source = with_hole(name, tensor, from);
        for (recipe, extension) in [("int8", "apr"), ("int4", "apr"), ("q4_k_m", "gguf")] {
            let file = folder.path().join(format!("{name}-{recipe}.{extension}"));
            let import = |source: &Path| {
                crate::harness::stdout(&[
                    "import",
                    text(source),
                    "--quantize",
                    recipe,
                    "-o",
                    text(&file),
                ]);
            };
            import(damaged_source.path());
            let report = against(&file, &model(name));
            let found = array(&report["against"]["damaged"]);
            assert_eq!(found.len(), 1, "{name} {recipe}: {found:?}");
            let placed = found[0]["layer"].as_u64().unwrap();
            assert!(tensor.contains(&format!(".{placed}.")), "{tensor}: {found:?}");
            if extension == "apr" {
                assert_eq!(found[0]["name"], tensor);
            }
            import(&model(name));
            let report = against(&file, &model(name));
            assert_eq!(damaged(&report), Vec::<&str>::new(), "{name} {recipe}");
            assert_eq!(report["against"]["first_layer"], Value::Null);
            // An undamaged file passes, a damaged one does not.
            let reference = model(name);
            let call = ["trace", text(&file), "--against", text(&reference), "--assert"];
            json(&call);
        }
    }
}

/// An import whose bytes of a tensor are changed under hashes that are true again.
fn forged(change: impl FnOnce(&mut [u8])) -> (Imported, &'static str) {
    let tensor = "model.layers.1.self_attn.o_proj.weight";
    let imported = Imported::new("tiny-llama", None);
    let mut forged = Forged::read(&imported.file);
    let range = forged.tensor(tensor);
    change(&mut forged.bytes[range]);
    forged.rehash(tensor);
    forged.seal(&imported.file);
    (imported, tensor)
}

#[test]
fn the_first_layer_past_the_threshold_is_that_of_the_damage() {
    let (imported, tensor) = forged(|bytes| bytes.fill(0));
    let reference = model("tiny-llama");
    let call = [
        "trace",
        imported.path(),
        "--against",
        text(&reference),
        "-p",
        PROMPT,
        "--threshold",
        "0.05",
        "--assert",
        "--json",
    ];
    let output = apr(&call).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_described("trace", &report);
    assert_eq!(report["against"]["first_layer"], 1);
    assert_eq!(damaged(&report), [tensor]);
    let found = &report["against"]["damaged"][0];
    assert_eq!((&found["difference"], &found["own_error"]), (&1.0.into(), &1.0.into()));
    assert_eq!(found["typical_own_error"], 0.0);
    assert_eq!(report["layers"][0]["error"], 0.0);
    // Without --assert the report is all that is asked for.
    json(&call[..call.len() - 2]);
}

#[test]
fn a_value_that_is_not_finite_is_found() {
    // Row 3, column 2 of [192, 192] in BF16.
    let (imported, tensor) = forged(|bytes| {
        bytes[2 * (3 * 192 + 2)..][..2].copy_from_slice(&[0xC0, 0x7F]);
    });
    let report = against(&imported.file, &model("tiny-llama"));
    assert_eq!(damaged(&report), [tensor]);
    let found = &report["against"]["damaged"][0];
    assert_eq!(found["not_finite"], "element [3, 2] is NaN");
    assert_eq!((&found["difference"], &found["own_error"]), (&Value::Null, &Value::Null));
    assert_eq!(report["against"]["first_layer"], 1);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (llama, gpt2) = (model("tiny-llama"), model("tiny-gpt2"));
    let said = failure(&["trace", text(&llama), "--against", text(&gpt2)]);
    assert!(said.contains("tiny-gpt2: another model: its architecture is gpt2"), "{said}");
    let long = "one ".repeat(200);
    let said = failure(&["trace", text(&llama), "-p", &long]);
    assert!(said.contains("at most 128"), "{said}");
    let said = failure(&["trace", text(&llama), "-p", ""]);
    assert!(said.contains("prompt is empty"), "{said}");
    let said = failure(&["trace", text(&llama), "--assert"]);
    assert!(said.contains("--against"), "{said}");
    let missing = PathBuf::from("/no/such/model");
    let said = failure(&["trace", text(&llama), "--against", text(&missing)]);
    assert!(said.contains("/no/such/model"), "{said}");
}
