//! The contract of the command line: what programs that call `apr` rely on.

use crate::checkpoints::{SafeTensors, StoredTensor, copy_model, split_into_shards};
use crate::harness::{
    Forged, Golden, Imported, MODELS, PROMPTS, apr, assert_described, failure, heldout, json,
    model, relabel, stdout, text, verbs,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A sound call of every verb.
struct Calls {
    stored: Imported,
    target: TempDir,
}

impl Calls {
    fn new() -> Self {
        Self {
            stored: Imported::new("tiny-llama", Some("int8")),
            target: tempfile::tempdir().unwrap(),
        }
    }

    fn all(&self) -> Vec<Vec<String>> {
        let (source, heldout) = (model("tiny-llama"), heldout());
        let output = self.target.path().join("model.apr");
        let page = self.target.path().join("page.html");
        let (source, stored, output) = (text(&source), self.stored.path(), text(&output));
        let page = text(&page);
        let calls: &[&[&str]] = &[
            &["import", source, "--quantize", "int4", "-o", output],
            &["import", source, "--quantize", "int4", "--plan"],
            &["run", source, "-p", "one", "-n", "4"],
            &["run", stored, "one", "-n", "4"],
            &["verify", stored, "--against", source],
            &["bench", stored, "--iterations", "1", "--gen-tokens", "4"],
            &["eval", stored, "--text", text(&heldout)],
            &["eval", stored, "--reference", source, "--window", "64"],
            &["check", stored],
            &["qa", stored],
            &["parity", stored, "--path", "cpu"],
            &["trace", stored],
            &["trace", stored, "--against", source],
            &["report", stored, "-o", page],
            &["report", stored, "--against", source, "--no-eval", "-o", page],
            &["diff", stored, source],
            &["compare-hf", stored, "--hf", source],
            &["rosetta", "diff-tensors", stored, source],
            &["audit", stored, "--against", source],
            &["inspect", source],
            &["inspect", stored],
            &["tensors", stored],
            &["tree", source],
            &["hex", source],
            &["hex", stored, "--tensor", "model.norm"],
            &["hex", stored, "--tensor", "embed", "--stats"],
            &["hex", source, "--tensor", "embed", "--distribution"],
            &["hex", stored, "--tensor", "embed", "--slice", "0:2,3"],
            &["validate", source],
            &["validate", stored],
            &["list"],
            &["schema", "inspect"],
            &["doctor"],
            &["completions", "zsh"],
            &["man"],
        ];
        calls.iter().map(|call| call.iter().map(|&word| word.to_owned()).collect()).collect()
    }
}

fn words(call: &[String]) -> Vec<&str> {
    call.iter().map(String::as_str).collect()
}

#[test]
fn the_version_names_the_program() {
    let version = stdout(&["--version"]);
    assert!(version.starts_with("apr "), "{version:?}");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

#[test]
fn every_verb_explains_its_arguments() {
    for verb in verbs() {
        let verb = verb.as_str();
        let help = stdout(&[verb, "--help"]);
        for part in [format!("Usage: apr {verb}"), "--json".to_owned()] {
            assert!(help.contains(&part), "{verb} --help lacks {part:?}:\n{help}");
        }
    }
}

#[test]
fn wrong_usage_is_explained_and_prints_no_report() {
    let calls: [&[&str]; 10] = [
        &[],
        &["run", "model", "-p", "one", "-t", "-1"],
        &["run", "model", "-p", "one", "--top-p", "2"],
        &["run", "model", "-p", "one", "--top-p", "nan"],
        &["run"],
        &["run", "model"],
        &["import", "model"],
        &["verify", "model.apr"],
        &["run", "model", "-p", "one", "-n", "many"],
        &["no-such-verb"],
    ];
    for args in calls {
        let output = apr(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "apr {args:?}: {stderr}");
        assert!(stderr.contains("Usage:") || stderr.contains("--help"), "apr {args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "apr {args:?} prints a report of wrong usage");
    }
}

#[test]
fn json_is_one_document_wherever_the_flag_stands() {
    let calls = Calls::new();
    for call in calls.all() {
        let call = words(&call);
        let (behind, before) =
            ([&call, &["--json"][..]].concat(), [&["--json"], &call[..]].concat());
        for args in [behind, before] {
            let printed = stdout(&args);
            let document: Result<Value, _> = serde_json::from_str(&printed);
            let document = document.unwrap_or_else(|_| panic!("apr {args:?} prints {printed:?}"));
            assert!(document.is_object(), "apr {args:?} prints {printed:?}");
            assert_described(call[0], &document);
        }
    }
}

#[test]
fn a_failure_is_described_too_and_a_wrong_document_is_noticed() {
    let output = apr(&["inspect", "/no/such/file", "--json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_described("error", &document);
    let sound = json(&["inspect", text(&model("tiny-llama"))]);
    let schema = json(&["schema", "inspect"]);
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    assert!(validator.is_valid(&sound));
    for (key, wrong) in [("num_layers", json!("4")), ("no_such_key", json!(1))] {
        let mut document = sound.clone();
        document[key] = wrong;
        assert!(!validator.is_valid(&document), "{key}");
    }
    assert!(!validator.is_valid(&document), "the document of a failure");
}

#[test]
fn nothing_is_coloured_when_the_stream_is_no_terminal() {
    let calls = Calls::new();
    let mut all = calls.all();
    for verb in verbs() {
        all.push(vec![verb.clone(), "--help".to_owned()]);
        all.push(vec![verb, "--no-such-flag".to_owned()]);
    }
    all.push(vec!["inspect".to_owned(), "/no/such/file".to_owned()]);
    for call in all {
        let output = apr(&words(&call)).output().unwrap();
        for stream in [output.stdout, output.stderr] {
            assert!(!stream.contains(&0x1B), "{call:?}: {}", String::from_utf8_lossy(&stream));
        }
    }
}

#[test]
fn a_closed_pipe_ends_a_verb_quietly() {
    let calls = Calls::new();
    for call in calls.all() {
        for json in [None, Some("--json")] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let output = Command::new(env!("CARGO_BIN_EXE_apr"))
                .args(&call)
                .args(json)
                .stdout(writer)
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{call:?} {json:?}: {}\n{stderr}", output.status);
            assert!(stderr.is_empty(), "{call:?} {json:?} complains: {stderr}");
        }
    }
}

#[test]
fn both_grammars_of_run_give_the_tokens_of_the_golden() {
    for name in MODELS {
        let (folder, stored) = (model(name), Imported::new(name, None));
        for prompt in PROMPTS {
            let golden = Golden::load(name, prompt);
            for path in [text(&folder), stored.path()] {
                let first = json(&["run", path, "-p", &golden.prompt, "-n", "32"]);
                let second = ["-n", "32", "-t", "0", "--raw", "-f", "json"];
                let second = stdout(&[&["run", path, &golden.prompt], &second[..]].concat());
                for document in [first, serde_json::from_str(&second).unwrap()] {
                    assert_eq!(document["tokens"], json!(golden.tokens), "{path} {prompt}");
                    assert_eq!(document["text"], json!(golden.text), "{path} {prompt}");
                }
            }
        }
    }
}

#[test]
fn text_mode_prints_the_text_and_a_new_line() {
    for name in MODELS {
        for prompt in PROMPTS {
            let (golden, folder) = (Golden::load(name, prompt), model(name));
            let output = apr(&["run", text(&folder), "-p", &golden.prompt, "-n", "32"]);
            let output = { output }.output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(printed, golden.text + "\n", "{name} {prompt}");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(stderr, "", "{name} {prompt}: a remark that nobody reads");
        }
    }
}

#[test]
fn a_stop_text_ends_the_text_where_it_begins() {
    let (golden, folder) = (Golden::load("tiny-llama", "completion"), model("tiny-llama"));
    let characters: Vec<char> = golden.text.chars().collect();
    for range in [10..13, 20..21, 5..25] {
        let stop: String = characters[range].iter().collect();
        let expected = golden.text.split(&stop).next().unwrap();
        let args = ["run", text(&folder), "-p", &golden.prompt, "-n", "32", "--stop", &stop];
        let document = json(&args);
        assert_eq!(document["text"], json!(expected), "{stop:?}");
        let count = document["tokens"].as_array().unwrap().len();
        assert!(count < 32, "{count} tokens although {stop:?} occurs");
        assert_eq!(document["tokens"], json!(golden.tokens[..count]), "{stop:?}");
        assert_eq!(stdout(&args), format!("{expected}\n"), "{stop:?}");
    }
    let never = ["run", text(&folder), "-p", &golden.prompt, "-n", "32", "--stop", "\u{1}never"];
    assert_eq!(json(&never)["text"], json!(golden.text), "a stop text that does not occur");
}

#[test]
fn a_seed_decides_what_is_drawn_on_any_number_of_threads() {
    let folder = model("tiny-qwen2");
    let draw = |seed: &str, threads: &str| {
        let args = ["-p", "The capital", "-n", "32", "-t", "1.5", "--top-k", "40"];
        let how = ["--seed", seed, "--threads", threads];
        json(&[&["run", text(&folder)], &args[..], &how].concat())["tokens"].clone()
    };
    for seed in ["1", "2", "18446744073709551615"] {
        assert_eq!(draw(seed, "1"), draw(seed, "3"), "seed {seed}");
    }
    assert_ne!(draw("1", "1"), draw("2", "1"), "two seeds draw the same 32 tokens");
}

#[test]
fn generation_ends_after_the_number_of_tokens_or_at_the_end_token() {
    let folder = model("tiny-llama");
    let run = |extra: &[&str]| {
        json(&[&["run", text(&folder), "-p", "The capital of France is"], extra].concat())
    };
    for count in ["0", "1", "17"] {
        let tokens = run(&["-n", count])["tokens"].as_array().unwrap().len();
        assert_eq!(tokens.to_string(), count, "number of tokens");
    }
    let free = run(&[]);
    assert_eq!(free["stop_reason"], "end_token", "{free}");
    assert_eq!(free["tokens"].as_array().unwrap().last(), Some(&json!(0)), "{free}");
    let said = free["text"].as_str().unwrap();
    assert!(!said.contains("<|endoftext|>"), "the end token is part of the text: {said:?}");
}

#[test]
fn a_kernel_table_can_be_forced() {
    let folder = model("tiny-llama");
    let run = |table: &str| {
        let mut command = apr(&["run", text(&folder), "-p", "one", "-n", "2", "--json"]);
        command.env("APR_KERNELS", table).output().unwrap()
    };
    let document: Value = serde_json::from_slice(&run("scalar").stdout).unwrap();
    assert_eq!(document["kernels"], "scalar", "{document}");
    let unknown = run("abacus");
    let stderr = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("abacus") && stderr.lines().count() == 1, "{stderr}");
}

/// What a shipped model is: architecture, layers, heads, kv heads, hidden size, vocabulary.
const FACTS: [(&str, &str, [usize; 5]); 3] = [
    ("tiny-llama", "llama", [4, 6, 2, 192, 2048]),
    ("tiny-qwen2", "qwen2", [4, 4, 2, 256, 2048]),
    ("tiny-gpt2", "gpt2", [4, 6, 6, 192, 2048]),
];

/// The weights of a shipped model, read independently.
fn weights(name: &str) -> SafeTensors {
    SafeTensors::read(&model(name).join("model.safetensors"))
}

fn elements(shape: &[usize]) -> usize {
    if shape.is_empty() { 0 } else { shape.iter().product() }
}

/// What `inspect --json` must print of a SafeTensors file with a configuration.
fn expected_inspection(name: &str) -> Value {
    let (_, architecture, [layers, heads, kv_heads, hidden, vocabulary]) =
        FACTS.into_iter().find(|(model, ..)| *model == name).unwrap();
    let tensors = weights(name).tensors;
    let size = fs::metadata(model(name).join("model.safetensors")).unwrap().len();
    json!({
        "architecture": architecture, "num_layers": layers, "num_heads": heads,
        "num_kv_heads": kv_heads, "hidden_size": hidden, "vocab_size": vocabulary,
        "format": "safetensors", "file_size": size, "tensor_count": tensors.len(),
        "total_params": tensors.iter().map(|tensor| elements(&tensor.shape)).sum::<usize>(),
        "metadata": {"format": "pt"},
    })
}

/// Every key of `expected` with its value; others may be there too.
fn assert_holds(found: &Value, expected: &Value, what: &str) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key} of {what}");
    }
}

#[test]
fn inspect_says_what_a_folder_is() {
    for name in MODELS {
        let folder = model(name);
        assert_holds(&json(&["inspect", text(&folder)]), &expected_inspection(name), name);
        let file = folder.join("model.safetensors");
        assert_holds(&json(&["inspect", text(&file)]), &expected_inspection(name), name);
    }
}

#[test]
fn inspect_says_what_an_apr_file_is() {
    for name in MODELS {
        let stored = Imported::new(name, Some("int4"));
        let forged = Forged::read(&stored.file);
        let entries = forged.entries();
        let params: usize = entries.iter().map(|(_, at)| elements(&forged.shape(*at))).sum();
        let mut expected = expected_inspection(name);
        expected["format"] = json!("apr");
        expected["file_size"] = json!(forged.bytes.len());
        expected["tensor_count"] = json!(entries.len());
        expected["total_params"] = json!(params);
        expected.as_object_mut().unwrap().remove("metadata");
        let found = json(&["inspect", stored.path()]);
        assert_holds(&found, &expected, name);
        let of_source = &found["metadata"]["source_metadata"];
        assert_eq!(of_source, &json!({"format": "pt"}), "metadata of the source of {name}");
    }
}

#[test]
fn inspect_finds_the_architecture_of_a_file_without_name_and_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let blob = folder.path().join(format!("blob-of-{name}"));
        fs::copy(model(name).join("model.safetensors"), &blob).unwrap();
        let mut expected = expected_inspection(name);
        // No tensor tells the number of heads, and nothing is guessed.
        expected["num_heads"] = Value::Null;
        expected["num_kv_heads"] = Value::Null;
        assert_holds(&json(&["inspect", text(&blob)]), &expected, name);
    }
}

/// Runs a verb with bytes on standard input, in a folder.
fn piped(args: &[&str], bytes: &[u8], folder: &Path) -> Value {
    let mut command = apr(args);
    let output = command.arg("--json").current_dir(folder).write_stdin(bytes).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "apr {args:?}: {}\n{stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A document without what it says of where the model was found.
fn unnamed(mut document: Value) -> Value {
    let object = document.as_object_mut().unwrap();
    object.remove("name");
    for file in object.get_mut("files").and_then(Value::as_array_mut).into_iter().flatten() {
        file.as_object_mut().unwrap().remove("path");
    }
    document
}

/// The part of a SafeTensors file before its tensors.
fn header(name: &str) -> Vec<u8> {
    let mut bytes = fs::read(model(name).join("model.safetensors")).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes.truncate(8 + len);
    bytes
}

#[test]
fn the_header_suffices_on_a_pipe() {
    let elsewhere = tempfile::tempdir().unwrap();
    for name in MODELS {
        let stored = Imported::new(name, Some("int8"));
        let forged = Forged::read(&stored.file);
        let bare = elsewhere.path().join(name);
        fs::copy(model(name).join("model.safetensors"), &bare).unwrap();
        let longer = [header(name), vec![0; 5000]].concat();
        let sources = [
            (header(name), bare.clone()),
            (longer, bare),
            (forged.bytes[..forged.data()].to_vec(), stored.file.clone()),
            (forged.bytes[..forged.bytes.len() / 2].to_vec(), stored.file),
        ];
        for (bytes, file) in sources {
            for verb in ["inspect", "tensors", "tree", "hex"] {
                let expected = unnamed(json(&[verb, text(&file)]));
                for path in ["-", "/dev/stdin"] {
                    let found = unnamed(piped(&[verb, path], &bytes, elsewhere.path()));
                    assert_eq!(found, expected, "{verb} {path} of {name}");
                }
            }
        }
    }
}

#[test]
fn a_piped_model_is_not_described_by_the_configuration_of_the_current_folder() {
    let found = piped(&["inspect", "-"], &header("tiny-llama"), &model("tiny-gpt2"));
    assert_eq!(found["architecture"], "llama", "config.json beside no file was read: {found}");
}

#[test]
fn a_header_that_ends_early_on_a_pipe_is_refused() {
    let (bytes, stored) = (header("tiny-gpt2"), Imported::new("tiny-gpt2", None));
    let forged = Forged::read(&stored.file);
    let ends = [
        (&bytes[..0], "empty"),
        (&bytes[..70], "truncated"),
        (&bytes[..bytes.len() - 1], "truncated"),
        (&forged.bytes[..70], "truncated"),
        (&forged.bytes[..forged.data() - 1], "truncated"),
    ];
    for (bytes, cause) in ends {
        let output = apr(&["inspect", "-"]).write_stdin(bytes).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{} bytes: {stderr}", bytes.len());
        assert!(stderr.contains(cause), "{} bytes: {stderr}", bytes.len());
    }
}

#[test]
fn a_pipe_is_refused_where_the_tensors_are_needed() {
    let stderr = failure(&["validate", "-"]);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn inspect_shows_the_metadata_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labelled");
    let metadata = json!({"format": "pt", "licence": "MIT", "": "empty key", "naïve": "ключ"});
    relabel("tiny-qwen2", &metadata, &file);
    assert_eq!(json(&["inspect", text(&file)])["metadata"], metadata, "__metadata__");
}

#[test]
fn a_tensor_without_dimensions_is_a_tensor_but_no_parameters() {
    let folder = tempfile::tempdir().unwrap();
    copy_model("tiny-gpt2", folder.path());
    let mut weights = weights("tiny-gpt2");
    let (name, dtype) = ("h.0.attn.masked_bias".to_owned(), "F32".to_owned());
    let bytes = (-1e4f32).to_le_bytes().to_vec();
    weights.tensors.push(StoredTensor { name, dtype, shape: Vec::new(), bytes });
    let file = folder.path().join("model.safetensors");
    weights.write(&file);
    let found = json(&["inspect", text(folder.path())]);
    assert_eq!(found["tensor_count"], json!(weights.tensors.len()), "{found}");
    assert_eq!(found["total_params"], expected_inspection("tiny-gpt2")["total_params"], "{found}");
    let output = folder.path().join("model.apr");
    stdout(&["import", text(folder.path()), "-o", text(&output)]);
    stdout(&["verify", text(&output), "--against", text(folder.path())]);
}

/// Name, shape and type of every tensor that `tensors --json` lists.
fn listed(path: &str) -> BTreeMap<String, (Value, Value)> {
    let list = json(&["tensors", path]);
    let list = list["tensors"].as_array().unwrap();
    let tensor = |tensor: &Value| {
        let name = tensor["name"].as_str().unwrap().to_owned();
        (name, (tensor["shape"].clone(), tensor["dtype"].clone()))
    };
    let map: BTreeMap<_, _> = list.iter().map(tensor).collect();
    assert_eq!(map.len(), list.len(), "{path}: a tensor is listed twice");
    map
}

#[test]
fn tensors_lists_what_the_header_of_the_file_says() {
    for name in MODELS {
        let folder = model(name);
        let expected: BTreeMap<_, _> = weights(name)
            .tensors
            .into_iter()
            .map(|tensor| (tensor.name, (json!(tensor.shape), json!(tensor.dtype))))
            .collect();
        assert_eq!(listed(text(&folder)), expected, "{name}");
        assert_eq!(listed(text(&folder.join("model.safetensors"))), expected, "{name}");
    }
}

/// The names of the types of docs/format.md that a recipe gives.
fn type_name(number: u32) -> &'static str {
    let names = [(0, "F32"), (1, "F16"), (2, "Q4_0"), (8, "Q8_0"), (30, "BF16")];
    names.into_iter().find(|(known, _)| *known == number).unwrap().1
}

/// Name, shape, type and bytes of every tensor of an `.apr` file, read by docs/format.md.
fn stored_tensors(path: &Path) -> BTreeMap<String, (Value, Value, usize)> {
    let forged = Forged::read(path);
    let tensor = |(name, at): (String, usize)| {
        let number = u32::from_le_bytes(forged.bytes[at..at + 4].try_into().unwrap());
        let dtype = json!(type_name(number));
        (name, (json!(forged.shape(at)), dtype, forged.u64_at(at + 16)))
    };
    forged.entries().into_iter().map(tensor).collect()
}

#[test]
fn tensors_lists_what_the_index_of_an_apr_file_says() {
    for name in MODELS {
        let stored = Imported::new(name, Some("int4"));
        let expected: BTreeMap<_, _> = stored_tensors(&stored.file)
            .into_iter()
            .map(|(name, (shape, dtype, _))| (name, (shape, dtype)))
            .collect();
        assert_eq!(listed(stored.path()), expected, "{name}");
    }
}

#[test]
fn a_tensor_without_elements_is_listed_and_validated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut weights = weights("tiny-llama");
    for shape in [vec![0], vec![0, 4], vec![4, 0]] {
        let (name, dtype) = (format!("empty{shape:?}"), "F32".to_owned());
        weights.tensors.push(StoredTensor { name, dtype, shape, bytes: Vec::new() });
    }
    weights.write(&file);
    let list = listed(text(&file));
    assert_eq!(list["empty[4, 0]"], (json!([4, 0]), json!("F32")), "{list:?}");
    let output = apr(&["validate", text(&file), "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["total_tensors"], json!(weights.tensors.len()), "{report}");
    assert_eq!(output.status.code(), Some(1), "unknown tensors are no model: {report}");
}

/// Checks that a validation counts its own checks right.
fn assert_consistent(report: &Value, what: &str) {
    let checks = report["checks"].as_array().unwrap();
    let status = |status: &str| checks.iter().filter(|c| c["status"] == status).count();
    assert_eq!(report["total_checks"], json!(checks.len()), "{what}: {report}");
    assert_eq!(report["failed"], json!(status("FAIL")), "{what}: {report}");
    assert_eq!(status("PASS") + status("FAIL"), checks.len(), "{what}: {report}");
    let named = |check: &Value| check["name"].as_str().is_some_and(|name| !name.is_empty());
    assert!(!checks.is_empty() && checks.iter().all(named), "{what}: {report}");
}

#[test]
fn validate_passes_sound_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let (source, stored) = (model(name), Imported::new(name, Some("int4")));
        let blob = folder.path().join(name);
        fs::copy(source.join("model.safetensors"), &blob).unwrap();
        let published = weights(name).tensors.len();
        for (path, format, tensors) in [
            (&source, "safetensors", published),
            (&blob, "safetensors", published),
            (&stored.file, "apr", stored_tensors(&stored.file).len()),
        ] {
            let report = json(&["validate", text(path)]);
            let expected = json!({
                "failed": 0, "total_tensors": tensors, "total_nan": 0, "total_inf": 0,
                "format": format,
            });
            assert_holds(&report, &expected, text(path));
            assert_consistent(&report, text(path));
        }
    }
}

#[test]
fn validate_counts_values_that_are_not_finite_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blob");
    let (nan, inf, negative) = ([0xC0, 0x7F], [0x80, 0x7F], [0x80, 0xFF]);
    let cases: [(&[[u8; 2]], u64, u64); 4] =
        [(&[nan], 1, 0), (&[inf], 0, 1), (&[negative], 0, 1), (&[nan, inf, nan, negative], 2, 2)];
    for (values, total_nan, total_inf) in cases {
        let mut weights = weights("tiny-llama");
        // bf16, one value in each of the last tensors
        for (tensor, value) in weights.tensors.iter_mut().rev().zip(values) {
            tensor.bytes[64..66].copy_from_slice(value);
        }
        weights.write(&file);
        let output = apr(&["validate", text(&file), "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{values:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = json!({"failed": 1, "total_nan": total_nan, "total_inf": total_inf});
        assert_holds(&report, &expected, &format!("{values:?}"));
        assert_consistent(&report, &format!("{values:?}"));
        let last = weights.tensors.last().unwrap();
        let stderr = failure(&["validate", text(&file)]);
        let named =
            stderr.contains(text(&file)) && (values.len() > 1 || stderr.contains(&last.name));
        assert!(named && stderr.lines().count() == 1, "{values:?}: {stderr}");
    }
}

#[test]
fn a_sharded_checkpoint_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let source = model("tiny-qwen2");
    split_into_shards("tiny-qwen2", folder.path(), 3);
    let shards = |entry: fs::DirEntry| {
        let path = entry.path();
        path.extension()
            .is_some_and(|e| e == "safetensors")
            .then(|| entry.metadata().unwrap().len())
    };
    let entries = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
    let size: u64 = entries.filter_map(shards).sum();
    let mut expected = expected_inspection("tiny-qwen2");
    expected["file_size"] = json!(size);
    assert_holds(&json(&["inspect", text(folder.path())]), &expected, "three shards");
    assert_eq!(listed(text(folder.path())), listed(text(&source)), "tensors of three shards");
    let golden = Golden::load("tiny-qwen2", "code");
    let run = json(&["run", text(folder.path()), "-p", &golden.prompt, "-n", "32"]);
    assert_eq!(run["tokens"], json!(golden.tokens), "tokens of three shards");
    let stored = Imported::new("tiny-qwen2", Some("int4"));
    stdout(&["verify", stored.path(), "--against", text(folder.path())]);
}

/// A cache as huggingface_hub lays it out: blobs, a snapshot of links to them, and a ref to it.
pub(crate) fn fill_cache(cache: &Path, organisation: &str, name: &str, files: &Path) {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let repository = cache.join(format!("models--{organisation}--{name}"));
    let snapshot = repository.join("snapshots").join(COMMIT);
    for folder in [&repository.join("refs"), &repository.join("blobs"), &snapshot] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(repository.join("refs/main"), COMMIT).unwrap();
    let files = fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path());
    for (at, file) in files.filter(|path| path.is_file()).enumerate() {
        let blob = format!("{at:040x}");
        fs::copy(&file, repository.join("blobs").join(&blob)).unwrap();
        let link = snapshot.join(file.file_name().unwrap());
        symlink(Path::new("../../blobs").join(blob), link).unwrap();
    }
}

/// Runs a verb with `--json` and variables of the hub's cache, and returns its document.
pub(crate) fn with_hub(args: &[&str], variables: &[(&str, &Path)]) -> Value {
    let mut command = apr(args);
    command.env_remove("HF_HUB_CACHE").env_remove("HF_HOME").envs(variables.iter().copied());
    let output = command.arg("--json").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "apr {args:?}: {}\n{stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn list_shows_the_weight_files_of_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, sharded) = (folder.path().join("hub"), folder.path().join("sharded"));
    split_into_shards("tiny-qwen2", &sharded, 2);
    fill_cache(&cache, "HuggingFaceTB", "Tiny-1.5", &model("tiny-llama"));
    fill_cache(&cache, "org", "two--shards", &sharded);
    fs::write(cache.join("version.txt"), "1").unwrap();
    fs::create_dir_all(cache.join("datasets--org--text/refs")).unwrap();
    let empty = tempfile::tempdir().unwrap();
    for variables in [
        vec![("HF_HUB_CACHE", cache.as_path())],
        vec![("HF_HOME", folder.path())],
        vec![("HF_HUB_CACHE", cache.as_path()), ("HF_HOME", empty.path())],
    ] {
        let list = with_hub(&["list"], &variables);
        let models = list["models"].as_array().unwrap();
        for (name, files) in [("HuggingFaceTB_Tiny-1.5", 1), ("org_two--shards", 2)] {
            let of_model = |m: &&Value| m["name"].as_str().unwrap().contains(name);
            assert_eq!(models.iter().filter(of_model).count(), files, "{name} in {list}");
        }
        assert_eq!(models.len(), 3, "something else is listed: {list}");
        for model in models {
            let path = PathBuf::from(model["path"].as_str().unwrap());
            let size = fs::metadata(&path).unwrap().len();
            assert_eq!(model["size_bytes"], json!(size), "{model}");
        }
    }
    for nothing in [empty.path(), &empty.path().join("missing")] {
        let list = with_hub(&["list"], &[("HF_HUB_CACHE", nothing)]);
        assert_eq!(list["models"], json!([]), "an empty cache");
    }
}

#[test]
fn a_model_of_the_cache_is_read_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("hub");
    fill_cache(&cache, "org", "tiny", &model("tiny-gpt2"));
    let golden = Golden::load("tiny-gpt2", "code");
    let (output, from_folder) = (folder.path().join("model.apr"), Imported::new("tiny-gpt2", None));
    let commit = "hf://org/tiny@0123456789abcdef0123456789abcdef01234567";
    for variables in [[("HF_HUB_CACHE", cache.as_path())], [("HF_HOME", folder.path())]] {
        for name in ["hf://org/tiny", "hf://org/tiny@main", commit] {
            let found = with_hub(&["inspect", name], &variables);
            assert_holds(&found, &expected_inspection("tiny-gpt2"), name);
        }
        let name = "hf://org/tiny";
        let run = with_hub(&["run", name, "-p", &golden.prompt, "-n", "32"], &variables);
        assert_eq!(run["tokens"], json!(golden.tokens), "tokens of {name}");
        with_hub(&["import", name, "-o", text(&output)], &variables);
        let tensors = stored_tensors(&output);
        assert_eq!(tensors, stored_tensors(&from_folder.file), "import of {name}");
        with_hub(&["verify", text(&output), "--against", name], &variables);
    }
}

#[test]
fn a_blob_of_the_cache_is_recognised_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    fill_cache(folder.path(), "org", "tiny", &model("tiny-qwen2"));
    let list = with_hub(&["list"], &[("HF_HUB_CACHE", folder.path())]);
    let blob = fs::canonicalize(list["models"][0]["path"].as_str().unwrap()).unwrap();
    assert_eq!(blob.extension(), None, "{} is no blob", blob.display());
    assert_eq!(json(&["inspect", text(&blob)])["architecture"], "qwen2", "{}", blob.display());
}

#[test]
fn a_name_that_is_not_in_the_cache_fails_in_one_line() {
    let cache = tempfile::tempdir().unwrap();
    fill_cache(cache.path(), "org", "tiny", &model("tiny-llama"));
    let names = [
        "hf://org/other",
        "hf://org/tiny@other",
        "hf://tiny",
        "hf://",
        "hf://org/tiny/deeper",
        "hf://../tiny",
        "hf://org/tiny@../main",
    ];
    for name in names {
        for verb in ["inspect", "validate"] {
            let mut command = apr(&[verb, name, "--json"]);
            let command = command.env("HF_HUB_CACHE", cache.path()).env("HF_HUB_OFFLINE", "1");
            let output = command.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{verb} {name}: {stderr}");
            let one = stderr.lines().count() == 1 && stderr.contains(name);
            assert!(one, "{verb} {name}: {stderr}");
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(document["error"]["message"].is_string(), "{verb} {name}: {document}");
        }
    }
}

#[test]
fn a_plan_is_what_the_import_does_and_writes_nothing() {
    let target = tempfile::tempdir().unwrap();
    let output = target.path().join("model.apr");
    for name in MODELS {
        for recipe in ["int4", "int8", "fp16"] {
            let (source, stored) = (model(name), Imported::new(name, Some(recipe)));
            let call = ["import", text(&source), "--quantize", recipe, "--plan"];
            let plan = json(&[&call[..], &["-o", text(&output)]].concat());
            assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "a plan wrote a file");
            assert_eq!(plan, json(&call), "an output changes the plan");
            let tensors = stored_tensors(&stored.file);
            let planned: BTreeMap<String, (Value, Value, usize)> = plan["tensors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|t| {
                    let size = t["size"].as_u64().unwrap() as usize;
                    (
                        t["name"].as_str().unwrap().into(),
                        (t["shape"].clone(), t["dtype"].clone(), size),
                    )
                })
                .collect();
            assert_eq!(planned, tensors, "{name} {recipe}");
            let written: usize = tensors.values().map(|(.., size)| size).sum();
            assert_eq!(plan["output_size"], json!(written), "{name} {recipe}");
            let kept = |tensor: &&StoredTensor| tensors.contains_key(&tensor.name);
            let of_source = weights(name).tensors;
            let read: usize = of_source.iter().filter(kept).map(|tensor| tensor.bytes.len()).sum();
            assert_eq!(plan["input_size"], json!(read), "{name} {recipe}");
        }
    }
}

#[test]
fn pure_stores_the_embedding_in_int4_too() {
    let embeddings = [
        ("tiny-llama", "model.embed_tokens.weight"),
        ("tiny-qwen2", "model.embed_tokens.weight"),
        ("tiny-gpt2", "wte.weight"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.apr");
    for (name, embedding) in embeddings {
        for (pure, dtype) in [(None, "Q8_0"), (Some("--pure"), "Q4_0")] {
            let source = model(name);
            let call = [&["import", text(&source), "--quantize", "int4"], pure.as_slice()].concat();
            let plan = json(&[&call[..], &["--plan"]].concat());
            let tensors = plan["tensors"].as_array().unwrap();
            let planned = tensors.iter().find(|tensor| tensor["name"] == embedding).unwrap();
            assert_eq!(planned["dtype"], dtype, "{name} {pure:?}");
            stdout(&[&call[..], &["-o", text(&output)]].concat());
            assert_eq!(listed(text(&output))[embedding].1, dtype, "{name} {pure:?}");
        }
    }
}

#[test]
fn a_wrong_command_line_is_one_document_too() {
    for args in
        [&["frobnicate", "--json"][..], &["run", "--json"], &["inspect", "a", "b", "--json"]]
    {
        let output = apr(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "apr {args:?}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["kind"], "usage", "apr {args:?}");
        assert!(document["error"]["message"].is_string(), "apr {args:?}: {document}");
    }
}
