//! Recipes, fallbacks and overrides: what a plan says is what the file holds, to the byte.

use crate::harness::{MODELS, failure, json, model, stdout, text};
use apr_tensor::DType;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Name → type of the tensors in a file.
fn types(file: &Path) -> BTreeMap<String, DType> {
    let container = apr_format::open(file).unwrap();
    container.tensors().iter().map(|t| (t.name.clone(), t.layout.dtype())).collect()
}

fn planned(plan: &Value) -> BTreeMap<String, DType> {
    let tensors = plan["tensors"].as_array().unwrap().iter();
    let dtype = |tensor: &Value| DType::from_name(tensor["dtype"].as_str().unwrap()).unwrap();
    tensors.map(|tensor| (tensor["name"].as_str().unwrap().to_owned(), dtype(tensor))).collect()
}

#[test]
fn every_recipe_gives_the_file_that_its_plan_says_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        for recipe in apr::RECIPES {
            for extension in ["apr", "gguf"] {
                let file = folder.path().join(format!("{name}-{}.{extension}", recipe.name));
                let source = model(name);
                let call = ["import", text(&source), "--quantize", recipe.name, "-o", text(&file)];
                let plan = json(&[&call[..], &["--plan"]].concat());
                assert!(!file.exists(), "a plan wrote a file");
                stdout(&call);
                let size = fs::metadata(&file).unwrap().len();
                assert_eq!(
                    plan["estimated_output_size"], size,
                    "{name} {} {extension}",
                    recipe.name
                );
                assert_eq!(planned(&plan), types(&file), "{name} {} {extension}", recipe.name);
                stdout(&["run", text(&file), "-p", "Hello", "-n", "2"]);
                fs::remove_file(&file).unwrap();
            }
        }
    }
}

/// Rows of 192 and 640 hold no blocks of 256; rows of 256 and 512 do.
#[test]
fn rows_that_hold_no_blocks_of_256_fall_back_and_the_plan_says_so() {
    let source = model("tiny-qwen2");
    let call = ["import", text(&source), "--quantize", "q4_k_m", "--plan", "-o", "x.gguf"];
    let types = planned(&json(&call));
    let of = |name: &str| types[name];
    // Four layers: with more bits are the last and the third.
    assert_eq!(of("token_embd.weight"), DType::Q6_K);
    assert_eq!(of("blk.0.attn_v.weight"), DType::Q4_K);
    assert_eq!(of("blk.3.attn_v.weight"), DType::Q6_K);
    assert_eq!(of("blk.0.ffn_up.weight"), DType::Q4_K);
    assert_eq!(of("blk.0.ffn_down.weight"), DType::Q5_0);
    assert_eq!(of("blk.3.ffn_down.weight"), DType::Q8_0);
    assert_eq!(of("blk.0.attn_norm.weight"), DType::F32);
    let said = stdout(&call);
    let line = "exception: MLP down × 2: rows of 640 are no multiple of 256: Q5_0 instead of Q4_K";
    assert!(said.contains(line) && said.contains("bits per weight"), "{said}");
}

#[test]
fn an_override_decides_over_the_recipe_and_must_match() {
    let folder = tempfile::tempdir().unwrap();
    let (source, file) = (model("tiny-llama"), folder.path().join("x.gguf"));
    let call = ["import", text(&source), "--quantize", "q8_0", "-o", text(&file)];
    let with = |overrides: &[&'static str]| {
        let flags = overrides.iter().flat_map(|text| ["--tensor-type", text]);
        call.into_iter().chain(flags).collect::<Vec<_>>()
    };
    // By the name in the file, by the published name, and the last match counts.
    stdout(&with(&["ffn_=q4_0", r"layers\.1\.mlp\.down_proj=F16", "ffn_gate=bf16"]));
    let types = types(&file);
    assert_eq!(types["blk.0.ffn_up.weight"], DType::Q4_0);
    assert_eq!(types["blk.0.ffn_gate.weight"], DType::BF16);
    assert_eq!(types["blk.0.ffn_down.weight"], DType::Q4_0);
    assert_eq!(types["blk.1.ffn_down.weight"], DType::F16);
    assert_eq!(types["blk.0.attn_q.weight"], DType::Q8_0);
    assert_eq!(types["blk.0.ffn_norm.weight"], DType::F32, "a norm is no matrix");
    for (text, words) in [
        ("ffn_up", "not PATTERN=TYPE"),
        ("(=q4_0", "regex parse error"),
        ("ffn_up=q9_9", "no type to store weights in"),
        ("ffn_up=iq2_xxs", "no type to store weights in"),
        ("ffn_gone=q4_0", "no matrix has such a name"),
        ("ffn_norm=q4_0", "no matrix has such a name"),
    ] {
        let said = failure(&with(&[text]));
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn what_is_quantized_is_quantized_again_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, again) = (path("first.gguf"), path("again.gguf"));
    stdout(&["quantize", text(&model("tiny-qwen2")), "--scheme", "q8_0", "-o", text(&first)]);
    let call = ["quantize", text(&first), "--scheme", "q6_k", "-o", text(&again)];
    let said = failure(&call);
    assert!(said.contains("first.gguf") && said.contains("--allow-requantize"), "{said}");
    assert!(!again.exists());
    let said = stdout(&[&call[..], &["--allow-requantize"]].concat());
    assert!(said.contains("PROVEN") && said.contains("Q8_0 > Q6_K"), "{said}");
    stdout(&["verify", text(&again), "--against", text(&first)]);
}

#[test]
fn an_unknown_split_can_be_named_and_a_wrong_name_lists_the_known() {
    let folder = tempfile::tempdir().unwrap();
    let (source, file) = (model("tiny-gpt2"), folder.path().join("x.gguf"));
    let call = ["import", text(&source), "--quantize", "q8_0", "-o", text(&file)];
    let said = failure(&[&call[..], &["--pre", "no-such-split"]].concat());
    assert!(said.contains("no-such-split") && said.contains("llama-bpe"), "{said}");
    stdout(&[&call[..], &["--pre", "qwen2"]].concat());
    let container = apr_format::open(&file).unwrap();
    assert_eq!(container.metadata()["tokenizer.ggml.pre"], "qwen2");
}
