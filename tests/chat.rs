//! `apr run --chat`: the model's own template, from every kind of file.

use crate::checkpoints::copy_model;
use crate::harness::{apr, failure, json, model, stdout, text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn run(model: &Path, args: &[&str]) -> Value {
    json(&[&["run", text(model), "-n", "4"], args].concat())
}

/// The template of the shipped Qwen2, by hand.
fn chatml(messages: &[(&str, &str)]) -> String {
    let turns =
        messages.iter().map(|(role, text)| format!("<|im_start|>{role}\n{text}<|im_end|>\n"));
    turns.chain(["<|im_start|>assistant\n".to_owned()]).collect()
}

#[test]
fn the_prompt_is_what_the_template_makes_of_the_messages() {
    let folder = tempfile::tempdir().unwrap();
    let source = model("tiny-qwen2");
    let mut files = vec![source.clone()];
    for extension in ["apr", "gguf"] {
        let file = folder.path().join("model").with_extension(extension);
        stdout(&["import", text(&source), "-o", text(&file)]);
        files.push(file);
    }
    for file in files {
        let found = run(&file, &["-p", "What is 2+2?", "--chat", "--system", "Be brief."]);
        let expected = chatml(&[("system", "Be brief."), ("user", "What is 2+2?")]);
        assert_eq!(found["prompt"], expected, "{file:?}");
        let raw = run(&file, &["-p", &expected]);
        assert_eq!(found["prompt_tokens"], raw["prompt_tokens"], "{file:?}");
        assert_eq!(found["tokens"], raw["tokens"]);
        let found = run(&file, &["Hello", "--chat"]);
        assert_eq!(found["prompt"], chatml(&[("user", "Hello")]));
    }
    // Without --chat nothing is put around a prompt, with --raw or not.
    assert_eq!(run(&source, &["-p", "Hello"])["prompt"], "Hello");
    assert_eq!(run(&source, &["-p", "Hello", "--raw"])["prompt"], "Hello");
}

/// A shipped model with a template of the tests.
fn with_template(folder: &Path, template: &str) -> std::path::PathBuf {
    copy_model("tiny-llama", folder);
    fs::write(folder.join("chat_template.jinja"), template).unwrap();
    folder.to_path_buf()
}

#[test]
fn special_tokens_are_those_of_the_tokenizer_and_appear_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = with_template(
        &folder.path().join("a"),
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
    );
    let config = source.join("tokenizer_config.json");
    let mut settings: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    settings["eos_token"] = json!({"content": "END", "special": true});
    fs::write(&config, settings.to_string()).unwrap();
    let (stored, ggml) = (folder.path().join("a.apr"), folder.path().join("a.gguf"));
    stdout(&["import", text(&source), "-o", text(&stored)]);
    stdout(&["import", text(&source), "-o", text(&ggml)]);
    for file in [&source, &stored] {
        let found = run(file, &["-p", "Hello", "--chat"]);
        assert_eq!(found["prompt"], "<|endoftext|>HelloEND", "{file:?}");
        assert_eq!(found["prompt_tokens"][0], 0);
        assert_ne!(found["prompt_tokens"][1], 0, "a second BOS");
    }
    // GGUF names tokens by their ids.
    assert_eq!(run(&ggml, &["-p", "Hello", "--chat"])["prompt"], "<|endoftext|>Hello<|endoftext|>");
}

#[test]
fn what_has_no_template_or_a_bad_one_is_refused() {
    let said = failure(&["run", text(&model("tiny-llama")), "-p", "Hello", "--chat"]);
    assert!(said.contains("chat template is missing"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    for (name, template, cause) in [
        ("syntax", "{% if %}", "cannot be read"),
        (
            "loop",
            "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
            "it is stopped",
        ),
        ("refuses", "{{ raise_exception('only in French') }}", "only in French"),
        ("walk", "{{ ''.__class__.__mro__ }}", "it fails"),
    ] {
        let source = with_template(&folder.path().join(name), template);
        let said = failure(&["run", text(&source), "-p", "Hello", "--chat"]);
        assert!(said.contains("chat template") && said.contains(cause), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        // The model itself is none the worse.
        run(&source, &["-p", "Hello"]);
    }
    for args in [&["--chat", "--raw"][..], &["--system", "x"]] {
        let source = model("tiny-qwen2");
        let call = [&["run", text(&source), "-p", "Hello"], args].concat();
        assert_eq!(apr(&call).output().unwrap().status.code(), Some(2), "{args:?}");
    }
}
