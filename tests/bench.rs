//! `apr bench` runs and what it says is plausible. How fast it is, no test asks.

use crate::harness::{Imported, MODELS, apr, failure, json, model, text};
use serde_json::Value;

const SHORT: [&str; 4] = ["--iterations", "1", "--warmup", "0"];

/// A number that a measurement can be.
fn positive(document: &Value, key: &str) -> f64 {
    let number = document[key].as_f64().unwrap_or_else(|| panic!("{key} of {document}"));
    assert!(number.is_finite() && number > 0.0, "{key} is {number}: {document}");
    number
}

fn check_rate(document: &Value, key: &str, median: f64) {
    let rate = &document[key];
    assert_eq!(positive(rate, "median"), median);
    assert!(positive(rate, "slowest") <= median && median <= positive(rate, "fastest"));
}

#[test]
fn every_figure_is_positive_and_they_agree() {
    for name in MODELS {
        let folder = model(name);
        let found = json(&["bench", text(&folder), "--iterations", "3", "--quantize", "int4"]);
        check_rate(&found, "prefill", positive(&found, "prefill_tokens_per_second"));
        let tokens_per_second = positive(&found, "tokens_per_second");
        check_rate(&found, "decode", tokens_per_second);
        assert!(positive(&found, "load_seconds") < positive(&found, "first_token_seconds"));
        let bytes = positive(&found, "bytes_per_token");
        let parts = ["weight_bytes_per_token", "cache_bytes_per_token"];
        assert_eq!(parts.map(|key| positive(&found, key)).iter().sum::<f64>(), bytes);
        let read = positive(&found, "read_bytes_per_second");
        assert!((read / (bytes * tokens_per_second) - 1.0).abs() < 1e-9, "{found}");
        if cfg!(target_os = "linux") {
            assert!(positive(&found, "peak_memory_bytes") > bytes, "{found}");
        }
        assert_eq!((&found["prompt_tokens"], &found["gen_tokens"]), (&256.into(), &64.into()));
        assert!(found.get("limits").is_none(), "{found}");
    }
}

/// Bytes of the tensors of a file whose names end so.
fn bytes(tensors: &[Value], end: &str) -> u64 {
    let matching = tensors.iter().filter(|tensor| tensor["name"].as_str().unwrap().ends_with(end));
    matching.map(|tensor| tensor["size_bytes"].as_u64().unwrap()).sum()
}

#[test]
fn a_token_reads_every_weight_once_and_a_row_of_each_table() {
    for name in MODELS {
        let stored = Imported::new(name, Some("int8"));
        let tensors = json(&["tensors", stored.path()])["tensors"].as_array().unwrap().clone();
        let inspection = json(&["inspect", stored.path()]);
        let number = |key: &str| inspection[key].as_u64().unwrap();
        let hidden = number("hidden_size");
        // Q8_0 has 34 bytes for 32 elements.
        let mut expected = bytes(&tensors, "") + hidden / 32 * 34;
        if name == "tiny-gpt2" {
            let positions = bytes(&tensors, "wpe.weight");
            expected -= positions - positions / 256;
        } else if bytes(&tensors, "lm_head.weight") > 0 {
            expected -= bytes(&tensors, "embed_tokens.weight");
        }
        let short = ["--prompt-tokens", "4", "--gen-tokens", "5", "--depth", "10"];
        let found = json(&[&["bench", stored.path()], &short[..], &SHORT].concat());
        assert_eq!(found["weight_bytes_per_token"], expected, "{name}");
        // 11 to 15 positions, each with a key and a value of four bytes an element.
        let kv_size = hidden / number("num_heads") * number("num_kv_heads");
        let cache = 13 * number("num_layers") * kv_size * 2 * 4;
        assert_eq!(found["cache_bytes_per_token"], cache, "{name}");
        let together = ["--batch", "3", "--depth", "10", "--gen-tokens", "5"];
        let found = json(&[&["bench", stored.path()], &together[..], &SHORT].concat());
        assert_eq!(found["weight_bytes_per_token"], expected / 3, "{name}");
        assert_eq!(found["cache_bytes_per_token"], cache, "{name}");
        positive(&found, "tokens_per_second");
    }
}

#[test]
fn limits_are_those_of_the_kernels_that_ran() {
    let folder = model("tiny-llama");
    let short = ["--prompt-tokens", "32", "--gen-tokens", "8", "--threads", "1", "--limits"];
    let call = [&["bench", text(&folder)], &short[..], &SHORT, &["--json"]].concat();
    for table in ["", "scalar"] {
        let output = apr(&call).env("APR_KERNELS", table).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(table.is_empty() || found["kernels"] == table, "{found}");
        let limits = &found["limits"];
        for key in ["read_bytes_per_second", "decode_share", "prefill_share"] {
            positive(limits, key);
        }
        let peaks = limits["peaks"].as_array().unwrap();
        peaks.iter().for_each(|peak| assert!(positive(peak, "operations_per_second") > 1e6));
        let of_kernels = peaks.iter().filter(|peak| peak["instructions"] == found["kernels"]);
        let arithmetics: Vec<&Value> = of_kernels.map(|peak| &peak["arithmetic"]).collect();
        assert_eq!(arithmetics, ["float32", "int16", "int8"], "{found}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = model("tiny-gpt2");
    let refused = |extra: &[&str]| failure(&[&["bench", text(&folder)], extra].concat());
    for option in ["--iterations", "--prompt-tokens", "--gen-tokens", "--batch"] {
        assert!(refused(&[option, "0"]).contains("is 0"), "{option}");
    }
    for option in ["--prompt-tokens", "--gen-tokens", "--depth"] {
        let said = refused(&[option, "1000000"]);
        assert!(said.contains("256") && said.lines().count() == 1, "{option}: {said}");
    }
}

/// As many threads as there are processors, and more.
#[cfg(target_os = "linux")]
#[test]
fn pinned_threads_give_the_same_tokens_and_figures() {
    let folder = model("tiny-llama");
    let run = |more: &[&str]| {
        let args = ["run", text(&folder), "--quantize", "int4", "-p", "The capital", "-n", "24"];
        let found = json(&[&args[..], more].concat());
        (found["tokens"].clone(), found["text"].clone())
    };
    let expected = run(&["--threads", "1"]);
    assert_eq!(expected.0.as_array().unwrap().len(), 24);
    for threads in ["1", "2", "9"] {
        assert_eq!(run(&["--threads", threads, "--pin"]), expected, "{threads} threads");
    }
    let draft = ["--draft", text(&folder), "--threads", "2", "--pin"];
    assert_eq!(run(&draft), expected);
    let pinned = ["--quantize", "int8", "--threads", "3", "--pin"];
    let found = json(&[&["bench", text(&folder)], &pinned[..], &SHORT].concat());
    assert_eq!(found["threads"], 3);
    positive(&found, "tokens_per_second");
}
