//! What is refused, and how: one line that names file and cause, one JSON document, no file left.

use crate::checkpoints::{SafeTensors, StoredTensor, copy_model, split_into_shards};
use crate::harness::{Imported, apr, heldout, json, model, relabel, stdout, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Every way to read a model. The words in capitals are filled in by [`Bench::arguments`].
const READERS: &[&[&str]] = &[
    &["import", "INPUT", "-o", "OUTPUT"],
    &["import", "INPUT", "--plan"],
    &["run", "INPUT", "-p", "one", "-n", "1"],
    &["verify", "INPUT", "--against", "SOURCE"],
    &["verify", "STORED", "--against", "INPUT"],
    &["eval", "INPUT", "--text", "TEXT"],
    &["inspect", "INPUT"],
    &["tensors", "INPUT"],
    &["validate", "INPUT"],
    &["eval", "SOURCE", "--text", "TEXT", "--reference", "INPUT"],
    &["trace", "INPUT"],
    &["trace", "INPUT", "-p", "one"],
    &["trace", "SOURCE", "--against", "INPUT"],
    &["diff", "INPUT", "SOURCE"],
    &["diff", "SOURCE", "INPUT"],
    &["compare-hf", "INPUT", "--hf", "SOURCE"],
    &["compare-hf", "SOURCE", "--hf", "INPUT"],
    &["rosetta", "diff-tensors", "INPUT", "SOURCE"],
    &["audit", "INPUT"],
    &["audit", "SOURCE", "--against", "INPUT"],
    &["check", "INPUT"],
    &["qa", "INPUT"],
    &["parity", "INPUT", "--path", "cpu"],
    &["tree", "INPUT"],
    &["hex", "INPUT", "--header"],
    &["hex", "INPUT", "--tensor", "model.norm.weight", "--stats"],
    &["report", "INPUT", "-o", "PAGE"],
    &["report", "SOURCE", "--against", "INPUT", "--no-eval", "-o", "PAGE"],
    &["merge", "INPUT", "SOURCE", "-o", "OUTPUT"],
    &["merge", "SOURCE", "INPUT", "-o", "OUTPUT"],
    &["prune", "INPUT", "-o", "OUTPUT"],
    &["export", "INPUT", "--format", "gguf", "-o", "OUTPUT"],
];

/// Those that need what `config.json` says.
const CONFIG_READERS: [&[&str]; 5] = [READERS[0], READERS[2], READERS[4], READERS[5], READERS[6]];

/// Those that only need a well-formed container.
const CONTAINER_READERS: [&[&str]; 4] = [READERS[0], READERS[6], READERS[7], READERS[8]];

const IMPORT: [&[&str]; 1] = [READERS[0]];

/// A sound import to verify against, and an empty folder to import into.
struct Bench {
    stored: Imported,
    target: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { stored: Imported::new("tiny-llama", None), target: tempfile::tempdir().unwrap() }
    }

    fn arguments(&self, reader: &[&str], input: &Path) -> Vec<String> {
        let fill = |word: &&str| match *word {
            "INPUT" => text(input).to_owned(),
            "PAGE" => text(&self.stored.folder.path().join("page.html")).to_owned(),
            "OUTPUT" => text(&self.target.path().join("out.apr")).to_owned(),
            "SOURCE" => text(&model("tiny-llama")).to_owned(),
            "STORED" => self.stored.path().to_owned(),
            "TEXT" => text(&heldout()).to_owned(),
            word => word.to_owned(),
        };
        reader.iter().map(fill).collect()
    }

    /// What is wrong with how `input` is refused: each reader must name it and all causes, and
    /// leave no file behind.
    fn complaints(&self, readers: &[&[&str]], input: &Path, causes: &[&str]) -> Vec<String> {
        let named = [&[text(input)], causes].concat();
        let mut complaints = Vec::new();
        for reader in readers {
            let args = self.arguments(reader, input);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            complaints.extend(refusal_complaints(&args, &named));
        }
        if fs::read_dir(self.target.path()).unwrap().next().is_some() {
            complaints.push(format!("{}: import left a file", input.display()));
        }
        complaints
    }
}

/// What is wrong with how a call is refused, as text and with `--json`.
fn refusal_complaints(args: &[&str], causes: &[&str]) -> Vec<String> {
    let check = |json: Option<&str>| {
        let output = apr(args).args(json).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let has = |text: &str| stderr.contains(text);
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: &str| wrong.extend((!holds).then(|| what.to_owned()));
        must(matches!(output.status.code(), Some(1 | 2)), &output.status.to_string());
        must(stderr.lines().count() == 1 && stderr.ends_with('\n'), "not one line on stderr");
        must(!has("panicked") && !has("internal error"), "the program is at fault");
        must(!stdout.contains('\x1b') && !has("\x1b") && !has("\u{9b}"), "escape sequences");
        for cause in causes {
            must(has(cause), &format!("{cause:?} is not named"));
        }
        if json.is_some() {
            must(explains(args[0], &stdout), "not one JSON document that explains");
        } else {
            let reports = ["validate", "audit"].contains(&args[0]);
            must(stdout.is_empty() || reports, "a report of a failure");
        }
        let seen = format!("stderr {stderr:?}, stdout {stdout:?}");
        (!wrong.is_empty()).then(|| format!("apr {args:?}: {}; {seen}", wrong.join(", ")))
    };
    [None, Some("--json")].into_iter().filter_map(check).collect()
}

/// One document with kind and message of the error, or the report of checks that failed.
fn explains(verb: &str, stdout: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(stdout) else { return false };
    let said = |key: &str| document["error"][key].as_str().is_some_and(|text| !text.is_empty());
    let counted = |of, key: &str| verb == of && document[key].as_u64().is_some_and(|n| n > 0);
    (said("kind") && said("message")) || counted("validate", "failed") || counted("audit", "errors")
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

struct BadInput {
    path: PathBuf,
    cause: &'static str,
    /// Verbs for which this input is sound.
    accepted_by: &'static [&'static str],
}

/// Bytes without a pattern, the same every time (xorshift64, Marsaglia 2003).
fn random_bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

fn bad_files(folder: &Path, stored: &Path) -> Vec<BadInput> {
    let safetensors = fs::read(model("tiny-llama").join("model.safetensors")).unwrap();
    let apr = fs::read(stored).unwrap();
    let (short, short_apr) = (safetensors.len() - 1000, apr.len() - 1000);
    let files = [
        ("empty.safetensors", Vec::new(), "empty"),
        ("empty.apr", Vec::new(), "empty"),
        ("head.safetensors", safetensors[..100].to_vec(), "truncated"),
        ("head.apr", apr[..100].to_vec(), "truncated"),
        ("half-head.apr", apr[..30].to_vec(), "truncated"),
        ("short.safetensors", safetensors[..short].to_vec(), "truncated"),
        ("short.apr", apr[..short_apr].to_vec(), "truncated"),
        ("long.safetensors", [&safetensors[..], &[0]].concat(), "accounts for"),
        ("long.apr", [&apr[..], &[0; 64]].concat(), "accounts for"),
        ("random.safetensors", random_bytes(256), "not a model"),
        ("random.apr", [b"APR\0", &random_bytes(256)[..]].concat(), "version"),
    ];
    let missing = folder.join("missing.safetensors");
    let mut inputs = vec![BadInput { path: missing, cause: "No such file", accepted_by: &[] }];
    for (name, bytes, cause) in files {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        inputs.push(BadInput { path, cause, accepted_by: &[] });
    }
    inputs
}

fn bad_folders(folder: &Path) -> Vec<BadInput> {
    let path = |name: &str| {
        let path = folder.join(name);
        copy_model("tiny-llama", &path);
        path
    };
    let no_config = path("no-config");
    fs::remove_file(no_config.join("config.json")).unwrap();
    let no_weights = path("no-weights");
    fs::remove_file(no_weights.join("model.safetensors")).unwrap();
    let unknown = path("unknown");
    edit_config(&unknown, |config| config["architectures"] = json!(["FooForCausalLM"]));
    let bad = |path, cause, accepted_by| BadInput { path, cause, accepted_by };
    vec![
        // The architecture follows from the tensor names, as for a blob in the hub's cache.
        bad(
            no_config,
            "config.json is missing",
            &[
                "inspect",
                "tensors",
                "validate",
                "trace",
                "tree",
                "hex",
                "report",
                "diff",
                "compare-hf",
                "rosetta",
                "audit",
            ],
        ),
        bad(no_weights, "no model.safetensors", &[]),
        // A list of tensors is independent of what the model is.
        bad(
            unknown,
            "FooForCausalLM",
            &["tensors", "tree", "hex", "report", "diff", "compare-hf", "rosetta"],
        ),
    ]
}

/// Verbs that know no model have no argument but the file, or are about bytes and values alone;
/// those that compare tensors can do so by their names.
fn is_accepted(reader: &[&str], accepted_by: &[&str]) -> bool {
    let by_name = ["hex", "report", "diff", "compare-hf", "rosetta"].contains(&reader[0]);
    let is_base = reader[0] == "audit" && reader.len() > 2;
    let verb = if is_base { "diff" } else { reader[0] };
    (reader.len() == 2 || by_name || is_base) && accepted_by.contains(&verb)
}

fn edit_config(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn every_reader_refuses_bad_files_and_folders_in_one_line() {
    let (bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
    let mut complaints = Vec::new();
    let mut inputs = bad_files(folder.path(), &bench.stored.file);
    inputs.extend(bad_folders(folder.path()));
    for BadInput { path, cause, accepted_by } in inputs {
        let (accepting, refusing): (Vec<&[&str]>, Vec<&[&str]>) =
            READERS.iter().copied().partition(|reader| is_accepted(reader, accepted_by));
        complaints.extend(bench.complaints(&refusing, &path, &[cause]));
        for reader in accepting {
            let args = bench.arguments(reader, &path);
            let document = json(&args.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(document.is_object(), "{args:?}: {document}");
        }
    }
    assert_none(&complaints);
}

#[test]
fn a_model_is_not_verified_against_another() {
    let (llama, qwen2) = (model("tiny-llama"), model("tiny-qwen2"));
    let args = ["verify", text(&llama), "--against", text(&qwen2)];
    assert_none(&refusal_complaints(&args, &[text(&llama), "k_proj.bias"]));
}

/// A SafeTensors file by its parts.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

/// A header entry.
fn entry(name: &str, dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

fn assert_refused_containers(cases: Vec<(&str, Vec<u8>, &[&str])>) {
    let (bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
    let mut complaints = Vec::new();
    for (name, bytes, causes) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        complaints.extend(bench.complaints(&CONTAINER_READERS, &path, causes));
    }
    assert_none(&complaints);
}

#[test]
fn safetensors_headers_that_break_a_rule_are_refused() {
    let one = |shape: &str, offsets: &str, data| {
        safetensors(&format!("{{{}}}", entry("left", "F32", shape, offsets)), data)
    };
    let two = |second: String, data| {
        let first = entry("left", "F32", "[2]", "[0,8]");
        safetensors(&format!("{{{first},{second}}}"), data)
    };
    let claims = |len: u64| [&len.to_le_bytes()[..], b"{\"left\":0}"].concat();
    assert_refused_containers(vec![
        ("key-twice", two(entry("left", "F32", "[2]", "[8,16]"), 16), &["left", "twice"]),
        ("overlap", two(entry("right", "F32", "[2]", "[4,12]"), 12), &["right", "expected 8"]),
        ("same-bytes", two(entry("right", "F32", "[2]", "[0,8]"), 8), &["right", "expected 8"]),
        ("hole", two(entry("right", "F32", "[2]", "[12,20]"), 20), &["right", "expected 8"]),
        ("hole-first", one("[2]", "[4,12]", 12), &["left", "expected 0"]),
        ("too-few-bytes", one("[3]", "[0,8]", 8), &["left", "[3]", "12"]),
        ("too-many-bytes", one("[1]", "[0,8]", 8), &["left", "[1]", "4"]),
        ("end-before-begin", one("[1]", "[4,0]", 4), &["left"]),
        ("end-of-memory", one("[1]", "[18446744073709551611,18446744073709551615]", 4), &["left"]),
        ("data-missing", one("[64]", "[0,256]", 8), &["truncated"]),
        ("large-dim", one("[18446744073709551615]", "[0,8]", 8), &["left", "too large"]),
        ("large-product", one("[4294967296,4294967296]", "[0,0]", 0), &["left", "too large"]),
        ("rank-9", one("[1,1,1,1,1,1,1,1,1]", "[0,4]", 4), &["left", "9 dimensions"]),
        (
            "unknown-type",
            two(entry("right", "F8_E4M3", "[2]", "[8,10]"), 10),
            &["right", "F8_E4M3"],
        ),
        ("metadata", safetensors(r#"{"__metadata__":{"format":1}}"#, 0), &["__metadata__"]),
        ("no-json", safetensors(r#"{"left":"#, 0), &["header"]),
        ("header-past-file", claims(1000), &["header", "truncated"]),
        ("header-100-megabytes", claims(100_000_000), &["header", "truncated"]),
        ("header-2-63", claims(1 << 63), &["not a model"]),
    ]);
}

#[test]
fn safetensors_entries_that_are_no_entries_are_refused_by_tensor_name() {
    let entries = [
        ("no-shape", r#"{"dtype":"F32","data_offsets":[0,4]}"#),
        ("type-twice", r#"{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}"#),
        ("negative-dim", r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#),
        ("dim-2-64", r#"{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}"#),
        ("one-offset", r#"{"dtype":"F32","shape":[1],"data_offsets":[0]}"#),
        ("number", "4"),
    ];
    let file = |entry: &str| safetensors(&format!(r#"{{"left.weight":{entry}}}"#), 4);
    let causes: &[&str] = &["left.weight"];
    assert_refused_containers(entries.map(|(name, entry)| (name, file(entry), causes)).to_vec());
}

/// Control characters as JSON writes them: colour, new lines, bell, and CSI in one character.
const HOSTILE: &str = r"\u001b[31mred\u001b[0m\nnew line\r\u0007\u009b2J";

#[test]
fn control_characters_of_a_file_are_escaped_in_messages() {
    let single = |entry: String| safetensors(&format!("{{{entry}}}"), 8);
    let name = entry(HOSTILE, "F32", "[2]", "[0,8]");
    assert_refused_containers(vec![
        ("hostile-extent", single(entry(HOSTILE, "F32", "[2]", "[4,12]")), &["red", "expected 0"]),
        ("hostile-type", single(entry("left", HOSTILE, "[2]", "[0,8]")), &["left", "red"]),
        ("hostile-twice", single(format!("{name},{name}")), &["red", "twice"]),
        ("hostile-value", single(format!(r#""left":"{HOSTILE}""#)), &["red"]),
        (
            "hostile-metadata",
            single(format!(r#""__metadata__":{{"{HOSTILE}":"a","{HOSTILE}":"b"}}"#)),
            &["red", "twice"],
        ),
    ]);
    let (bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
    copy_model("tiny-llama", folder.path());
    let hostile: String = serde_json::from_str(&format!("\"{HOSTILE}\"")).unwrap();
    let mut complaints = Vec::new();
    for (key, value) in [
        ("architectures", json!([hostile])),
        ("hidden_size", json!(hostile)),
        ("hidden_act", json!(hostile)),
    ] {
        let original = fs::read(folder.path().join("config.json")).unwrap();
        edit_config(folder.path(), |config| config[key] = value);
        complaints.extend(bench.complaints(&CONFIG_READERS, folder.path(), &["red"]));
        fs::write(folder.path().join("config.json"), original).unwrap();
    }
    assert_none(&complaints);
}

#[test]
fn control_characters_of_a_file_are_escaped_in_reports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.safetensors");
    let tensor = entry(HOSTILE, "F32", "[2]", "[0,8]");
    fs::write(&path, safetensors(&format!("{{{tensor}}}"), 8)).unwrap();
    let hostile: String = serde_json::from_str(&format!("\"{HOSTILE}\"")).unwrap();
    let labelled = folder.path().join("labelled.safetensors");
    relabel("tiny-llama", &json!({hostile.as_str(): hostile}), &labelled);
    for (verb, path) in [("tensors", &path), ("inspect", &labelled)] {
        let report = stdout(&[verb, text(path)]);
        assert!(report.contains("red"), "{verb} does not show the text: {report:?}");
        let hostile = |c: char| c.is_control() && c != '\n';
        assert!(!report.contains(hostile), "{verb} prints control characters: {report:?}");
        let new_line = |line: &str| line.starts_with("new line");
        assert!(!report.lines().any(new_line), "{verb} prints a tensor's new line: {report:?}");
    }
}

/// A copy of a shipped model with other weights.
fn with_weights(name: &str, change: impl FnOnce(&mut SafeTensors)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_model(name, folder.path());
    let path = folder.path().join("model.safetensors");
    let mut weights = SafeTensors::read(&path);
    change(&mut weights);
    weights.write(&path);
    folder
}

fn tensor<'a>(weights: &'a mut SafeTensors, name: &str) -> &'a mut StoredTensor {
    weights.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

/// Overwrites the element at `index` with the little-endian bytes of another.
fn put(tensor: &mut StoredTensor, index: &[usize], element: &[u8]) {
    let at = index.iter().zip(&tensor.shape).fold(0, |at, (index, dim)| at * dim + index);
    let start = at * element.len();
    tensor.bytes[start..start + element.len()].copy_from_slice(element);
}

#[test]
fn values_that_are_not_finite_are_refused_by_tensor_and_index() {
    let (nan, inf) = (f32::NAN.to_le_bytes(), f32::NEG_INFINITY.to_le_bytes());
    let up = "model.layers.1.mlp.up_proj.weight";
    type Place = (&'static str, &'static str, &'static [usize]);
    let cases: [(Place, &[u8], &str); 5] = [
        (("tiny-llama", up, &[3, 5]), &[0xC0, 0x7F], "NaN"),
        (("tiny-llama", "model.embed_tokens.weight", &[2047, 191]), &[0x80, 0x7F], "inf"),
        (("tiny-llama", "model.norm.weight", &[7]), &[0x80, 0xFF], "-inf"),
        (("tiny-gpt2", "h.0.mlp.c_fc.weight", &[2, 700]), &nan, "NaN"),
        (("tiny-gpt2", "wpe.weight", &[255, 0]), &inf, "-inf"),
    ];
    let bench = Bench::new();
    let mut complaints = Vec::new();
    for ((name, at, index), element, value) in cases {
        let folder = with_weights(name, |weights| put(tensor(weights, at), index, element));
        let place = format!("{index:?}");
        let readers: [&[&str]; 5] = [
            READERS[0],
            &["import", "INPUT", "--quantize", "int8", "-o", "OUTPUT"],
            &["import", "INPUT", "--quantize", "int4", "-o", "OUTPUT"],
            &["import", "INPUT", "--quantize", "f16", "-o", "OUTPUT"],
            &["run", "INPUT", "--quantize", "int8", "-p", "one"],
        ];
        complaints.extend(bench.complaints(&readers, folder.path(), &[at, &place, value]));
    }
    assert_none(&complaints);
}

type Change = fn(&mut SafeTensors);

#[test]
fn weights_that_are_not_the_models_are_refused_by_tensor_name() {
    let cases: [(&str, Change, &[&str]); 7] = [
        (
            "tiny-qwen2",
            |weights| weights.tensors.retain(|t| !t.name.ends_with("2.self_attn.k_proj.bias")),
            &["model.layers.2.self_attn.k_proj.bias", "missing"],
        ),
        (
            "tiny-llama",
            |weights| weights.tensors.retain(|t| t.name != "model.embed_tokens.weight"),
            &["model.embed_tokens.weight", "missing"],
        ),
        (
            "tiny-llama",
            |weights| {
                let copy = tensor(weights, "model.norm.weight").clone();
                weights.tensors.push(StoredTensor { name: "model.extra.weight".into(), ..copy });
            },
            &["model.extra.weight"],
        ),
        (
            "tiny-llama",
            |weights| {
                let copy = tensor(weights, "model.layers.3.input_layernorm.weight").clone();
                let name = "model.layers.4.input_layernorm.weight".into();
                weights.tensors.push(StoredTensor { name, ..copy });
            },
            &["model.layers.4.input_layernorm.weight"],
        ),
        (
            "tiny-llama",
            |weights| tensor(weights, "model.layers.0.mlp.up_proj.weight").shape.reverse(),
            &["model.layers.0.mlp.up_proj.weight", "[192, 512]", "[512, 192]"],
        ),
        (
            "tiny-llama",
            |weights| tensor(weights, "model.embed_tokens.weight").dtype = "F8_E4M3".into(),
            &["model.embed_tokens.weight", "F8_E4M3"],
        ),
        (
            "tiny-gpt2",
            |weights| tensor(weights, "h.3.attn.c_attn.weight").shape.reverse(),
            &["h.3.attn.c_attn.weight", "[576, 192]", "[192, 576]"],
        ),
    ];
    let bench = Bench::new();
    let mut complaints = Vec::new();
    for (name, change, causes) in cases {
        let folder = with_weights(name, change);
        let readers = [READERS[0], READERS[1], READERS[2], READERS[5]];
        complaints.extend(bench.complaints(&readers, folder.path(), causes));
    }
    assert_none(&complaints);
}

/// Adds a head to a model whose head is its embedding.
fn add_head(weights: &mut SafeTensors) -> &mut StoredTensor {
    let copy = weights.tensors.iter().find(|t| t.name == "model.embed_tokens.weight").unwrap();
    let head = StoredTensor { name: "lm_head.weight".to_owned(), ..copy.clone() };
    weights.tensors.push(head);
    weights.tensors.last_mut().unwrap()
}

#[test]
fn tensors_that_must_follow_from_the_rest_are_refused_if_they_do_not() {
    let cases: [(&str, Change, &[&str]); 6] = [
        (
            "tiny-gpt2",
            |weights| put(tensor(weights, "h.2.attn.bias"), &[0, 0, 9, 10], &1f32.to_le_bytes()),
            &["h.2.attn.bias", "mask"],
        ),
        (
            "tiny-gpt2",
            |weights| put(tensor(weights, "h.0.attn.bias"), &[0, 0, 255, 0], &0f32.to_le_bytes()),
            &["h.0.attn.bias", "mask"],
        ),
        (
            "tiny-gpt2",
            |weights| tensor(weights, "h.1.attn.bias").shape = vec![256, 256],
            &["h.1.attn.bias", "mask"],
        ),
        (
            "tiny-gpt2",
            |weights| {
                let (name, dtype) = ("h.0.attn.masked_bias".to_owned(), "F32".to_owned());
                let (shape, bytes) = (vec![2], vec![0; 8]);
                weights.tensors.push(StoredTensor { name, dtype, shape, bytes });
            },
            &["h.0.attn.masked_bias", "single number"],
        ),
        (
            "tiny-llama",
            |weights| add_head(weights).bytes[77] ^= 1,
            &["lm_head.weight", "differs from the embedding"],
        ),
        (
            "tiny-llama",
            |weights| {
                let head = add_head(weights);
                head.shape = vec![192, 2048];
            },
            &["lm_head.weight", "differs from the embedding"],
        ),
    ];
    let bench = Bench::new();
    let mut complaints = Vec::new();
    for (name, change, causes) in cases {
        let folder = with_weights(name, change);
        complaints.extend(bench.complaints(&IMPORT, folder.path(), causes));
    }
    assert_none(&complaints);
}

#[test]
fn a_head_that_equals_the_tied_embedding_is_accepted_and_not_stored_twice() {
    let folder = with_weights("tiny-llama", |weights| {
        add_head(weights);
    });
    let file = folder.path().join("model.apr");
    let proof = json(&["import", text(folder.path()), "-o", text(&file)]);
    assert_eq!(proof["derived"], json!(["lm_head.weight"]), "the head is not accounted for");
    let names = |path: &Path| -> Vec<String> {
        let list = json(&["tensors", text(path)]);
        let name = |tensor: &Value| tensor["name"].as_str().unwrap().to_owned();
        list["tensors"].as_array().unwrap().iter().map(name).collect()
    };
    let stored = Imported::new("tiny-llama", None);
    assert_eq!(names(&file), names(&stored.file), "the head is stored although it is tied");
    let run = |path: &Path| json(&["run", text(path), "-p", "The capital", "-n", "16"]);
    assert_eq!(run(&file)["tokens"], run(&stored.file)["tokens"], "the head changes the tokens");
    stdout(&["verify", text(&file), "--against", text(folder.path())]);
}

#[test]
fn an_integer_weight_is_not_quantized() {
    let name = "h.1.mlp.c_proj.weight";
    let folder = with_weights("tiny-gpt2", |weights| tensor(weights, name).dtype = "I32".into());
    let reader = ["import", "INPUT", "--quantize", "int8", "-o", "OUTPUT"];
    assert_none(&Bench::new().complaints(&[&reader], folder.path(), &[name, "I32"]));
}

#[test]
fn every_key_of_config_json_that_matters_is_named_when_it_is_missing() {
    let llama = [
        "/hidden_size",
        "/num_hidden_layers",
        "/num_attention_heads",
        "/num_key_value_heads",
        "/intermediate_size",
        "/vocab_size",
        "/max_position_embeddings",
        "/rms_norm_eps",
    ];
    let gpt2 =
        ["/n_embd", "/n_layer", "/n_head", "/vocab_size", "/n_positions", "/layer_norm_epsilon"];
    let models = [
        ("tiny-llama", [&llama[..], &["/rope_theta"]].concat()),
        ("tiny-qwen2", [&llama[..], &["/rope_parameters/rope_theta"]].concat()),
        ("tiny-gpt2", gpt2.to_vec()),
    ];
    let bench = Bench::new();
    let mut complaints = Vec::new();
    for (name, keys) in models {
        let folder = tempfile::tempdir().unwrap();
        for pointer in keys {
            copy_model(name, folder.path());
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            edit_config(folder.path(), |config| {
                let object = config.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
                assert!(object.remove(key).is_some(), "{name} has no {pointer}");
            });
            complaints.extend(bench.complaints(&CONFIG_READERS, folder.path(), &[key, "missing"]));
        }
    }
    assert_none(&complaints);
}

#[test]
fn a_config_that_says_nothing_or_nonsense_is_refused() {
    let (bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("config.json");
    copy_model("tiny-llama", folder.path());
    let sound: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let with = |key: &str, value: Value| {
        let mut config = sound.clone();
        config[key] = value;
        config.to_string()
    };
    let cases: [(String, &[&str]); 19] = [
        (String::new(), &["config.json"]),
        ("hidden_size: 192".to_owned(), &["config.json"]),
        ("[]".to_owned(), &["config.json", "object"]),
        ("{}".to_owned(), &["architectures", "missing"]),
        ("[".repeat(100_000), &["config.json"]),
        (with("hidden_size", json!(0)), &["hidden_size"]),
        (with("hidden_size", json!(-192)), &["hidden_size"]),
        (with("hidden_size", json!(192.5)), &["hidden_size"]),
        (with("hidden_size", json!(u64::MAX)), &["config.json"]),
        (with("head_dim", json!(1_u64 << 62)), &["config.json"]),
        (with("intermediate_size", json!(513)), &["mlp", "[513, 192]", "[512, 192]"]),
        (with("num_hidden_layers", json!(5)), &["model.layers.4.", "missing"]),
        (with("num_hidden_layers", json!(3)), &["model.layers.3."]),
        (with("num_hidden_layers", json!(u64::MAX)), &["num_hidden_layers", "4096"]),
        (with("vocab_size", json!(u64::MAX)), &["model.embed_tokens.weight"]),
        (with("num_attention_heads", json!(u64::MAX)), &["num_attention_heads"]),
        (with("num_attention_heads", json!(u64::MAX - 1)), &["num_attention_heads"]),
        (with("rms_norm_eps", json!(1e300)), &["rms_norm_eps"]),
        (with("rope_scaling", json!({"type": "linear"})), &["rope_scaling"]),
    ];
    let mut complaints = Vec::new();
    for (config, causes) in cases {
        fs::write(&path, config).unwrap();
        complaints.extend(bench.complaints(&CONFIG_READERS[..4], folder.path(), causes));
    }
    fs::write(&path, [0xFF, 0xFE]).unwrap();
    complaints.extend(bench.complaints(&CONFIG_READERS, folder.path(), &["config.json"]));
    assert_none(&complaints);
}

#[test]
fn a_model_without_a_readable_tokenizer_does_not_run() {
    let (bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
    copy_model("tiny-llama", folder.path());
    let path = folder.path().join("tokenizer.json");
    let mut complaints = Vec::new();
    let contents: [(&str, Option<&[u8]>); 5] = [
        ("tokenizer.json is missing", None),
        ("tokenizer", Some(b"")),
        ("tokenizer", Some(b"{}")),
        ("tokenizer", Some(b"garbage \x1b[31m")),
        ("tokenizer", Some(&[0xFF; 64])),
    ];
    for (cause, content) in contents {
        fs::remove_file(&path).unwrap_or_default();
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let readers = [READERS[2], READERS[5]];
        complaints.extend(bench.complaints(&readers, folder.path(), &[cause]));
    }
    assert_none(&complaints);
}

const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 3] = [
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
];

fn edit_index(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join(INDEX);
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut index["weight_map"]);
    fs::write(path, index.to_string()).unwrap();
}

/// Names a shard otherwise in the index.
fn rename_in_index(folder: &Path, shard: &str, name: &str) {
    edit_index(folder, |weight_map| {
        for value in weight_map.as_object_mut().unwrap().values_mut() {
            if value == shard {
                *value = json!(name);
            }
        }
    });
}

/// What breaks a checkpoint of three shards, and what the message names.
type ShardCase<'a> = (&'a dyn Fn(&Path), &'a [&'a str]);

/// Breaks a checkpoint of three shards, and expects that it is refused.
fn assert_refused_shards(cases: &[ShardCase<'_>]) {
    let bench = Bench::new();
    let mut complaints = Vec::new();
    for (damage, causes) in cases {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("checkpoint");
        split_into_shards("tiny-qwen2", &checkpoint, 3);
        damage(&checkpoint);
        complaints.extend(bench.complaints(&CONTAINER_READERS, &checkpoint, causes));
    }
    assert_none(&complaints);
}

#[test]
fn shards_outside_the_folder_are_refused_even_if_they_exist() {
    let moved = |name: &'static str| {
        move |folder: &Path| {
            let target = folder.join(name);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::rename(folder.join(SHARDS[1]), target).unwrap();
            rename_in_index(folder, SHARDS[1], name);
        }
    };
    assert_refused_shards(&[
        (&moved("../x.safetensors"), &["\"../x.safetensors\""]),
        (&moved("a/b.safetensors"), &["\"a/b.safetensors\""]),
        (&moved("./x.safetensors"), &["\"./x.safetensors\""]),
        (&|folder| rename_in_index(folder, SHARDS[1], "/etc/passwd"), &["\"/etc/passwd\""]),
        (&|folder| rename_in_index(folder, SHARDS[1], ""), &["shard name \"\""]),
        (&|folder| rename_in_index(folder, SHARDS[1], ".."), &["shard name \"..\""]),
        (&|folder| rename_in_index(folder, SHARDS[1], "a\\b"), &["shard name \"a\\\\b\""]),
        (&|folder| rename_in_index(folder, SHARDS[1], "a\x1b[31m"), &["shard name", "[31m"]),
    ]);
}

#[test]
fn shards_and_index_that_disagree_are_refused() {
    let norm = "model.norm.weight";
    let listed_in = |folder: &Path, shard: &str| {
        edit_index(folder, |weight_map| weight_map[norm] = json!(shard));
    };
    let copy_norm = |folder: &Path| {
        let mut last = SafeTensors::read(&folder.join(SHARDS[2]));
        let copy = tensor(&mut last, norm).clone();
        let mut first = SafeTensors::read(&folder.join(SHARDS[0]));
        first.tensors.push(copy);
        first.write(&folder.join(SHARDS[0]));
    };
    let shorten = |folder: &Path| {
        let bytes = fs::read(folder.join(SHARDS[2])).unwrap();
        fs::write(folder.join(SHARDS[2]), &bytes[..bytes.len() - 1]).unwrap();
    };
    assert_refused_shards(&[
        (&|folder| fs::remove_file(folder.join(SHARDS[1])).unwrap(), &[SHARDS[1]]),
        (&shorten, &[SHARDS[2], "truncated"]),
        (
            &|folder| edit_index(folder, |map| map["ghost"] = json!(SHARDS[0])),
            &["ghost", SHARDS[0]],
        ),
        (
            &|folder| edit_index(folder, |map| drop(map.as_object_mut().unwrap().remove(norm))),
            &[norm],
        ),
        (&|folder| listed_in(folder, SHARDS[0]), &[norm]),
        (&|folder| listed_in(folder, "else.safetensors"), &["else.safetensors", "No such file"]),
        (
            &|folder| {
                fs::copy(folder.join(SHARDS[0]), folder.join(SHARDS[1])).unwrap();
            },
            &["model.embed_tokens.weight", SHARDS[1]],
        ),
        (&copy_norm, &[norm, SHARDS[0]]),
        (&|folder| fs::write(folder.join(INDEX), "{}").unwrap(), &[INDEX, "weight_map"]),
        (&|folder| fs::write(folder.join(INDEX), "no json").unwrap(), &[INDEX]),
        (
            &|folder| {
                let twice = r#"{"weight_map":{"left":"a","left":"b"}}"#;
                fs::write(folder.join(INDEX), twice).unwrap();
            },
            &[INDEX, "left", "twice"],
        ),
    ]);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let (folder, source) = (tempfile::tempdir().unwrap(), model("tiny-llama"));
    let (path, source) = (|name: &str| folder.path().join(name), text(&source));
    let (one, none, binary) = (path("one.txt"), path("none.txt"), path("binary.txt"));
    fs::write(&one, "x").unwrap();
    fs::write(&none, "").unwrap();
    fs::write(&binary, [0xFF, 0xFE, 0x00]).unwrap();
    let (heldout, long, missing) = (heldout(), "one ".repeat(600), path("missing.txt"));
    let (heldout, output) = (text(&heldout), path("model.apr"));
    let (no_apr, nowhere, a_folder) = (path("model.bin"), path("no/model.apr"), path("dir.apr"));
    fs::create_dir(&a_folder).unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    let cases: [(&[&str], &[&str]); 17] = [
        (&["run", source, "-p", &long], &["prompt", "512 positions"]),
        (&["run", source, "-p", &long, "-n", "1"], &["prompt", "512 positions"]),
        (&["run", source, "-p", ""], &["prompt is empty"]),
        (&["run", source, ""], &["prompt is empty"]),
        (&["run", source, "-p", "one", "-n", "512"], &["512", "positions"]),
        (&["run", source, "-p", "one", "-n", "18446744073709551615"], &["positions"]),
        (&["run", source, "-p", "one", "--quantize", "int3"], &["int3", "int8, int4"]),
        (&["import", source, "--quantize", "int3", "-o", text(&output)], &["int3", "int8, int4"]),
        (&["run", source, "-p", "one", "--quantize", "int8", "--pure"], &["--pure", "int8"]),
        (&["import", source, "-o", text(&no_apr)], &[text(&no_apr), ".apr"]),
        (&["import", source, "-o", text(&nowhere)], &[text(&nowhere), "No such file"]),
        (&["import", source, "-o", text(&a_folder)], &[text(&a_folder), "no regular file"]),
        (&["eval", source, "--text", heldout, "--window", "0"], &["window", "2"]),
        (&["eval", source, "--text", heldout, "--window", "1"], &["window", "2"]),
        (&["eval", source, "--text", heldout, "--window", "513"], &["513", "512"]),
        (&["eval", source, "--text", text(&missing)], &[text(&missing), "No such file"]),
        (&["eval", source, "--text", text(&binary)], &[text(&binary), "UTF-8"]),
    ];
    let mut complaints = Vec::new();
    for (args, causes) in cases {
        complaints.extend(refusal_complaints(args, causes));
    }
    for (file, cause) in [(&one, "one.txt has 1 token"), (&none, "none.txt has 0 token")] {
        let args = ["eval", source, "--text", text(file)];
        complaints.extend(refusal_complaints(&args, &[cause, "at least 2"]));
    }
    assert_none(&complaints);
    let after = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(after, before, "a refused import left a file");
}

#[test]
fn a_failed_import_keeps_the_file_that_was_there() {
    let folder = with_weights("tiny-llama", |weights| {
        put(tensor(weights, "model.norm.weight"), &[7], &[0xC0, 0x7F]);
    });
    let target = tempfile::tempdir().unwrap();
    let file = target.path().join("model.apr");
    fs::write(&file, "precious").unwrap();
    let args = ["import", text(folder.path()), "-o", text(&file)];
    assert_none(&refusal_complaints(&args, &["model.norm.weight", "NaN"]));
    assert_eq!(fs::read(&file).unwrap(), b"precious", "the older file was touched");
    let files = fs::read_dir(target.path()).unwrap().count();
    assert_eq!(files, 1, "a temporary file is left behind");
}
