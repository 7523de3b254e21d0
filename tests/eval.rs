//! `apr eval`: the default text, the threshold, and the comparison with a reference, against
//! computations in double precision that share nothing with the library's.

use crate::harness::{MODELS, apr, assert_described, failure, heldout, json, model, text};
use apr::{Checkpoint, EvalText, LoadOptions, Recipe, TextModel};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn load(name: &str, recipe: Option<&str>) -> TextModel {
    let recipe = recipe.map(|recipe| Recipe::named(recipe).unwrap());
    let options = LoadOptions { recipe, ..LoadOptions::default() };
    TextModel::open(&Checkpoint::open(model(name)).unwrap(), &options, &()).unwrap()
}

/// Probabilities of all tokens at every scored position, with the token that follows.
fn distributions(model: &TextModel, text: &str, window: usize) -> Vec<(Vec<f64>, usize)> {
    let tokens = model.tokenizer().encode(text).unwrap();
    let vocab = model.decoder().config().vocab_size;
    let mut all = Vec::new();
    for window in tokens.chunks(window) {
        let mut cache = model.decoder().cache(window.len()).unwrap();
        let hidden = model.decoder().forward(&mut cache, window).unwrap();
        let logits = model.decoder().logits(&hidden).unwrap();
        for (logits, target) in logits.chunks(vocab).zip(&window[1..]) {
            let exps: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
            let sum: f64 = exps.iter().sum();
            all.push((exps.iter().map(|exp| exp / sum).collect(), *target as usize));
        }
    }
    all
}

fn perplexity(distributions: &[(Vec<f64>, usize)]) -> f64 {
    let nll: f64 = distributions.iter().map(|(p, target)| -p[*target].ln()).sum();
    (nll / distributions.len() as f64).exp()
}

fn largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

fn close(found: &Value, expected: f64, tolerance: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what}: {found}"));
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found} {expected}");
}

/// The first lines of the held-out text, in a file.
fn short_text() -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> =
        fs::read_to_string(heldout()).unwrap().lines().take(40).map(str::to_owned).collect();
    let (path, lines) = (folder.path().join("short.txt"), lines.join("\n"));
    fs::write(&path, &lines).unwrap();
    (folder, path, lines)
}

#[test]
fn the_default_text_is_named_and_scored() {
    for name in MODELS {
        let report = json(&["eval", text(&model(name))]);
        let EvalText { name: title, source, text: content } = EvalText::default();
        assert_eq!(report["text"], title);
        assert_eq!(report["text_source"], source.unwrap());
        assert!(report["text_source"].as_str().unwrap().contains("MIT or Apache 2.0"));
        let loaded = load(name, None);
        let tokens = loaded.tokenizer().encode(&content).unwrap().len();
        assert!(tokens > 2000, "{tokens}");
        assert_eq!((&report["tokens"], &report["window"]), (&tokens.into(), &256.into()));
        let distributions = distributions(&loaded, &content, 256);
        assert_eq!(report["scored"], distributions.len());
        close(&report["perplexity"], perplexity(&distributions), 1e-4, name);
        assert!(report.get("threshold").is_none() && report.get("reference").is_none());
    }
}

#[test]
fn the_threshold_decides_the_exit_code() {
    let (_folder, path, _) = short_text();
    let model = model("tiny-llama");
    let call = ["eval", text(&model), "--text", text(&path), "--json", "--threshold"];
    let run = |threshold: &str| apr(&[&call[..], &[threshold]].concat()).output().unwrap();
    for (threshold, code, passed) in [("1e6", 0, true), ("2", 1, false)] {
        let output = run(threshold);
        assert_eq!(output.status.code(), Some(code));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_described("eval", &report);
        assert_eq!(report["passed"], passed);
        assert_eq!(report["threshold"], threshold.parse::<f64>().unwrap());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.contains("above 2"), !passed, "{said}");
    }
}

/// Every number of the comparison, by its definition.
fn assert_comparison(report: &Value, p: &[(Vec<f64>, usize)], q: &[(Vec<f64>, usize)], tol: f64) {
    let found = &report["reference"];
    let mut kl: Vec<f64> = Vec::new();
    let (mut same, mut squares) = (0, 0.0);
    for ((p, target), (q, _)) in p.iter().zip(q) {
        kl.push(p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum());
        same += usize::from(largest(p) == largest(q));
        squares += (q[*target] - p[*target]).powi(2);
    }
    kl.sort_by(f64::total_cmp);
    let count = kl.len();
    close(&found["mean_kl"], kl.iter().sum::<f64>() / count as f64, tol, "mean");
    let at = |rank: f64| {
        let below = rank.floor() as usize;
        kl[below] + (kl[(below + 1).min(count - 1)] - kl[below]) * rank.fract()
    };
    close(&found["median_kl"], at(0.5 * (count - 1) as f64), tol, "median");
    close(&found["p99_kl"], at(0.99 * (count - 1) as f64), tol, "99th percentile");
    close(&found["max_kl"], kl[count - 1], tol, "largest");
    close(&found["same_top1"], same as f64 / count as f64, 1e-12, "same top-1");
    close(&found["rms_p_change"], (squares / count as f64).sqrt(), tol, "change of probability");
    assert_eq!(found["positions"], count);
    close(&found["reference_perplexity"], perplexity(p), 1e-4, "reference");
    close(&report["perplexity"], perplexity(q), 1e-4, "model");
}

#[test]
fn the_divergence_from_a_reference_is_that_of_the_formula() {
    let (_folder, path, content) = short_text();
    for (name, recipe) in [("tiny-llama", "int4"), ("tiny-qwen2", "int4"), ("tiny-gpt2", "int8")] {
        let source = model(name);
        let report = json(&[
            "eval",
            text(&source),
            "--quantize",
            recipe,
            "--text",
            text(&path),
            "--reference",
            text(&source),
            "--window",
            "128",
        ]);
        let (p, q) = (load(name, None), load(name, Some(recipe)));
        let (p, q) = (distributions(&p, &content, 128), distributions(&q, &content, 128));
        assert_comparison(&report, &p, &q, 1e-3);
        // Rounding is there, and is far below what the recipe costs.
        let of = |key: &str| report["reference"][key]["mean_kl"].as_f64().unwrap();
        let (noise, cost) = (of("noise_floor"), report["reference"]["mean_kl"].as_f64().unwrap());
        println!("{name} {recipe}: {cost:.2e}, noise {noise:.2e}");
        assert!(noise < 0.1 * cost, "{name}: {noise} {cost}");
        assert_eq!(report["reference"]["noise_floor"]["positions"], 127);
    }
}

#[test]
fn a_model_beside_itself_is_no_further_than_its_noise() {
    let (_folder, path, _) = short_text();
    let source = model("tiny-qwen2");
    let report =
        json(&["eval", text(&source), "--text", text(&path), "--reference", text(&source)]);
    let found = &report["reference"];
    assert_eq!(found["mean_kl"], 0.0);
    assert_eq!((&found["same_top1"], &found["rms_p_change"]), (&1.0.into(), &0.0.into()));
    let noise = found["noise_floor"]["mean_kl"].as_f64().unwrap();
    assert!(noise > 0.0 && noise < 1e-8, "{noise}");
}

/// A file of the logits of tiny-llama on the short text.
fn saved(folder: &Path, path: &Path) -> PathBuf {
    let file = folder.join("reference.logits");
    let source = model("tiny-llama");
    json(&["eval", text(&source), "--text", text(path), "--save-logits", text(&file)]);
    file
}

fn with_logits(path: &Path, file: &Path) -> Vec<String> {
    let source = model("tiny-llama");
    ["eval", text(&source), "--quantize", "int8", "--text", text(path), "--reference-logits"]
        .iter()
        .copied()
        .chain([text(file)])
        .map(str::to_owned)
        .collect()
}

fn words(call: &[String]) -> Vec<&str> {
    call.iter().map(String::as_str).collect()
}

#[test]
fn saved_logits_stand_for_the_model_at_two_bytes_a_value() {
    let (folder, path, content) = short_text();
    let file = saved(folder.path(), &path);
    let report = json(&words(&with_logits(&path, &file)));
    let (p, q) = (load("tiny-llama", None), load("tiny-llama", Some("int8")));
    let (p, q) = (distributions(&p, &content, 256), distributions(&q, &content, 256));
    // The rounding of the file is half a step of a 65,535th of the spread of the logits.
    assert_comparison(&report, &p, &q, 0.02);
    let values = p.len() * p[0].0.len();
    let bytes = fs::metadata(&file).unwrap().len() as usize;
    assert_eq!(bytes, 48 + 24 * p.len() + 2 * values);
    // The rounding is in the noise floor.
    let noise = report["reference"]["noise_floor"]["mean_kl"].as_f64().unwrap();
    assert!(noise > 1e-10 && noise < 1e-7, "{noise}");
}

#[test]
fn logits_of_something_else_are_refused() {
    let (folder, path, content) = short_text();
    let file = saved(folder.path(), &path);
    let good = fs::read(&file).unwrap();
    let refused = |call: &[&str], words: &[&str]| {
        let said = failure(call);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    let call = with_logits(&path, &file);
    let call = words(&call);
    refused(&[&call[..], &["--window", "100"]].concat(), &["reference.logits", "another window"]);
    let other = folder.path().join("other.txt");
    // As many tokens, one of them another.
    fs::write(&other, content.replacen("Hello", "World", 1)).unwrap();
    let of_other = with_logits(&other, &file);
    refused(&words(&of_other), &["reference.logits", "another text"]);
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (bytes, cause) in [
        (damaged, "damaged"),
        (good[..good.len() - 1].to_vec(), "expected"),
        (good[..30].to_vec(), "logits of another"),
        (b"GGUF".to_vec(), "not a file of logits"),
        (Vec::new(), "not a file of logits"),
    ] {
        fs::write(&file, bytes).unwrap();
        refused(&call, &["reference.logits", cause]);
    }
    fs::remove_file(&file).unwrap();
    refused(&call, &["reference.logits", "No such file"]);
    // A model with another tokenizer is no reference.
    let (llama, gpt2) = (model("tiny-llama"), model("tiny-gpt2"));
    let call = ["eval", text(&llama), "--text", text(&path), "--reference", text(&gpt2)];
    refused(&call, &["tiny-gpt2", "tokenizer"]);
}
