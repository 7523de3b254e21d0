//! `apr audit`: files are damaged here, and what is found is held against what was done.

use crate::checkpoints::{SafeTensors, StoredTensor, copy_model};
use crate::gguf_file::{GgufFile, Key};
use crate::harness::{
    Forged, Imported, MODELS, apr, assert_described, failure, json, model, stdout, text,
};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The report on a file, whatever is found.
fn audit(args: &[&str]) -> Value {
    let output = apr(&[&["audit"], args, &["--json"]].concat()).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_described("audit", &document);
    let is_damaged = document["errors"].as_u64().unwrap() > 0;
    assert_eq!(output.status.code(), Some(i32::from(is_damaged)), "{document}");
    document
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The findings by a rule: severity, tensor, message.
fn by_rule<'a>(report: &'a Value, rule: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let found = array(&report["findings"]).iter().filter(|found| found["rule"] == rule);
    let word = |value: &'a Value| value.as_str().unwrap_or_default();
    found
        .map(|found| (word(&found["severity"]), word(&found["tensor"]), word(&found["message"])))
        .collect()
}

#[test]
fn sound_files_have_no_error_and_no_warning() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let source = model(name);
        let mut files = vec![source.clone()];
        for (recipe, extension) in
            [("int8", "apr"), ("int4", "apr"), ("q4_k_m", "gguf"), ("q2_k", "gguf")]
        {
            let file = folder.path().join(format!("{name}-{recipe}.{extension}"));
            stdout(&["import", text(&source), "--quantize", recipe, "-o", text(&file)]);
            files.push(file);
        }
        for file in files {
            let call = ["audit", text(&file), "--against", text(&source), "--fail-on", "warning"];
            let report = json(&call);
            assert_eq!(
                (&report["errors"], &report["warnings"]),
                (&json!(0), &json!(0)),
                "{report}"
            );
            assert!(report["tensor_count"].as_u64().unwrap() > 30, "{report}");
            let infos = report["infos"].as_u64().unwrap() as usize;
            assert_eq!(array(&report["findings"]).len(), infos, "{report}");
            assert!(stdout(&call).contains("CLEAN"), "{}", file.display());
        }
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

const UP: &str = "model.layers.2.mlp.up_proj.weight";
const GATE: &str = "model.layers.2.mlp.gate_proj.weight";

#[test]
fn values_that_weights_do_not_have_are_found() {
    let damaged = changed("tiny-llama", |tensors| {
        let up = &mut find(tensors, UP).bytes;
        up[6..8].copy_from_slice(&[0xC0, 0x7F]);
        up[100..102].copy_from_slice(&[0x80, 0xFF]);
        up[200..202].copy_from_slice(&[0x80, 0x7F]);
        find(tensors, "model.layers.0.mlp.down_proj.weight").bytes.fill(0);
        find(tensors, "model.layers.1.input_layernorm.weight").bytes.fill(0);
        let one = [0x80, 0x3F];
        let value = &mut find(tensors, "model.layers.3.self_attn.q_proj.weight").bytes;
        value.chunks_mut(2).for_each(|bytes| bytes.copy_from_slice(&one));
        let copy = find(tensors, "model.layers.1.mlp.gate_proj.weight").bytes.clone();
        find(tensors, GATE).bytes = copy;
    });
    let report = audit(&[text(damaged.path())]);
    assert_eq!(by_rule(&report, "not-finite"), [("error", UP, "1 values are NaN, 2 infinite")]);
    let zero = by_rule(&report, "all-zero");
    assert_eq!(zero.len(), 2, "{report}");
    assert_eq!((zero[0].0, zero[0].1), ("error", "model.layers.0.mlp.down_proj.weight"));
    assert_eq!(
        zero[1],
        ("info", "model.layers.1.input_layernorm.weight", "all 192 values are zero")
    );
    let [constant] = by_rule(&report, "constant")[..] else { panic!("{report}") };
    assert_eq!(constant.1, "model.layers.3.self_attn.q_proj.weight");
    assert!(constant.0 == "warning" && constant.2 == "all 36,864 values are 1", "{constant:?}");
    let expected = "has the bytes of \"model.layers.1.mlp.gate_proj.weight\"";
    assert_eq!(by_rule(&report, "duplicate"), [("warning", GATE, expected)]);
    assert_eq!(report["errors"], json!(2), "{report}");
    let said = failure(&["audit", text(damaged.path())]);
    assert!(said.lines().count() == 1 && said.contains("2 errors"), "{said}");
    let shown = apr(&["audit", text(damaged.path())]).output().unwrap().stdout;
    assert!(String::from_utf8(shown).unwrap().contains("DAMAGED"));
}

#[test]
fn the_census_of_the_architecture_is_part_of_it() {
    let damaged = changed("tiny-llama", |tensors| {
        tensors.retain(|tensor| tensor.name != UP);
        let mut extra = find(tensors, GATE).clone();
        extra.name = "model.layers.2.mlp.extra.weight".to_owned();
        extra.bytes[0] ^= 1;
        tensors.push(extra);
    });
    let report = audit(&[text(damaged.path())]);
    assert_eq!(by_rule(&report, "missing-tensor"), [("error", UP, "is missing")]);
    let unknown = by_rule(&report, "unknown-tensor");
    assert!(unknown.len() == 1 && unknown[0].1 == "model.layers.2.mlp.extra.weight", "{report}");
}

/// An import whose blocks of a tensor are changed under hashes that are true again.
fn forged(change: impl FnOnce(&mut [u8])) -> Imported {
    let imported = Imported::new("tiny-llama", Some("int8"));
    let mut forged = Forged::read(&imported.file);
    let range = forged.tensor(UP);
    change(&mut forged.bytes[range]);
    forged.rehash(UP);
    forged.seal(&imported.file);
    imported
}

/// Bytes of a Q8_0 block: a half-precision scale and 32 integers.
const BLOCK: usize = 34;
/// Blocks of a row of 192.
const PER_ROW: usize = 6;

#[test]
fn scales_that_are_no_scales_are_found() {
    let (mut nan, mut inf) = (0, 0);
    let infinite = forged(|bytes| {
        for at in [3, 200] {
            let block = &mut bytes[at * BLOCK..(at + 1) * BLOCK];
            block[..2].copy_from_slice(&[0x00, 0x7C]);
            nan += block[2..].iter().filter(|q| **q == 0).count();
            inf += block[2..].iter().filter(|q| **q != 0).count();
        }
    });
    let report = audit(&[infinite.path()]);
    let expected = format!("{nan} values are NaN, {inf} infinite: the scales of 2 blocks");
    assert_eq!(by_rule(&report, "not-finite"), [("error", UP, &*expected)]);

    let far = forged(|bytes| {
        for at in [7 * PER_ROW + 2, 90 * PER_ROW] {
            // 65,504: the largest number of half precision.
            bytes[at * BLOCK..at * BLOCK + 2].copy_from_slice(&[0xFF, 0x7B]);
        }
    });
    let report = audit(&[far.path()]);
    let expected =
        "2 blocks have values over 1024 times those of the median block, the first in row 7";
    assert_eq!(by_rule(&report, "block-scale"), [("warning", UP, expected)]);
    assert_eq!(report["errors"], json!(0), "a warning, for no rule is broken");

    let mut blocks = 0;
    let empty = forged(|bytes| {
        blocks = bytes.len() / BLOCK;
        bytes.chunks_mut(BLOCK).step_by(3).for_each(|block| block[..2].fill(0));
    });
    let report = audit(&[empty.path()]);
    let found = by_rule(&report, "zero-blocks");
    let count = |number: usize| {
        if number < 1000 {
            number.to_string()
        } else {
            format!("{},{:03}", number / 1000, number % 1000)
        }
    };
    let expected = format!(
        "{} of {} blocks decode to nothing but zero",
        count(blocks.div_ceil(3)),
        count(blocks)
    );
    assert_eq!(found, [("warning", UP, &*expected)], "{report}");
}

#[test]
fn bytes_that_no_hash_covers_or_that_no_hash_fits_are_found() {
    let imported = Imported::new("tiny-llama", Some("int8"));
    let mut bytes = Forged::read(&imported.file);
    let at = bytes.tensor(UP).start + 5;
    bytes.bytes[at] ^= 1;
    fs::write(&imported.file, &bytes.bytes).unwrap();
    let report = audit(&[imported.path()]);
    let [hash] = by_rule(&report, "hash")[..] else { panic!("{report}") };
    assert_eq!((hash.0, hash.1), ("error", UP));
    assert!(hash.2.contains("the data is damaged"), "{hash:?}");

    let gguf = imported.folder.path().join("model.gguf");
    stdout(&["import", text(&model("tiny-llama")), "--quantize", "int8", "-o", text(&gguf)]);
    // Without our certificates, as from another program.
    let mut file = GgufFile::read(&fs::read(&gguf).unwrap()).without_keys("apr.");
    file.keys.retain(|key| key.name != "general.alignment");
    file.alignment = 4096;
    file.keys.push(Key::number("general.alignment", 4, 4096));
    let mut bytes = file.write();
    fs::write(&gguf, &bytes).unwrap();
    assert!(by_rule(&audit(&[text(&gguf)]), "padding").is_empty());
    *bytes.last_mut().unwrap() = 1;
    fs::write(&gguf, &bytes).unwrap();
    let report = audit(&[text(&gguf)]);
    let [padding] = by_rule(&report, "padding")[..] else { panic!("{report}") };
    assert_eq!(padding.0, "warning");
    assert!(padding.2.contains("not zero"), "{padding:?}");
}

/// A shipped model with one of its JSON files changed.
fn edited(name: &str, file: &str, edit: impl FnOnce(&mut Value)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_model(name, folder.path());
    let path = folder.path().join(file);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
    folder
}

fn report_on(folder: &Path) -> Value {
    audit(&[text(folder)])
}

#[test]
fn a_tokenizer_that_does_not_fit_the_model_is_found() {
    let ids = edited("tiny-llama", "config.json", |config| {
        config["eos_token_id"] = json!([0, 2048]);
    });
    let report = report_on(ids.path());
    let expected = "eos_token_id is 2048, the embedding has 2048 rows";
    assert_eq!(by_rule(&report, "special-token"), [("warning", "", expected)]);
    let said = failure(&["audit", text(ids.path()), "--fail-on", "warning"]);
    assert!(said.contains(expected), "{said}");

    let more = edited("tiny-llama", "tokenizer.json", |tokenizer| {
        let mut token = tokenizer["added_tokens"][0].clone();
        (token["id"], token["content"]) = (json!(2048), json!("<|one more|>"));
        tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    });
    let report = report_on(more.path());
    let expected = "2049 tokens, the embedding has 2048 rows";
    assert_eq!(by_rule(&report, "vocabulary"), [("error", "", expected)]);
    let against = audit(&[text(more.path()), "--against", text(&model("tiny-llama"))]);
    let [differs] = by_rule(&against, "tokenizer-differs")[..] else { panic!("{against}") };
    assert!(differs.2.contains("token 2048 is \"<|one more|>\" here and no token there"));

    let lower = edited("tiny-llama", "tokenizer.json", |tokenizer| {
        tokenizer["normalizer"] = json!({"type": "Lowercase"});
    });
    let report = report_on(lower.path());
    let found = by_rule(&report, "round-trip");
    assert!(!found.is_empty() && found.iter().all(|found| found.0 == "warning"), "{report}");
    assert!(found.iter().any(|found| found.2.contains("does not come back")), "{report}");

    let broken = edited("tiny-llama", "tokenizer.json", |tokenizer| {
        tokenizer["model"]["type"] = json!("nonsense");
    });
    let report = report_on(broken.path());
    assert_eq!(by_rule(&report, "tokenizer").len(), 1, "{report}");
    assert_eq!(report["errors"], json!(1), "{report}");
}

#[test]
fn tensors_that_are_not_those_of_the_base_are_found_through_quantization() {
    let damaged = changed("tiny-llama", |tensors| {
        let bytes = &mut find(tensors, UP).bytes;
        bytes[2 * 192 * 9..2 * (192 * 9 + 64)].fill(0);
    });
    let file = damaged.path().join("model.apr");
    stdout(&["import", text(damaged.path()), "--quantize", "int4", "-o", text(&file)]);
    let alone = audit(&[text(&file)]);
    assert!(by_rule(&alone, "departs-from-base").is_empty(), "{alone}");
    let report = audit(&[text(&file), "--against", text(&model("tiny-llama"))]);
    let [found] = by_rule(&report, "departs-from-base")[..] else { panic!("{report}") };
    assert_eq!((found.0, found.1), ("warning", UP));
    assert!(found.2.contains("row 9"), "{found:?}");
}

/// A shipped model with a chat template.
fn with_template(template: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_model("tiny-llama", folder.path());
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    folder
}

#[test]
fn a_chat_template_must_render_what_is_said() {
    let sound = "{% for m in messages %}{{ m.content }}{% endfor %}";
    for (template, rule, severity, words) in [
        (sound, None, "", ""),
        ("{% for %}", Some("chat-template-fails"), "error", "it cannot be read"),
        ("{{ raise_exception('no') }}", Some("chat-template-fails"), "error", "no"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
            Some("chat-template-fails"),
            "error",
            "it is stopped",
        ),
        ("{{ messages[0].content }}", Some("chat-template-loses"), "warning", "It is 42."),
    ] {
        let model = with_template(template);
        let report = audit(&[text(model.path())]);
        assert_eq!(report["errors"], u8::from(severity == "error"), "{template}: {report}");
        for any in ["chat-template-fails", "chat-template-loses"] {
            let found = by_rule(&report, any);
            assert_eq!(found.len(), usize::from(rule == Some(any)), "{template}: {report}");
            assert!(
                found.iter().all(|(level, _, said)| *level == severity && said.contains(words))
            );
        }
    }
}

#[test]
fn a_chat_template_is_held_against_that_of_the_base() {
    let with = with_template;
    let published = "{% for m in messages %}\n{{ m.content }}\n{% endfor %}";
    let (base, bare) = (with(published), model("tiny-llama"));
    let changed = with(&published.replace("m.content", "secret ~ m.content"));
    let file = base.path().join("model.gguf");
    stdout(&["import", text(changed.path()), "-o", text(&file)]);
    for (of, against, expected) in [
        (text(base.path()), text(base.path()), None),
        (text(base.path()), text(&bare), Some("the base model has none")),
        (text(&bare), text(base.path()), Some("the base model has one, this file has none")),
        (
            text(&file),
            text(base.path()),
            Some("line 2 is \"{{ secret ~ m.content }}\", in the base model \"{{ m.content }}\""),
        ),
    ] {
        let report = audit(&[of, "--against", against]);
        let found = by_rule(&report, "chat-template-differs");
        let expected: Vec<_> =
            expected.into_iter().map(|message| ("warning", "", message)).collect();
        assert_eq!(found, expected, "{of} {against}");
    }
    let size = published.len();
    let expected = format!("a chat template of {size} B; read it before you trust it");
    let report = audit(&[text(base.path())]);
    assert_eq!(by_rule(&report, "chat-template"), [("info", "", &*expected)]);
    let long = with(&"x".repeat((1 << 16) + 1));
    let report = audit(&[text(long.path())]);
    assert_eq!(by_rule(&report, "chat-template-long").len(), 1, "{report}");
}
