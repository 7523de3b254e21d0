//! Files made to break readers, one for each weakness that was published of programs like this one
//! (docs/security.md): every verb that reads refuses them, by name, and leaves nothing behind.

use crate::checkpoints::{copy_model, split_into_shards};
use crate::gguf_file::{GgufFile, Key, Tensor};
use crate::harness::{Forged, Imported, apr, json, model, stdout, text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// The verbs that read a model, with what they need beside it.
const READERS: [&[&str]; 8] = [
    &["inspect", "INPUT"],
    &["tensors", "INPUT"],
    &["lint", "INPUT"],
    &["tree", "INPUT"],
    &["validate", "INPUT"],
    &["run", "INPUT", "-p", "one", "-n", "1"],
    &["import", "INPUT", "-o", "OUTPUT"],
    &["verify", "INPUT", "--against", "INPUT"],
];

/// What ends a verb that waits or loops for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Expects that every reader refuses the input with exit code 1, in a line with all these words,
/// and writes nothing.
fn refused(input: &Path, words: &[&str]) {
    let target = tempfile::tempdir().unwrap();
    let output = target.path().join("out.apr");
    for reader in READERS {
        let args: Vec<&str> = reader
            .iter()
            .map(|&word| match word {
                "INPUT" => text(input),
                "OUTPUT" => text(&output),
                word => word,
            })
            .collect();
        let done = apr(&args).timeout(PATIENCE).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "apr {args:?}: {}\n{said}", done.status);
        assert!(said.lines().count() == 1 && !said.contains("internal error"), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "apr {args:?} does not say {word:?}: {said}");
        }
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "apr {args:?} left a file");
    }
}

fn refused_bytes(bytes: &[u8], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attack");
    fs::write(&path, bytes).unwrap();
    refused(&path, &[&[text(&path)], words].concat());
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0x3c; data]].concat()
}

fn one_tensor(shape: &str, offsets: &str, data: usize) -> Vec<u8> {
    let entry = format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#);
    safetensors(&format!(r#"{{"victim.weight":{entry}}}"#), data)
}

/// A GGUF file of these tensors, whose data are cut or padded to `data` bytes each.
fn gguf(tensors: &[(&[u64], u32, usize)]) -> Vec<u8> {
    let tensors = (0..)
        .zip(tensors)
        .map(|(at, (dims, dtype, data))| Tensor {
            name: format!("victim.{at}.weight"),
            dims: dims.to_vec(),
            dtype: *dtype,
            data: vec![0x3c; *data],
        })
        .collect();
    let mut architecture = 5_u64.to_le_bytes().to_vec();
    architecture.extend(b"llama");
    let name = "general.architecture".to_owned();
    let keys = vec![Key { name, kind: 8, value: architecture }];
    let (version, big_endian, alignment, padded) = (3, false, 32, true);
    let mut file = GgufFile { version, big_endian, alignment, padded, keys, tensors };
    // Types that nobody has cannot be turned around; nothing is.
    file.tensors.iter_mut().for_each(|tensor| tensor.data.truncate(1 << 16));
    file.write()
}

const F32: u32 = 0;
const Q4_K: u32 = 12;

/// CVE-2026-7482: a quantizer that believed the size of a tensor, read past its buffer, and wrote
/// what lay there into its output.
#[test]
fn a_tensor_that_is_larger_than_its_file_is_refused() {
    refused_bytes(&one_tensor("[64]", "[0,256]", 8), &["tensor data needs", "truncated"]);
    refused_bytes(&one_tensor("[64]", "[0,8]", 8), &["victim.weight", "takes 256 bytes, found 8"]);
    refused_bytes(&gguf(&[(&[64], F32, 8)]), &["tensor data needs", "truncated"]);
    refused_bytes(&gguf(&[(&[1 << 40, 1 << 10], F32, 8)]), &["tensor data needs", "truncated"]);
    let imported = Imported::new("tiny-llama", Some("int8"));
    let mut forged = Forged::read(&imported.file);
    let entry = forged.entry("model.norm.weight");
    let len = forged.u64_at(entry + 16);
    forged.put_u64(entry + 16, len * 2);
    forged.put_u64(entry + 120, len);
    forged.seal(&imported.file);
    refused(&imported.file, &["model.apr", "data_len"]);
}

/// CVE-2025-53630 and CVE-2026-27940: sizes of GGUF tensors that wrapped around, in a product, with
/// the padding, or in the sum of all tensors.
#[test]
fn sizes_that_pass_the_address_space_are_refused() {
    for dims in [&[1_u64 << 32, 1 << 32][..], &[u64::MAX], &[1 << 62, 4], &[2, 0, 1 << 63]] {
        refused_bytes(&gguf(&[(dims, F32, 8)]), &["victim.0.weight", "too large to address"]);
    }
    refused_bytes(&gguf(&[(&[1 << 63, 256], Q4_K, 8)]), &["victim.0.weight", "too large"]);
    // Each can be addressed; with the padding behind it, or both together, they cannot.
    let most = u64::MAX / 4;
    refused_bytes(&gguf(&[(&[most], F32, 8)]), &["tensor data needs", "truncated"]);
    refused_bytes(
        &gguf(&[(&[most], F32, 8), (&[most], F32, 8)]),
        &["victim.1.weight", "begins at"],
    );
    for (shape, words) in [
        ("[18446744073709551615]", "too large to address"),
        ("[4294967296,4294967296]", "too large to address"),
        ("[9223372036854775808,2,0]", "too large to address"),
        ("[4611686018427387903]", "found 8"),
    ] {
        refused_bytes(&one_tensor(shape, "[0,8]", 8), &["victim.weight", words]);
    }
}

/// `with_capacity(untrusted)`: counts that no file of this size can hold.
#[test]
fn counts_that_the_file_cannot_hold_are_refused_before_memory_is_asked_for() {
    let header = |tensors: u64, keys: u64| {
        [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
    };
    for count in [1 << 20, 1 << 40, u64::MAX / 24, u64::MAX] {
        refused_bytes(&header(count, 0), &["list of tensors needs"]);
        refused_bytes(&header(0, count), &["list of keys needs"]);
        let array = |kind: u32| {
            let key = [&1_u64.to_le_bytes()[..], b"k", &9_u32.to_le_bytes(), &kind.to_le_bytes()];
            [header(0, 1), key.concat(), count.to_le_bytes().to_vec()].concat()
        };
        for kind in [0, 8, 9, 10] {
            refused_bytes(&array(kind), &["GGUF array needs"]);
        }
        let text = [header(0, 1), count.to_le_bytes().to_vec(), b"k".to_vec()].concat();
        refused_bytes(&text, &["needs"]);
    }
    refused_bytes(&[&99_000_000_u64.to_le_bytes()[..], b"{\"a\":0}"].concat(), &["header needs"]);
}

/// The same with counts that are true, of values that are far larger in memory than in the file.
#[test]
fn small_files_of_many_values_are_refused_before_they_fill_the_memory() {
    let header = |tensors: u64, keys: u64| {
        [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
    };
    let bytes = 4_usize << 20;
    let mut array = [header(0, 1), 1_u64.to_le_bytes().to_vec(), b"k".to_vec()].concat();
    array.extend([9_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat());
    array.extend((bytes as u64).to_le_bytes());
    array.resize(array.len() + bytes, 1);
    refused_bytes(&array, &["4194304 values in GGUF arrays", "does not justify"]);
    let zeros = "0,".repeat(bytes);
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":[{zeros}0],"data_offsets":[0,0]}}}}"#);
    refused_bytes(&safetensors(&header, 0), &["values of JSON", "does not justify"]);
    let folder = tempfile::tempdir().unwrap();
    copy_model("tiny-llama", folder.path());
    fs::write(folder.path().join("config.json"), format!("[{zeros}0]")).unwrap();
    refused(folder.path(), &["config.json", "values of JSON"]);
}

/// A block size of zero divided by, and types that fell through to another.
#[test]
fn types_and_alignments_that_nobody_has_are_refused() {
    for dtype in [4, 5, 9, 15, 31, 33, 36, 38, 40, 0x1000, u32::MAX] {
        let words = format!("unknown type {dtype}");
        refused_bytes(&gguf(&[(&[32], dtype, 64)]), &["victim.0.weight", &words]);
    }
    let aligned = |alignment: u64| {
        let mut file = GgufFile::read(&gguf(&[(&[32], F32, 128)]));
        file.keys.push(Key::number("general.alignment", 10, alignment));
        file.write()
    };
    for alignment in [0, 3, 1 << 40, u64::MAX] {
        refused_bytes(&aligned(alignment), &["general.alignment", "power of two"]);
    }
    refused_bytes(&gguf(&[(&[31], Q4_K, 144)]), &["victim.0.weight", "no multiple of the 256"]);
    let folder = tempfile::tempdir().unwrap();
    for key in ["num_attention_heads", "num_key_value_heads", "hidden_size", "vocab_size"] {
        copy_model("tiny-llama", folder.path());
        edit_json(&folder.path().join("config.json"), |config| config[key] = json!(0));
        let args = ["import", text(folder.path()), "-o", "/nonexistent/x.apr"];
        let done = apr(&args).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(1) && said.contains(key), "{key}: {said}");
    }
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// A number in the name of one tensor that would make it a model of as many layers.
#[test]
fn a_layer_past_all_layers_is_an_unknown_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blob");
    let names = ["model.layers.18446744073709551614.mlp.up_proj.weight", "model.norm.weight"];
    let entry = |at: usize| {
        format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, at * 4, at * 4 + 4)
    };
    let header = format!(r#"{{"{}":{},"{}":{}}}"#, names[0], entry(0), names[1], entry(1));
    fs::write(&path, safetensors(&header, 8)).unwrap();
    for verb in ["lint", "tree", "tensors", "debug"] {
        let done = apr(&[verb, text(&path), "--json"]).timeout(PATIENCE).output().unwrap();
        assert!(matches!(done.status.code(), Some(0 | 1)), "{verb}: {}", done.status);
        assert!(serde_json::from_slice::<Value>(&done.stdout).is_ok(), "{verb}");
    }
    assert_eq!(json(&["tree", text(&path)])["num_layers"], json!(0));
}

/// A header that comes through a pipe claims sizes that nothing backs.
#[test]
fn claims_of_a_piped_header_cost_nothing() {
    let size = |dims: &[u64]| (dims.to_vec(), F32, 0);
    let claims = [size(&[1 << 61]), size(&[1 << 60, 1])];
    let mut file = GgufFile::read(&gguf(&[(&[0], F32, 0), (&[0], F32, 0)]));
    for (tensor, (dims, dtype, _)) in file.tensors.iter_mut().zip(claims) {
        (tensor.dims, tensor.dtype) = (dims, dtype);
    }
    file.tensors[0].name = "rope_freqs.weight".to_owned();
    file.tensors.truncate(1);
    let done = apr(&["inspect", "-"]).write_stdin(file.write()).timeout(PATIENCE).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("rope_freqs.weight"), "{said}");
}

const INDEX: &str = "model.safetensors.index.json";
const SHARD: &str = "model-00002-of-00003.safetensors";

/// A checkpoint of three shards, in a folder beside which others may lie.
fn sharded() -> (TempDir, std::path::PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("checkpoint");
    split_into_shards("tiny-qwen2", &folder, 3);
    (root, folder)
}

/// Shard names are paths (ONNX needed three fixes): a prefix of the folder's name, `..`, links.
#[test]
fn shards_that_lie_elsewhere_are_refused() {
    let (root, folder) = sharded();
    let beside = root.path().join("checkpoint-private");
    fs::create_dir(&beside).unwrap();
    fs::rename(folder.join(SHARD), beside.join(SHARD)).unwrap();
    let index = fs::read_to_string(folder.join(INDEX)).unwrap();
    let absolute = beside.join(SHARD);
    for name in [&format!("../checkpoint-private/{SHARD}")[..], "..", text(&absolute), "a\\b"] {
        edit_json(&folder.join(INDEX), |index| {
            for shard in index["weight_map"].as_object_mut().unwrap().values_mut() {
                if shard == SHARD {
                    *shard = json!(name);
                }
            }
        });
        refused(&folder, &[INDEX, "is no plain file name"]);
        fs::write(folder.join(INDEX), &index).unwrap();
    }
    for target in [absolute.clone(), Path::new("../checkpoint-private").join(SHARD)] {
        std::os::unix::fs::symlink(&target, folder.join(SHARD)).unwrap();
        refused(&folder, &[SHARD, "a link to", "out of its folder"]);
        fs::remove_file(folder.join(SHARD)).unwrap();
    }
    // A folder that is a link into another does not help.
    std::os::unix::fs::symlink(&beside, folder.join("sub")).unwrap();
    std::os::unix::fs::symlink(Path::new("sub").join(SHARD), folder.join(SHARD)).unwrap();
    refused(&folder, &[SHARD, "out of its folder"]);
    // As the hub's cache has it, and within the folder, links are what they always were.
    for target in ["../models--a--b/blobs/digest", "digest"] {
        fs::remove_file(folder.join(SHARD)).unwrap();
        let place = folder.join(target);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&absolute, &place).unwrap();
        std::os::unix::fs::symlink(target, folder.join(SHARD)).unwrap();
        stdout(&["validate", text(&folder)]);
    }
}

/// A link among the files beside the weights would carry a private file into a model that is
/// published, as its chat template.
#[test]
fn files_beside_the_weights_are_no_links_to_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let (folder, key) = (root.path().join("model"), root.path().join("id_ed25519"));
    fs::write(&key, "SECRET").unwrap();
    for name in [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ] {
        copy_model("tiny-llama", &folder);
        let path = folder.join(name);
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(&key, &path).unwrap();
        refused(&folder, &[name, "a link to", "out of its folder"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}

/// A pipe where a file is expected keeps a reader waiting for ever.
#[test]
fn pipes_and_folders_in_place_of_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("model");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        copy_model("tiny-llama", &folder);
        fs::remove_file(folder.join(name)).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.join(name)).status().unwrap();
        assert!(made.success());
        refused(&folder, &[name, "not a regular file"]);
        fs::remove_file(folder.join(name)).unwrap();
        fs::create_dir(folder.join(name)).unwrap();
        refused(&folder, &[name, "not a regular file"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}

/// CVE-2024-34359 and CVE-2026-5760: chat templates are programs. They are kept as text, and not
/// run where no one asked for a conversation.
#[test]
fn a_chat_template_is_text() {
    let root = tempfile::tempdir().unwrap();
    let (folder, file) = (root.path().join("model"), root.path().join("model.apr"));
    copy_model("tiny-llama", &folder);
    let proof = root.path().join("ran");
    let template = format!(
        "{{{{ ''.__class__.__mro__[1].__subclasses__()[104].__init__.__globals__['os'].system('touch {}') }}}}{{% for i in range(10**12) %}}{{% endfor %}}",
        text(&proof)
    );
    fs::write(folder.join("chat_template.jinja"), &template).unwrap();
    stdout(&["import", text(&folder), "-o", text(&file)]);
    let run = |path: &Path| json(&["run", text(path), "-p", "The capital", "-n", "4"]);
    let (own, plain) = (run(&file), run(&model("tiny-llama")));
    assert_eq!(own["tokens"], plain["tokens"]);
    assert!(!proof.exists(), "the template was run");
    let kept = fs::read(&file).unwrap();
    assert!(kept.windows(11).any(|window| window == b"__globals__"), "the template was lost");
}

/// Names that command a terminal, reverse a line, or fill it.
#[test]
fn names_do_not_reach_the_terminal_as_commands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let hostile =
        "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\r\n\u{202e}gpj.weight\u{2028}\u{2066}\u{7f}";
    let long = "x".repeat(1 << 20);
    let header = json!({
        "__metadata__": {hostile: hostile},
        hostile: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        long: {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        "model.norm.weight": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]},
    });
    fs::write(&path, safetensors(&header.to_string(), 12)).unwrap();
    let path = text(&path);
    let calls: [&[&str]; 9] = [
        &["inspect", path],
        &["tensors", path],
        &["tree", path],
        &["lint", path],
        &["debug", path],
        &["validate", path],
        &["hex", path, "--header"],
        &["hex", path, "--tensor", "gpj", "--stats"],
        &["import", path, "-o", "/nonexistent/x.apr"],
    ];
    let obeyed = |c: char| {
        c != '\n' && (c.is_control() || matches!(u32::from(c), 0x2028..=0x202e | 0x2066..=0x2069))
    };
    for call in calls {
        for json in [None, Some("--json")] {
            let done = apr(call).args(json).timeout(PATIENCE).output().unwrap();
            assert!(matches!(done.status.code(), Some(0 | 1)), "{call:?}: {}", done.status);
            for bytes in [&done.stdout, &done.stderr] {
                let found = std::str::from_utf8(bytes).unwrap().chars().find(|c| obeyed(*c));
                assert_eq!(found, None, "apr {call:?} {json:?}");
            }
            if json.is_some() {
                assert!(serde_json::from_slice::<Value>(&done.stdout).is_ok(), "{call:?}");
            }
        }
    }
    let listed = json(&["tensors", path]);
    let names: Vec<&str> =
        listed["tensors"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert!(names.contains(&hostile), "the name is another in JSON");
}
