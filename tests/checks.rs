//! `apr check`, `apr qa` and `apr parity`: what passes, and what each of them finds.

use crate::architectures::folders;
use crate::harness::{Forged, Imported, MODELS, apr, assert_described, failure, json, model, text};
use apr::{Checkpoint, EvalText, LoadOptions, TextModel};
use apr_kernel::Kernels;
use serde_json::Value;

/// Name and status of every row of a list.
fn results(list: &Value) -> Vec<(&str, &str)> {
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| (row["name"].as_str().unwrap(), row["status"].as_str().unwrap())).collect()
}

fn failed(list: &Value) -> Vec<&str> {
    results(list)
        .into_iter()
        .filter(|(_, status)| *status == "FAIL")
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_stage_of_a_sound_model_passes() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let gguf = folder.path().join(format!("{name}.gguf"));
        let source = model(name);
        let import = ["import", text(&source), "--quantize", "q4_k_m", "-o", text(&gguf)];
        crate::harness::stdout(&import);
        let int4 = Imported::new(name, Some("int4"));
        for path in [text(&source), text(&gguf), int4.path()] {
            let report = json(&["check", path]);
            let names: Vec<&str> =
                results(&report["stages"]).iter().map(|(name, _)| *name).collect();
            let expected = [
                "tokenizer",
                "embedding",
                "positions",
                "norms",
                "qkv",
                "attention",
                "mlp",
                "residual",
                "head",
                "sampling",
            ];
            assert_eq!(names, expected);
            assert_eq!(failed(&report["stages"]), Vec::<&str>::new(), "{path}");
            assert_eq!((&report["total_stages"], &report["failed"]), (&10.into(), &0.into()));
        }
    }
}

/// Small random models of every architecture: all of them compute, whatever their tokenizers do.
#[test]
fn every_architecture_passes() {
    for folder in folders() {
        let output = apr(&["check", text(&folder), "--json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let failed = failed(&report["stages"]);
        assert!(failed.iter().all(|stage| *stage == "tokenizer"), "{}: {report}", folder.display());
    }
}

/// An import with the bytes of a tensor changed, under hashes that are true again.
fn changed(tensor: &str, change: impl FnOnce(&mut [u8])) -> Imported {
    let imported = Imported::new("tiny-llama", None);
    let mut forged = Forged::read(&imported.file);
    let range = forged.tensor(tensor);
    change(&mut forged.bytes[range]);
    forged.rehash(tensor);
    forged.seal(&imported.file);
    imported
}

/// The report of a call that fails, and what it says.
fn failing(args: &[&str]) -> (Value, String) {
    let output = apr(&[args, &["--json"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = serde_json::from_slice(&output.stdout).unwrap();
    assert_described(args[0], &report);
    (report, String::from_utf8(output.stderr).unwrap())
}

/// A tensor, what happens to its bytes, the stage that must fail, and what it must say.
type Case<'a> = (&'a str, &'a dyn Fn(&mut [u8]), &'a str, &'a [&'a str]);

#[test]
fn a_stage_that_fails_names_layer_tensor_and_cause() {
    const DOWN: &str = "model.layers.1.mlp.down_proj.weight";
    let nan = |bytes: &mut [u8]| bytes[2000..2002].copy_from_slice(&[0xC0, 0x7F]);
    let infinite = |bytes: &mut [u8]| bytes[0..2].copy_from_slice(&[0x80, 0x7F]);
    let zero = |bytes: &mut [u8]| bytes.fill(0);
    let cases: [Case<'_>; 4] = [
        (DOWN, &nan, "mlp", &["layer 1, mlp_output", DOWN, "not finite"]),
        (
            "model.layers.2.self_attn.k_proj.weight",
            &infinite,
            "qkv",
            &["layer 2, key", "model.layers.2.self_attn.k_proj.weight", "not finite"],
        ),
        (
            "model.layers.3.input_layernorm.weight",
            &zero,
            "norms",
            &["layer 3, attention_norm", "model.layers.3.input_layernorm.weight", "is 0"],
        ),
        ("model.embed_tokens.weight", &zero, "embedding", &["model.embed_tokens.weight", "is 0"]),
    ];
    for (tensor, change, stage, words) in cases {
        let imported = changed(tensor, change);
        let (report, said) = failing(&["check", imported.path()]);
        let stages = report["stages"].as_array().unwrap();
        let found = stages.iter().find(|found| found["name"] == stage).unwrap();
        assert_eq!(found["status"], "FAIL", "{tensor}");
        let message = found["message"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{tensor}: {message}");
        assert!(said.contains(message), "{said}");
        assert_eq!(report["failed"], failed(&report["stages"]).len());
        assert_eq!(results(&report["stages"])[0], ("tokenizer", "PASS"));
    }
}

#[test]
fn a_sound_model_passes_every_gate() {
    for (name, recipe) in [("tiny-llama", "int4"), ("tiny-qwen2", "int8"), ("tiny-gpt2", "int8")] {
        let imported = Imported::new(name, Some(recipe));
        let report = json(&[
            "qa",
            imported.path(),
            "--skip-ollama",
            "--skip-gpu-speedup",
            "--skip-ptx-parity",
        ]);
        assert_eq!(failed(&report["gates"]), Vec::<&str>::new(), "{name}");
        let names: Vec<&str> = results(&report["gates"]).iter().map(|(name, _)| *name).collect();
        let expected = [
            "file",
            "tokenizer_round_trip",
            "pipeline",
            "determinism",
            "kernel_parity",
            "perplexity",
            "throughput",
        ];
        assert_eq!(names, expected);
        assert_eq!((&report["passed"], &report["failed"]), (&true.into(), &0.into()));
        for gate in report["gates"].as_array().unwrap() {
            let severity = if gate["name"] == "throughput" { "warning" } else { "error" };
            assert_eq!(gate["severity"], severity);
        }
    }
}

#[test]
fn a_damaged_model_fails_the_gates_that_can_see_it() {
    // Every prediction turned round: finite, of a sound size, and worse than a guess.
    let turned = changed("model.norm.weight", |bytes| {
        bytes.iter_mut().skip(1).step_by(2).for_each(|high| *high ^= 0x80);
    });
    let (report, said) = failing(&["qa", turned.path()]);
    assert_eq!(failed(&report["gates"]), ["perplexity"]);
    assert_eq!(report["passed"], false);
    assert!(said.contains("perplexity"), "{said}");

    let broken = changed("model.layers.0.mlp.up_proj.weight", |bytes| {
        bytes[0..2].copy_from_slice(&[0xC0, 0x7F]);
    });
    let (report, _) = failing(&["qa", broken.path()]);
    let failed = failed(&report["gates"]);
    for gate in ["file", "pipeline", "kernel_parity", "perplexity"] {
        assert!(failed.contains(&gate), "{failed:?}");
    }
}

#[test]
fn the_vector_kernels_match_the_portable_ones() {
    for name in MODELS {
        let int4 = Imported::new(name, Some("int4"));
        for path in [text(&model(name)), int4.path()] {
            let report = json(&["parity", path, "--path", "cpu", "--assert"]);
            assert_eq!((&report["match"], &report["reference"]), (&true.into(), &"scalar".into()));
            let paths = report["paths"].as_array().unwrap();
            let tables: Vec<&str> =
                Kernels::available().iter().skip(1).map(|table| table.name()).collect();
            assert_eq!(paths.len(), tables.len());
            let expected = logits(path, "scalar");
            for (found, table) in paths.iter().zip(tables) {
                assert_eq!(found["kernels"], table);
                let difference = logits(path, table)
                    .iter()
                    .zip(&expected)
                    .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
                    .fold(0.0, f64::max);
                assert_eq!(found["max_difference"].as_f64().unwrap(), difference);
                let largest = expected.iter().fold(0.0_f32, |max, logit| max.max(logit.abs()));
                let relative = found["relative_difference"].as_f64().unwrap();
                assert!((relative - difference / f64::from(largest)).abs() < 1e-12);
                assert!(relative < 1e-4, "{name} {table}: {relative}");
            }
            assert_eq!(report["tokens"], 64);
        }
    }
}

/// The logits of the first 64 tokens of the default text.
fn logits(path: &str, kernels: &str) -> Vec<f32> {
    let options = LoadOptions { kernels: Some(kernels.to_owned()), ..LoadOptions::default() };
    let model = TextModel::open(&Checkpoint::open(path).unwrap(), &options, &()).unwrap();
    let tokens = model.tokenizer().encode(&EvalText::default().text).unwrap();
    let mut cache = model.decoder().cache(64).unwrap();
    let hidden = model.decoder().forward(&mut cache, &tokens[..64]).unwrap();
    model.decoder().logits(&hidden).unwrap()
}

#[test]
fn without_an_accelerator_parity_says_so() {
    let source = model("tiny-llama");
    let said = failure(&["parity", text(&source), "--assert"]);
    assert!(said.contains("no gpu") && said.contains("CUDA"), "{said}");
    let output = apr(&["parity", text(&source), "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "no_gpu");
    // A file that is none is refused for that first.
    let said = failure(&["parity", "/no/such/file"]);
    assert!(said.contains("No such file"), "{said}");
}
