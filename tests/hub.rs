//! Models of the hub: pulled from one on a local port, listed, run and removed.

use crate::checkpoints::split_into_shards;
use crate::harness::{Golden, apr, assert_described, model, stdout, text};
use crate::hub_server::{COMMIT, Fault, Hub, HubFile};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// Variables that would lead to another hub, cache or proxy.
const FOREIGN: [&str; 11] = [
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "APR_KERNELS",
    "NO_PROXY",
];

/// A hub with a model, and an empty cache.
struct Bench {
    hub: Hub,
    cache: TempDir,
}

/// The files of a folder as the hub has them: weights are large.
fn hub_files(folder: &Path) -> Vec<HubFile> {
    let mut files = vec![HubFile::small("README.md", "# Tiny"), HubFile::large("x/y.bin", "no")];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let content = fs::read(&path).unwrap();
            let is_large = name.ends_with(".safetensors") || name.ends_with(".gguf");
            files.push(HubFile { name: name.to_owned(), content, is_large });
        }
    }
    files
}

impl Bench {
    fn with(files: Vec<HubFile>) -> Self {
        Self { hub: Hub::with(files), cache: tempfile::tempdir().unwrap() }
    }

    fn of_model(name: &str) -> Self {
        Self::with(hub_files(&model(name)))
    }

    fn output(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = apr(args);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.env("HF_HUB_CACHE", self.cache.path()).env("HF_ENDPOINT", self.hub.endpoint());
        command.env("HOME", self.cache.path()).envs(variables.iter().copied()).output().unwrap()
    }

    /// The document of a call that succeeds, without a word on standard error.
    fn json(&self, args: &[&str], variables: &[(&str, &str)]) -> Value {
        let output = self.output(&[args, &["--json"]].concat(), variables);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "apr {args:?}: {stderr}");
        let document = serde_json::from_slice(&output.stdout).unwrap();
        assert_described(args[0], &document);
        document
    }

    /// What a call says that fails, in one line and in its document.
    fn refusal(&self, args: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.output(&[args, &["--json"]].concat(), variables);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "apr {args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "apr {args:?}: {stderr}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_described("error", &document);
        assert_eq!(document["error"]["kind"], "hub", "{document}");
        stderr
    }

    fn is_empty(&self) -> bool {
        self.json(&["list"], &[])["models"] == json!([])
    }
}

#[test]
fn pull_fills_the_cache_and_list_shows_it() {
    let bench = Bench::of_model("tiny-qwen2");
    let pulled = bench.json(&["pull", "hf://org/tiny"], &[]);
    let snapshot = bench.cache.path().join("models--org--tiny/snapshots").join(COMMIT);
    assert_eq!(pulled["name"], "hf://org/tiny");
    assert_eq!(pulled["revision"], "main");
    assert_eq!(pulled["commit"], COMMIT);
    assert_eq!(pulled["path"], json!(snapshot));
    let mut total = 0;
    for file in pulled["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        let original = fs::read(model("tiny-qwen2").join(name)).unwrap();
        assert!(fs::read(snapshot.join(name)).unwrap() == original, "{name}");
        assert_eq!(file["size_bytes"], json!(original.len()), "{name}");
        total += original.len();
    }
    assert_eq!(pulled["downloaded_bytes"], json!(total));
    let skipped =
        json!([{"name": "README.md", "size_bytes": 6}, {"name": "x/y.bin", "size_bytes": 2}]);
    assert_eq!(pulled["skipped"], skipped);
    let list = bench.json(&["list"], &[]);
    let weights = snapshot.join("model.safetensors");
    let size = fs::metadata(&weights).unwrap().len();
    let listed = json!([
        {"name": "org_tiny", "repo": "org/tiny", "path": weights, "size_bytes": size}
    ]);
    assert_eq!(list["models"], listed);
    assert_eq!(bench.json(&["pull", "hf://org/tiny"], &[])["downloaded_bytes"], 0);
    let said = bench.output(&["pull", "hf://org/tiny"], &[]).stdout;
    let said = String::from_utf8(said).unwrap();
    for part in ["model.safetensors", "was in the cache", "README.md (6 B)", "x/ (1 files, 2 B)"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[test]
fn a_verb_pulls_what_is_not_in_the_cache_once() {
    let bench = Bench::of_model("tiny-llama");
    let golden = Golden::load("tiny-llama", "code");
    let run = ["run", "hf://org/tiny", "-p", &golden.prompt, "-n", "32"];
    assert_eq!(bench.json(&run, &[])["tokens"], json!(golden.tokens));
    let requests = bench.hub.requests("").len();
    for name in ["hf://org/tiny", "hf://org/tiny@main", &format!("hf://org/tiny@{COMMIT}")] {
        for offline in [&[][..], &[("HF_HUB_OFFLINE", "1")]] {
            assert_eq!(bench.json(&["inspect", name], offline)["architecture"], "llama", "{name}");
        }
    }
    assert_eq!(bench.hub.requests("").len(), requests, "the cache did not suffice");
}

#[test]
fn shards_and_gguf_files_run_by_their_names() {
    let golden = Golden::load("tiny-qwen2", "code");
    let folder = tempfile::tempdir().unwrap();
    let (shards, gguf) = (folder.path().join("shards"), folder.path().join("gguf"));
    split_into_shards("tiny-qwen2", &shards, 3);
    fs::create_dir(&gguf).unwrap();
    let (source, file) = (model("tiny-qwen2"), gguf.join("tiny-BF16.gguf"));
    stdout(&["convert", text(&source), "-o", text(&file)]);
    for files in [&shards, &gguf] {
        let bench = Bench::with(hub_files(files));
        let run = ["run", "hf://org/tiny", "-p", &golden.prompt, "-n", "32"];
        assert_eq!(bench.json(&run, &[])["tokens"], json!(golden.tokens), "{}", files.display());
    }
}

#[test]
fn of_several_files_one_is_pulled_by_a_part_of_its_name() {
    let small = |name: &str| HubFile::large(name, name);
    let bench = Bench::with(vec![small("m-Q4_K_M.gguf"), small("m-Q8_0.gguf")]);
    let said = bench.refusal(&["pull", "hf://org/tiny"], &[]);
    assert!(said.contains("m-Q4_K_M.gguf, m-Q8_0.gguf") && said.contains("--file"), "{said}");
    let pulled = bench.json(&["pull", "hf://org/tiny", "--file", "q8"], &[]);
    assert_eq!(pulled["files"][0]["name"], "m-Q8_0.gguf");
    assert_eq!(bench.json(&["list"], &[])["models"][0]["name"], "org_tiny");
}

#[test]
fn refusals_of_the_hub_are_told_in_one_line() {
    let bench = Bench::of_model("tiny-gpt2");
    let pull = ["pull", "hf://org/tiny"];
    for (name, cause) in [
        ("hf://org/other", "404"),
        ("hf://org/tiny@v9", "404"),
        ("org/tiny", "expected hf://ORG/NAME"),
        ("hf://../tiny", "expected hf://ORG/NAME"),
        ("hf://org/tiny/deeper", "expected hf://ORG/NAME"),
    ] {
        let said = bench.refusal(&["pull", name], &[]);
        assert!(said.contains(name) && said.contains(cause), "{said}");
    }
    let said = bench.refusal(&pull, &[("HF_HUB_OFFLINE", "1")]);
    assert!(said.contains("HF_HUB_OFFLINE"), "{said}");
    let said = bench.refusal(&pull, &[("HF_ENDPOINT", "ftp://hub")]);
    assert!(said.contains("HF_ENDPOINT is \"ftp://hub\""), "{said}");
    bench.hub.fails("/cdn/", 1, Fault::Flip(100));
    let said = bench.refusal(&pull, &[]);
    assert!(said.contains("model.safetensors: SHA-256 is"), "{said}");
    bench.hub.fails("/api/", 1, Fault::Status(429, "retry-after: 7200"));
    let said = bench.refusal(&pull, &[]);
    assert!(said.contains("429") && said.contains("7200 s"), "{said}");
    bench.hub.needs_token("secret");
    let said = bench.refusal(&pull, &[("HF_TOKEN", "wrong")]);
    assert!(said.contains("401") && said.contains("HF_TOKEN") && !said.contains("wrong"), "{said}");
    assert!(bench.is_empty(), "a refusal left a model");
    bench.json(&pull, &[("HF_TOKEN", "secret")]);
    assert!(!bench.is_empty());
}

#[test]
fn the_token_may_lie_in_a_file() {
    let bench = Bench::of_model("tiny-gpt2");
    bench.hub.needs_token("secret");
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("token"), "secret\n").unwrap();
    bench.json(&["pull", "hf://org/tiny"], &[("HF_HOME", text(home.path()))]);
}

#[test]
fn rm_takes_a_model_out_of_the_cache() {
    let bench = Bench::of_model("tiny-llama");
    let pulled = bench.json(&["pull", "hf://org/tiny"], &[]);
    let removed = bench.json(&["rm", "hf://org/tiny"], &[]);
    assert_eq!(removed["freed_bytes"], pulled["downloaded_bytes"]);
    assert_eq!(removed["removed_files"], json!(pulled["files"].as_array().unwrap().len()));
    assert!(bench.is_empty());
    assert!(!bench.cache.path().join("models--org--tiny").exists());
    let said = bench.refusal(&["rm", "hf://org/tiny"], &[]);
    assert!(said.contains("not in the cache"), "{said}");
}

#[test]
fn the_doctor_knows_the_cache() {
    let bench = Bench::of_model("tiny-llama");
    let empty = bench.json(&["doctor"], &[]);
    let state = |models: u64, bytes: &Value| {
        json!({
            "cache": bench.cache.path(), "writable": true, "models": models, "size_bytes": bytes,
            "endpoint": bench.hub.endpoint(), "has_token": false, "offline": false,
        })
    };
    assert_eq!(empty["hub"], state(0, &json!(0)));
    let pulled = bench.json(&["pull", "hf://org/tiny"], &[]);
    assert_eq!(bench.json(&["doctor"], &[])["hub"], state(1, &pulled["downloaded_bytes"]));
    let other = [("HF_HUB_CACHE", "/dev/null/hub"), ("HF_TOKEN", "x"), ("HF_HUB_OFFLINE", "yes")];
    let other = bench.json(&["doctor"], &other);
    assert_eq!(other["hub"]["writable"], false);
    assert_eq!(
        (&other["hub"]["has_token"], &other["hub"]["offline"]),
        (&json!(true), &json!(true))
    );
    let remarks = other["remarks"].to_string();
    assert!(remarks.contains("/dev/null/hub cannot be written"), "{remarks}");
}
