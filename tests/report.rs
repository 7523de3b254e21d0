//! `apr report`: the page says what the file holds, whatever that is, and loads nothing.

use crate::checkpoints::{SafeTensors, StoredTensor, copy_model};
use crate::gguf_file::GgufFile;
use crate::harness::{
    Forged, Imported, MODELS, apr, assert_described, failure, heldout, json, model, relabel,
    stdout, text,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A page and what the program says of it.
struct Page {
    _folder: TempDir,
    document: Value,
    html: String,
}

impl Page {
    fn of(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        let document = json(&[&["report"], args, &["-o", text(&path)]].concat());
        let html = fs::read_to_string(&path).unwrap();
        assert_eq!(document["output"], text(&path));
        assert_eq!(document["output_size"], html.len());
        Self { _folder: folder, document, html }
    }

    /// The data that lies in the page.
    fn data(&self) -> Value {
        let begin = r#"<script type="application/json" id="data">"#;
        let rest = self.html.split(begin).nth(1).unwrap();
        serde_json::from_str(rest.split("</script>").next().unwrap()).unwrap()
    }

    fn tensors(&self) -> &[Value] {
        array(&self.document["tensors"])
    }

    fn tensor(&self, name: &str) -> &Value {
        self.tensors().iter().find(|tensor| tensor["name"] == name).unwrap()
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn close(found: &Value, expected: f64, tolerance: f64) {
    let found = float(found);
    let allowed = tolerance * expected.abs().max(1e-300);
    assert!((found - expected).abs() <= allowed, "{found} is not {expected}");
}

/// Values of a tensor of a published checkpoint, by the definitions of its type.
fn values(tensor: &StoredTensor) -> Vec<f64> {
    let single = |bits: u32| f64::from(f32::from_bits(bits));
    match tensor.dtype.as_str() {
        "BF16" => {
            let pairs = tensor.bytes.as_chunks::<2>().0.iter();
            pairs.map(|pair| single(u32::from(u16::from_le_bytes(*pair)) << 16)).collect()
        }
        "F32" => {
            let words = tensor.bytes.as_chunks::<4>().0.iter();
            words.map(|word| single(u32::from_le_bytes(*word))).collect()
        }
        other => panic!("{other} is not read here"),
    }
}

/// Values of a tensor as a file stores them.
fn stored(path: &Path, name: &str) -> Vec<f64> {
    let values = apr_format::open(path).unwrap().tensor(name).unwrap().view().to_f32();
    values.into_iter().map(f64::from).collect()
}

fn source(name: &str) -> BTreeMap<String, StoredTensor> {
    let file = SafeTensors::read(&model(name).join("model.safetensors"));
    file.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect()
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
        (least.min(*value), most.max(*value))
    })
}

fn assert_statistics(found: &Value, values: &[f64]) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let (min, max) = range(values);
    assert_eq!(found["count"], values.len());
    assert_eq!((float(&found["min"]), float(&found["max"])), (min, max));
    assert!((float(&found["mean"]) - mean).abs() < 1e-9 * max.abs().max(1.0), "{found}");
    close(&found["std"], square.sqrt(), 1e-9);
    assert_eq!(found["zeros"], values.iter().filter(|value| **value == 0.0).count());
}

fn assert_bars(found: &Value, values: &[f64], (min, max): (f64, f64)) {
    let mut bars = vec![0_u64; 64];
    for value in values {
        bars[(((value - min) / (max - min) * 64.0) as usize).min(63)] += 1;
    }
    assert_eq!(array(found).len(), 64);
    assert_eq!(found, &json!(bars));
}

#[test]
fn a_checkpoint_is_described_as_it_is() {
    let folder = model("tiny-llama");
    let page = Page::of(&[text(&folder)]);
    let source = source("tiny-llama");
    assert_eq!(page.tensors().len(), source.len());
    let mut by_role: BTreeMap<(String, String), [u64; 3]> = BTreeMap::new();
    for tensor in page.tensors() {
        let expected = &source[tensor["name"].as_str().unwrap()];
        assert_eq!((&tensor["shape"], &tensor["dtype"]), (&json!(expected.shape), &json!("BF16")));
        assert_eq!(tensor["size_bytes"], expected.bytes.len());
        let hash = xxhash_rust::xxh3::xxh3_128(&expected.bytes);
        assert_eq!(tensor["hash"], format!("{hash:032x}"));
        assert!(tensor["certificate"].is_null() && tensor["before"].is_null());
        let values = values(expected);
        assert_statistics(&tensor["statistics"], &values);
        let histogram = &tensor["histogram"];
        assert_eq!((float(&histogram["min"]), float(&histogram["max"])), range(&values));
        assert_bars(&histogram["bins"], &values, range(&values));
        let key = |key: &str| tensor[key].as_str().unwrap().to_owned();
        let sums = by_role.entry((key("role"), key("dtype"))).or_default();
        sums[0] += 1;
        sums[1] += values.len() as u64;
        sums[2] += expected.bytes.len() as u64;
        // By the names of the published files.
        let layer = expected.name.strip_prefix("model.layers.").map(|rest| &rest[..1]);
        let layer = layer.map(|layer| layer.parse::<usize>().unwrap());
        assert_eq!(tensor["layer"], json!(layer));
    }
    assert_eq!(page.tensor("model.layers.2.mlp.down_proj.weight")["role"], "MLP down");
    let sizes = array(&page.document["sizes"]);
    assert_eq!(sizes.len(), by_role.len());
    for size in sizes {
        let key = |key: &str| size[key].as_str().unwrap().to_owned();
        let [tensors, elements, bytes] = by_role[&(key("role"), key("dtype"))];
        assert_eq!(size["tensors"], tensors);
        assert_eq!((&size["elements"], &size["size_bytes"]), (&json!(elements), &json!(bytes)));
    }
    let elements: usize = source.values().map(|t| t.shape.iter().product::<usize>()).sum();
    let file_size = fs::metadata(folder.join("model.safetensors")).unwrap().len();
    let document = &page.document;
    assert_eq!(document["parameters"], elements);
    assert_eq!(document["file_size"], file_size);
    close(&document["bits_per_weight"], 8.0 * file_size as f64 / elements as f64, 1e-12);
    assert_eq!(
        (&document["name"], &document["architecture"]),
        (&json!("tiny-llama"), &json!("llama"))
    );
    assert_eq!(document["verdict"]["status"], "not_certified");
    assert!(document["divergence"].is_null() && document["certificates"].is_null());
    assert_eq!(array(&document["remarks"]).len(), 0);
}

#[test]
fn a_page_beside_the_source_measures_errors_and_distributions() {
    let imported = Imported::new("tiny-llama", Some("int4"));
    let folder = model("tiny-llama");
    let page = Page::of(&[imported.path(), "--against", text(&folder), "--no-eval"]);
    let proof = json(&["verify", imported.path(), "--against", text(&folder)]);
    let document = &page.document;
    assert_eq!(document["verdict"]["status"], "proven");
    assert_eq!(document["verdict"]["seal"], proof["seal"]);
    assert_eq!(
        (&document["certificates"], &document["recipe"]),
        (&json!("measured"), &json!("int4"))
    );
    assert!(document["divergence"].is_null());
    let source = source("tiny-llama");
    for proven in array(&proof["tensors"]) {
        let name = proven["name"].as_str().unwrap();
        let tensor = page.tensor(name);
        let certificate = &tensor["certificate"];
        for key in [
            "source_dtype",
            "source_hash",
            "max_error",
            "rms_error",
            "sqnr_db",
            "bound",
            "bound_share",
        ] {
            assert_eq!(certificate[key], proven[key], "{name}: {key}");
        }
        let (before, after) = (values(&source[name]), stored(&imported.file, name));
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let error = square(&mut before.iter().zip(&after).map(|(a, b)| a - b));
        let signal = square(&mut before.iter().copied());
        close(&certificate["relative_error"], (error / signal).sqrt(), 1e-6);
        close(&certificate["rms_error"], (error / before.len() as f64).sqrt(), 1e-6);
        assert_statistics(&tensor["before"], &before);
        assert_statistics(&tensor["statistics"], &after);
        let (of_before, of_after) = (range(&before), range(&after));
        let both = (of_before.0.min(of_after.0), of_before.1.max(of_after.1));
        let histogram = &tensor["histogram"];
        assert_eq!((float(&histogram["min"]), float(&histogram["max"])), both);
        assert_bars(&histogram["bins"], &after, both);
        assert_bars(&histogram["before"], &before, both);
    }
    assert_eq!(page.tensors().len(), array(&proof["tensors"]).len());
}

#[test]
fn without_the_source_a_page_has_the_certificates_of_the_file() {
    for (name, recipe) in [("tiny-qwen2", "int8"), ("tiny-gpt2", "q4_k_m")] {
        let imported = Imported::new(name, Some(recipe));
        let gguf = imported.folder.path().join("model.gguf");
        stdout(&["import", text(&model(name)), "--quantize", recipe, "-o", text(&gguf)]);
        for file in [&imported.file, &gguf] {
            let page = Page::of(&[text(file)]);
            let proof = json(&["verify", text(file), "--against", text(&model(name))]);
            assert_eq!(page.document["verdict"]["status"], "certified", "{}", file.display());
            assert_eq!(page.document["verdict"]["seal"], proof["seal"]);
            assert_eq!(page.document["certificates"], "file");
            for proven in array(&proof["tensors"]) {
                let tensor = page.tensor(proven["name"].as_str().unwrap());
                assert_eq!(tensor["hash"], proven["hash"]);
                for key in ["source_hash", "max_error", "sqnr_db", "bound_share"] {
                    assert_eq!(tensor["certificate"][key], proven[key], "{key} of {tensor}");
                }
                assert!(tensor["before"].is_null() && tensor["histogram"]["before"].is_null());
            }
        }
    }
}

#[test]
fn every_format_is_held_against_every_other() {
    let imported = Imported::new("tiny-gpt2", Some("int8"));
    let [converted, gguf] = ["converted", "direct"]
        .map(|name| imported.folder.path().join(name).with_extension("gguf"));
    let folder = model("tiny-gpt2");
    stdout(&["convert", imported.path(), "-o", text(&converted)]);
    stdout(&["import", text(&folder), "--quantize", "q4_0", "-o", text(&gguf)]);
    for (file, against) in [(&gguf, &folder), (&converted, &imported.file)] {
        let page = Page::of(&[text(file), "--against", text(against), "--no-eval"]);
        assert_eq!(page.document["verdict"]["status"], "proven", "{}", page.document["verdict"]);
        let compared =
            |tensor: &&Value| !tensor["certificate"].is_null() && !tensor["before"].is_null();
        assert_eq!(page.tensors().iter().filter(compared).count(), page.tensors().len());
    }
    // What was made of a file was not made of that file's source; how far it is from it is known.
    let pair = [text(&converted), "--against", text(&folder), "--no-eval"];
    let (document, stderr) = not_proven(&pair);
    assert!(stderr.contains("another source"), "{stderr}");
    let direct = Page::of(&[imported.path(), "--against", text(&folder), "--no-eval"]);
    for tensor in array(&document["tensors"]) {
        let role =
            |other: &&Value| other["role"] == tensor["role"] && other["layer"] == tensor["layer"];
        let expected = direct.tensors().iter().find(role).unwrap();
        assert_eq!(tensor["certificate"], expected["certificate"], "{}", tensor["name"]);
    }
    // A file that is nothing but its source, transposed matrices and all: no error anywhere.
    let page = Page::of(&[text(&folder), "--against", text(&folder), "--no-eval"]);
    let exact = page.tensors().iter().filter(|t| t["certificate"]["max_error"] == 0.0).count();
    assert!(exact >= 50, "{exact} of {}", page.tensors().len());
    for tensor in page.tensors() {
        assert_eq!(tensor["histogram"]["bins"].is_array(), tensor["elements"] != 0);
    }
}

/// Stacked experts beside single ones, norms that are stored with one added, texts of 64 tokens.
#[test]
fn files_that_store_the_same_otherwise_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mixtral", "gemma3"] {
        let source = model("../architectures").join(name);
        let gguf = folder.path().join(name).with_extension("gguf");
        stdout(&["import", text(&source), "-o", text(&gguf)]);
        let page = Page::of(&[text(&gguf), "--against", text(&source)]);
        assert_eq!(page.document["verdict"]["status"], "proven");
        let divergence = &page.document["divergence"];
        assert_eq!(divergence["window"], 64, "{}", page.document["remarks"]);
        assert!(float(&divergence["divergence"]["mean_kl"]) < 1e-6, "{divergence}");
        let published = Page::of(&[text(&source), "--against", text(&gguf), "--no-eval"]);
        assert_eq!(published.document["verdict"]["status"], "proven");
        let expected = SafeTensors::read(&source.join("model.safetensors"));
        assert_eq!(published.tensors().len(), expected.tensors.len());
        assert_eq!(published.tensors().len() > page.tensors().len(), name == "mixtral");
        for tensor in published.tensors() {
            assert_eq!(tensor["certificate"]["max_error"], 0.0, "{tensor}");
            let (before, after) = (&tensor["before"], &tensor["statistics"]);
            assert_eq!((&before["min"], &before["max"]), (&after["min"], &after["max"]));
            assert_eq!(tensor["histogram"]["before"], tensor["histogram"]["bins"]);
        }
    }
}

#[test]
fn the_divergence_is_that_of_eval() {
    let imported = Imported::new("tiny-qwen2", Some("int4"));
    let (folder, heldout) = (model("tiny-qwen2"), heldout());
    for text_args in [&["--window", "64"][..], &["--text", text(&heldout)]] {
        let pair = [&["--against", text(&folder)], text_args].concat();
        let page = Page::of(&[&[imported.path()], &pair[..]].concat());
        let other = [&["--reference", text(&folder)], text_args].concat();
        let expected = json(&[&["eval", imported.path()], &other[..]].concat());
        let found = &page.document["divergence"];
        for key in ["text", "tokens", "scored", "window", "perplexity"] {
            assert_eq!(found[key], expected[key], "{key}");
        }
        let reference = &expected["reference"];
        assert_eq!(found["reference_perplexity"], reference["reference_perplexity"]);
        for key in ["mean_kl", "median_kl", "p99_kl", "max_kl", "same_top1"] {
            assert_eq!(found["divergence"][key], reference[key], "{key}");
        }
        let along = array(&found["along_text"]);
        assert!(along.len() <= 480 && along.len() > 20, "{}", along.len());
        let most = along.iter().map(|range| float(&range["max_kl"])).fold(0.0, f64::max);
        assert_eq!(most, float(&reference["max_kl"]));
        assert_eq!(along[0]["first"], 1);
        let last = along.last().unwrap()["last"].as_u64().unwrap();
        assert!(last < found["tokens"].as_u64().unwrap(), "{last}");
        let in_window = array(&found["in_window"]);
        assert_eq!(in_window.last().unwrap()["last"], found["window"].as_u64().unwrap() - 1);
        let most = in_window.iter().map(|range| float(&range["max_kl"])).fold(0.0, f64::max);
        assert_eq!(most, float(&reference["max_kl"]));
    }
}

#[test]
fn the_data_of_the_page_is_the_document() {
    let imported = Imported::new("tiny-llama", Some("int8"));
    let page = Page::of(&[imported.path()]);
    let mut document = page.document.clone();
    let keys = document.as_object_mut().unwrap();
    keys.shift_remove("output");
    keys.shift_remove("output_size");
    assert_eq!(page.data(), document);
    assert!(!page.html.contains(text(imported.folder.path())), "the page names a folder");
    let again = Page::of(&[imported.path()]);
    assert_eq!(page.html, again.html, "two pages of one file differ");
}

/// Everything in a page but the data and the names of vocabularies.
fn assert_loads_nothing(html: &str) {
    let (before, rest) = html.split_once(r#"id="data">"#).unwrap();
    let (data, after) = rest.split_once("</script>").unwrap();
    assert!(!data.contains(['<', '>', '&']), "markup in the data");
    let page = format!("{before}{after}");
    assert_eq!(page.matches("<script").count(), 2, "scripts");
    assert_eq!(page.matches("<style").count(), 1, "styles");
    for forbidden in [
        "src=",
        "url(",
        "@import",
        "<link",
        "<iframe",
        "fetch(",
        "XMLHttp",
        "innerHTML",
        "eval(",
        "style=\"",
    ] {
        assert!(!page.contains(forbidden), "{forbidden} in the page");
    }
    let addresses = page.split("http").skip(1).filter(|rest| rest.starts_with([':', 's']));
    let others = addresses.filter(|rest| !rest.starts_with("://www.w3.org/2000/svg\""));
    assert_eq!(others.count(), 0, "an address in the page");
    let links = page.split("href=").skip(1).filter(|rest| !rest.starts_with("\"#"));
    assert_eq!(links.count(), 0, "a link in the page");
    assert!(page.contains("default-src 'none'; script-src 'sha256-"), "no policy");
}

#[test]
fn what_is_hostile_stays_text() {
    const NAMES: [&str; 4] = [
        "</script><script>document.title='broken'</script>",
        "<img src=x onerror=\"document.title='broken'\">",
        "a&amp;'\"`${1}{{title}}\u{2028}\u{202e}.weight",
        "blk.3.<!--.weight",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("<b>model&amp;{{script}}.safetensors");
    let tensor = |name: &str| StoredTensor {
        name: name.to_owned(),
        dtype: "F32".to_owned(),
        shape: vec![2, 2],
        bytes: [0.5_f32, -1.0, 0.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    SafeTensors { tensors: NAMES.map(tensor).to_vec() }.write(&path);
    let page = Page::of(&[text(&path)]);
    assert_loads_nothing(&page.html);
    let found: Vec<&str> = page.tensors().iter().map(|t| t["name"].as_str().unwrap()).collect();
    for name in NAMES {
        assert!(found.contains(&name), "{name} is not in {found:?}");
    }
    assert_eq!(page.data()["tensors"], page.document["tensors"]);
    let title = "<title>&lt;b&gt;model&amp;amp;{{script}}.safetensors · apr report</title>";
    assert!(page.html.contains(title));
    assert_eq!(page.document["architecture"], Value::Null);
    assert_eq!(page.tensor(NAMES[3])["layer"], 3);
    assert_eq!(page.tensor(NAMES[3])["role"], "blk.{}.<!--.weight");

    let labelled = folder.path().join("labelled.safetensors");
    let metadata = json!({"format": "pt", "note": "</script><script>alert(1)</script>"});
    relabel("tiny-llama", &metadata, &labelled);
    let page = Page::of(&[text(&labelled)]);
    assert_loads_nothing(&page.html);
    let note = json!({"key": "note", "value": metadata["note"]});
    assert!(array(&page.document["metadata"]).contains(&note));
    assert_eq!(page.document["architecture"], "llama");
}

/// A file of each format whose architecture nobody knows.
fn unknown(folder: &Path) -> [PathBuf; 2] {
    let gguf = folder.join("unknown.gguf");
    stdout(&["import", text(&model("tiny-llama")), "-o", text(&gguf)]);
    let mut file = GgufFile::read(&fs::read(&gguf).unwrap()).without_keys("apr.");
    let key = file.keys.iter_mut().find(|key| key.name == "general.architecture").unwrap();
    key.value = [&5_u64.to_le_bytes()[..], b"mamba"].concat();
    fs::write(&gguf, file.write()).unwrap();
    let safetensors = folder.join("unknown");
    copy_model("tiny-llama", &safetensors);
    let config = safetensors.join("config.json");
    let text = fs::read_to_string(&config).unwrap().replace("LlamaForCausalLM", "FooForCausalLM");
    fs::write(config, text).unwrap();
    [gguf, safetensors]
}

#[test]
fn an_unknown_architecture_is_described_by_its_names() {
    let folder = tempfile::tempdir().unwrap();
    for path in unknown(folder.path()) {
        let pair = [text(&path), "--against", text(&path)];
        let page = Page::of(&pair);
        let document = &page.document;
        assert_eq!(document["architecture"], Value::Null);
        assert_eq!((&document["num_layers"], &document["divergence"]), (&json!(4), &Value::Null));
        assert_eq!(document["verdict"]["status"], "not_certified");
        let remarks = document["remarks"].to_string();
        assert!(remarks.contains("is not supported") && remarks.contains("run over a text"));
        assert!(!remarks.contains(text(folder.path())), "{remarks}");
        assert_eq!(page.tensors().len(), source("tiny-llama").len());
        let down = |tensor: &&Value| tensor["role"].as_str().unwrap().contains("down");
        assert_eq!(page.tensors().iter().filter(down).count(), 4);
        for tensor in page.tensors() {
            assert_eq!(tensor["certificate"]["max_error"], 0.0, "{tensor}");
            assert_eq!(tensor["before"], tensor["statistics"]);
        }
        let heldout = heldout();
        let args = [&["report"], &pair[..], &["--text", text(&heldout), "-o"]].concat();
        let target = folder.path().join("page.html");
        assert!(failure(&[&args[..], &[text(&target)]].concat()).contains("not supported"));
        assert!(!target.exists());
        // Verbs that need to know the model still refuse it.
        assert!(failure(&["eval", text(&path)]).contains("not supported"));
    }
}

/// Runs the verb on a file that fails its proof: exit code 1, a reason, and a page all the same.
fn not_proven(args: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let args = [&["report"], args, &["-o", text(&path), "--json"]].concat();
    let output = apr(&args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_described("report", &document);
    assert_eq!(document["verdict"]["status"], "not_proven");
    assert_loads_nothing(&fs::read_to_string(&path).unwrap());
    (document, stderr)
}

#[test]
fn damage_is_on_the_page() {
    const NAME: &str = "model.layers.1.self_attn.q_proj.weight";
    let imported = Imported::new("tiny-llama", Some("int8"));
    let folder = model("tiny-llama");
    let damaged = imported.folder.path().join("damaged.apr");
    // The scale of a block, under a hash and a seal that hold.
    let mut file = Forged::read(&imported.file);
    let block = file.tensor(NAME).start;
    let scale = u16::from_le_bytes([file.bytes[block], file.bytes[block + 1]]) + (2 << 10);
    file.bytes[block..block + 2].copy_from_slice(&scale.to_le_bytes());
    file.rehash(NAME);
    file.seal(&damaged);
    let (document, stderr) = not_proven(&[text(&damaged), "--against", text(&folder), "--no-eval"]);
    assert!(stderr.contains(NAME) && stderr.contains("not proven"), "{stderr}");
    let past = |tensor: &&Value| tensor["certificate"]["bound_share"].as_f64() > Some(1.0);
    let tensors = array(&document["tensors"]);
    let found: Vec<&Value> = tensors.iter().filter(past).map(|tensor| &tensor["name"]).collect();
    assert_eq!(found, [NAME]);
    // Without the source nothing tells: its certificate is that of the sound one.
    assert_eq!(Page::of(&[text(&damaged)]).document["verdict"]["status"], "certified");
    // A hash that does not hold does.
    let mut file = Forged::read(&imported.file);
    let byte = file.tensor(NAME).start + 5;
    file.bytes[byte] ^= 1;
    file.seal(&damaged);
    let (document, stderr) = not_proven(&[text(&damaged)]);
    assert!(stderr.contains(NAME) && document["verdict"]["reason"].to_string().contains(NAME));
    // Where the types are the same, nothing may change.
    let copy = imported.folder.path().join("copy");
    copy_model("tiny-llama", &copy);
    let mut weights = SafeTensors::read(&copy.join("model.safetensors"));
    weights.tensors.iter_mut().find(|tensor| tensor.name == NAME).unwrap().bytes[1] ^= 1;
    weights.write(&copy.join("model.safetensors"));
    let (document, _) = not_proven(&[text(&copy), "--against", text(&folder), "--no-eval"]);
    let of = |name: &str| array(&document["tensors"]).iter().find(|t| t["name"] == name).unwrap();
    assert_eq!(of(NAME)["certificate"]["bound_share"], Value::Null);
    assert_eq!(of("model.norm.weight")["certificate"]["bound_share"], 0.0);
}

#[test]
fn values_that_are_not_finite_are_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    copy_model("tiny-llama", &copy);
    let path = copy.join("model.safetensors");
    let mut weights = SafeTensors::read(&path);
    let norm = weights.tensors.iter_mut().find(|t| t.name == "model.norm.weight").unwrap();
    norm.bytes[..4].copy_from_slice(&[0xc0, 0x7f, 0x80, 0xff]);
    weights.write(&path);
    let page = Page::of(&[text(&copy)]);
    let statistics = &page.tensor("model.norm.weight")["statistics"];
    assert_eq!((&statistics["nan"], &statistics["inf"]), (&json!(1), &json!(1)));
    let source = model("tiny-llama");
    let (document, _) = not_proven(&[text(&copy), "--against", text(&source), "--no-eval"]);
    let tensors = array(&document["tensors"]);
    let problems: Vec<&Value> = tensors.iter().filter(|t| t.get("problem").is_some()).collect();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0]["name"], "model.norm.weight");
    assert!(problems[0]["certificate"].is_null());
}

#[test]
fn nothing_but_a_page_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    copy_model("tiny-llama", &copy);
    let link = folder.path().join("link.html");
    std::os::unix::fs::symlink(copy.join("model.safetensors"), &link).unwrap();
    for target in [copy.join("model.safetensors"), copy.join("config.json"), link] {
        let before = fs::read(&target).unwrap();
        let message = failure(&["report", text(&copy), "-o", text(&target)]);
        assert!(message.contains(text(&target)) && message.contains("no HTML page"), "{message}");
        assert_eq!(fs::read(&target).unwrap(), before);
    }
    assert!(failure(&["report", text(&copy), "-o", text(&copy)]).contains("copy"));
    let nowhere = folder.path().join("nowhere/page.html");
    assert!(failure(&["report", text(&copy), "-o", text(&nowhere)]).contains("nowhere"));
    let page = folder.path().join("page.html");
    fs::write(&page, "<!DOCTYPE html><title>an older one</title>").unwrap();
    stdout(&["report", text(&copy), "-o", text(&page)]);
    assert!(fs::read_to_string(&page).unwrap().contains("model.norm.weight"));
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, 3, "something is left beside the page");
}

#[test]
fn pages_of_the_shipped_models_and_of_many_tensors_are_small() {
    for name in MODELS {
        let folder = model(name);
        let page = Page::of(&[text(&folder), "--against", text(&folder), "--no-eval"]);
        assert_loads_nothing(&page.html);
        assert!(page.html.len() < 400_000, "{name}: {} bytes", page.html.len());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.safetensors");
    let tensor = |at: u32| StoredTensor {
        name: format!("model.layers.{}.some_block.projection_{}.weight", at / 10, at % 10),
        dtype: "F32".to_owned(),
        shape: vec![64, 64],
        bytes: (0..4096_u32)
            .flat_map(|i| {
                (((i.wrapping_mul(2_654_435_761).wrapping_add(at)) % 9973) as f32).to_le_bytes()
            })
            .collect(),
    };
    SafeTensors { tensors: (0..400).map(tensor).collect() }.write(&path);
    let page = Page::of(&[text(&path), "--against", text(&path)]);
    assert_eq!(page.tensors().len(), 400);
    assert!(page.html.len() < 1_500_000, "{} bytes", page.html.len());
}

#[test]
fn what_is_printed_reads_at_a_glance() {
    let imported = Imported::new("tiny-llama", Some("int4"));
    let page = imported.folder.path().join("page.html");
    let (source, heldout) = (model("tiny-llama"), heldout());
    let pair = ["report", imported.path(), "--against", text(&source), "--text", text(&heldout)];
    let said = stdout(&[&pair[..], &["-o", text(&page)]].concat());
    for part in
        ["model.apr (llama, int4)", "1,967,808 parameters", "PROVEN", "perplexity", text(&page)]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}
