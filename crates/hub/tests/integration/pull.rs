//! What arrives, what is refused, and what a transfer that broke off leaves.

use crate::hub_server::{COMMIT, Fault, Hub, HubFile};
use apr_hub::{HubError, ModelName, Observer, Pulled, Settings, Stage, locate, pull};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Larger than what a connection buffers, and without a period of a power of two.
fn weights() -> Vec<u8> {
    (0..3_000_000_u32).flat_map(|at| (at % 65_521).to_le_bytes()).take(2_000_003).collect()
}

pub(crate) fn checkpoint() -> Vec<HubFile> {
    vec![
        HubFile::small(".gitattributes", "*.safetensors filter=lfs"),
        HubFile::small("README.md", "# Tiny"),
        HubFile::small("config.json", "{\"model_type\": \"llama\"}"),
        HubFile::large("model.safetensors", weights()),
        HubFile::large("onnx/model.onnx", vec![1; 1000]),
        HubFile::large("pytorch_model.bin", vec![2; 1000]),
        HubFile::small("tokenizer.json", "{}"),
    ]
}

pub(crate) struct Bench {
    pub(crate) hub: Hub,
    pub(crate) settings: Settings,
    _folder: TempDir,
}

impl Bench {
    pub(crate) fn new(files: Vec<HubFile>) -> Self {
        let (hub, folder) = (Hub::with(files), tempfile::tempdir().unwrap());
        let cache = folder.path().join("hub");
        let settings = Settings { cache, endpoint: hub.endpoint(), token: None, offline: false };
        Self { hub, settings, _folder: folder }
    }

    pub(crate) fn pull(&self, name: &str) -> Result<Pulled, HubError> {
        pull(&ModelName::parse(name).unwrap(), None, &self.settings, &())
    }

    fn choose(&self, wanted: &str) -> Result<Pulled, HubError> {
        let name = ModelName::parse("hf://org/tiny").unwrap();
        pull(&name, Some(wanted), &self.settings, &())
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.settings.cache.join("models--org--tiny")
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.repo().join("blobs").join(digest)
    }
}

/// The files of a folder, with what is in them.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let content = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(|entry| content(entry.unwrap())).collect()
}

fn needed(files: &[HubFile]) -> BTreeMap<String, Vec<u8>> {
    let needed = ["config.json", "model.safetensors", "tokenizer.json"];
    let files = files.iter().filter(|file| needed.contains(&file.name.as_str()));
    files.map(|file| (file.name.clone(), file.content.clone())).collect()
}

/// What a snapshot of the checkpoint must hold after a sound download.
fn assert_pulled(bench: &Bench, pulled: &Pulled) {
    let files = checkpoint();
    assert_eq!(pulled.folder, bench.repo().join("snapshots").join(COMMIT));
    assert_eq!(contents(&pulled.folder), needed(&files));
    let blobs: Vec<String> = contents(&bench.repo().join("blobs")).into_keys().collect();
    assert_eq!(blobs.len(), 3, "{blobs:?}");
    assert!(blobs.iter().all(|name| !name.contains("incomplete")), "{blobs:?}");
}

#[test]
fn the_needed_files_arrive_in_the_layout_of_the_cache() {
    let bench = Bench::new(checkpoint());
    let pulled = bench.pull("hf://org/tiny").unwrap();
    assert_pulled(&bench, &pulled);
    assert_eq!(pulled.commit, COMMIT);
    assert_eq!(fs::read_to_string(bench.repo().join("refs/main")).unwrap(), COMMIT);
    for file in checkpoint().iter().filter(|file| needed(&checkpoint()).contains_key(&file.name)) {
        let link = fs::read_link(pulled.folder.join(&file.name)).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(file.digest()), "{}", file.name);
        assert_eq!(fs::read(bench.blob(&file.digest())).unwrap(), file.content);
    }
    let skipped: Vec<&str> = pulled.skipped.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(skipped, [".gitattributes", "README.md", "onnx/model.onnx", "pytorch_model.bin"]);
    assert!(pulled.files.iter().all(|file| file.is_new), "{:?}", pulled.files);
    let again = bench.pull("hf://org/tiny").unwrap();
    assert!(again.files.iter().all(|file| !file.is_new), "{:?}", again.files);
    assert_eq!(bench.hub.requests("/resolve/").len(), 3, "a file was asked for again");
}

#[test]
fn a_listing_of_names_alone_is_completed_by_the_headers() {
    let bench = Bench::new(checkpoint());
    bench.hub.is_bare();
    let pulled = bench.pull("hf://org/tiny").unwrap();
    assert_pulled(&bench, &pulled);
    let heads = bench.hub.requests("/resolve/").into_iter().filter(|r| r.method == "HEAD").count();
    assert_eq!(heads, 3);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke_off() {
    let bench = Bench::new(checkpoint());
    bench.hub.fails("/cdn/", 2, Fault::Cut(700_000));
    assert_pulled(&bench, &bench.pull("hf://org/tiny").unwrap());
    let starts: Vec<_> = bench.hub.requests("/cdn/");
    let starts: Vec<_> = starts.iter().map(|request| request.header("range")).collect();
    assert_eq!(starts, [None, Some("bytes=700000-"), Some("bytes=1400000-")]);
}

#[test]
fn the_next_call_goes_on_where_the_last_gave_up() {
    let bench = Bench::new(checkpoint());
    bench.hub.fails("/cdn/", 1, Fault::Cut(500_000));
    bench.hub.fails("/cdn/", 5, Fault::Status(503, "retry-after: 0"));
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("503") && error.contains("the same command continues it"), "{error}");
    assert_eq!(contents(&bench.repo().join("snapshots")), BTreeMap::new(), "a snapshot is there");
    assert!(!bench.repo().join("refs/main").exists(), "a ref names what is not there");
    let pulled = bench.pull("hf://org/tiny").unwrap();
    assert_pulled(&bench, &pulled);
    let last = bench.hub.requests("/cdn/").pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=500000-"));
}

#[test]
fn a_hub_that_ignores_ranges_sends_the_file_anew() {
    let bench = Bench::new(checkpoint());
    bench.hub.fails("/cdn/", 1, Fault::Cut(500_000));
    bench.hub.fails("/cdn/", 1, Fault::IgnoreRange);
    assert_pulled(&bench, &bench.pull("hf://org/tiny").unwrap());
}

#[test]
fn a_wrong_digest_is_refused_and_leaves_nothing() {
    for (path, file) in [("/cdn/", "model.safetensors"), ("config.json", "config.json")] {
        for fault in [Fault::Flip(3), Fault::Longer] {
            let bench = Bench::new(checkpoint());
            bench.hub.fails(path, 1, fault);
            let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
            let said = error.contains(file) && error.contains("the cache is unchanged");
            assert!(said && error.contains("the hub says"), "{error}");
            let wrong = checkpoint().into_iter().find(|f| f.name == file).unwrap().digest();
            let blobs = contents(&bench.repo().join("blobs"));
            assert!(blobs.keys().all(|name| !name.starts_with(&wrong)), "{:?}", blobs.keys());
            assert!(!bench.repo().join("snapshots").exists(), "a snapshot is there");
            assert_pulled(&bench, &bench.pull("hf://org/tiny").unwrap());
        }
    }
}

#[test]
fn what_another_transfer_left_is_replaced_when_it_does_not_fit() {
    let model = checkpoint().into_iter().find(|file| file.is_large).unwrap();
    for left in [vec![7; 1000], vec![7; model.content.len()], vec![7; model.content.len() + 1]] {
        let bench = Bench::new(checkpoint());
        fs::create_dir_all(bench.repo().join("blobs")).unwrap();
        fs::write(bench.blob(&format!("{}.incomplete", model.digest())), left).unwrap();
        assert_pulled(&bench, &bench.pull("hf://org/tiny").unwrap());
    }
}

#[test]
fn a_content_that_was_cut_off_is_fetched_again() {
    let bench = Bench::new(checkpoint());
    bench.pull("hf://org/tiny").unwrap();
    let model = checkpoint().into_iter().find(|file| file.is_large).unwrap();
    fs::write(bench.blob(&model.digest()), &model.content[..1000]).unwrap();
    assert_pulled(&bench, &bench.pull("hf://org/tiny").unwrap());
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_the_hub_asks() {
    let bench = Bench::new(checkpoint());
    bench.hub.fails("/api/", 1, Fault::Status(429, "retry-after: 1"));
    let start = Instant::now();
    assert_pulled(&bench, &bench.pull("hf://org/tiny").unwrap());
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_rate_limit_of_an_hour_is_no_reason_to_wait() {
    let bench = Bench::new(checkpoint());
    bench.hub.fails("/cdn/", 1, Fault::Status(429, "retry-after: 3600"));
    let start = Instant::now();
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("429") && error.contains("3600 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    bench.hub.fails("/api/", 99, Fault::Status(429, "retry-after: 0"));
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("gave up after 5 attempts"), "{error}");
    assert_eq!(bench.hub.requests("/api/").len(), 1 + 5, "attempts without end");
}

#[test]
fn refusals_say_what_to_do_and_are_not_repeated() {
    let bench = Bench::new(checkpoint());
    let error = bench.pull("hf://org/other").unwrap_err().to_string();
    assert!(error.contains("404") && error.contains("no such model"), "{error}");
    let error = bench.pull("hf://org/tiny@v9").unwrap_err().to_string();
    assert!(error.contains("404") && error.contains("revision"), "{error}");
    bench.hub.needs_token("secret");
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("401") && error.contains("HF_TOKEN"), "{error}");
    assert_eq!(bench.hub.requests("").len(), 3);
    assert!(!bench.settings.cache.exists(), "a refusal leaves a folder");
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let mut bench = Bench::new(checkpoint());
    bench.hub.needs_token("secret");
    bench.settings.token = Some("secret".to_owned());
    assert_pulled(&bench, &bench.pull("hf://org/tiny").unwrap());
    let of_hub = bench.hub.requests("/resolve/");
    assert!(of_hub.iter().all(|r| r.header("authorization") == Some("Bearer secret")));
    let of_others = bench.hub.requests("/cdn/");
    assert!(!of_others.is_empty() && of_others.iter().all(|r| r.header("authorization").is_none()));
    assert!(!format!("{:?}", bench.settings).contains("secret\""), "the token is printed");
}

#[test]
fn a_hub_that_is_not_there_is_named() {
    let mut bench = Bench::new(checkpoint());
    bench.settings.endpoint = "http://127.0.0.1:1".to_owned();
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("http://127.0.0.1:1/api/models/org/tiny"), "{error}");
    assert!(error.contains("gave up after 5 attempts"), "{error}");
}

#[test]
fn answers_that_lead_out_of_the_cache_are_refused() {
    for commit in ["../../elsewhere", "", "..", "a/b"] {
        let bench = Bench::new(checkpoint());
        bench.hub.moves_on(commit, checkpoint());
        let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
        assert!(error.contains("commit") && error.contains("no plain name"), "{commit:?}: {error}");
        assert!(!bench.settings.cache.exists(), "{commit:?} leaves a folder");
    }
    let index = r#"{"weight_map": {"a": "../../../evil.safetensors"}}"#;
    let bench = Bench::new(vec![
        HubFile::small("model.safetensors.index.json", index),
        HubFile::large("../../../evil.safetensors", "evil"),
    ]);
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("evil.safetensors") && error.contains("no plain file name"), "{error}");
    assert!(!bench.settings.cache.parent().unwrap().join("evil.safetensors").exists());
}

#[test]
fn shards_are_those_that_the_index_names() {
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let index = format!(r#"{{"weight_map": {{"a": "{first}", "b": "{second}"}}}}"#);
    let mut files = vec![
        HubFile::small("config.json", "{}"),
        HubFile::large("consolidated.safetensors", "the same again"),
        HubFile::large(first, "one"),
        HubFile::large(second, "two"),
        HubFile::small("model.safetensors.index.json", index),
    ];
    let bench = Bench::new(files.clone());
    let pulled = bench.pull("hf://org/tiny").unwrap();
    let found: Vec<String> = contents(&pulled.folder).into_keys().collect();
    assert_eq!(found, ["config.json", first, second, "model.safetensors.index.json"]);
    assert_eq!(pulled.skipped.len(), 1);
    files.remove(3);
    bench.hub.moves_on(&"b".repeat(40), files);
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains(second) && error.contains("is not there"), "{error}");
    let main = fs::read_to_string(bench.repo().join("refs/main")).unwrap();
    assert_eq!(main, COMMIT, "main names a commit that is not there");
}

#[test]
fn of_several_gguf_files_one_is_chosen() {
    let bench = Bench::new(vec![
        HubFile::large("m-Q4_K_M.gguf", "four"),
        HubFile::large("m-Q8_0.gguf", "eight"),
        HubFile::small("README.md", ""),
    ]);
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("m-Q4_K_M.gguf, m-Q8_0.gguf") && error.contains("--file"), "{error}");
    let pulled = bench.choose("q8_0").unwrap();
    let expected = BTreeMap::from([("m-Q8_0.gguf".to_owned(), b"eight".to_vec())]);
    assert_eq!(contents(&pulled.folder), expected);
    let name = ModelName::parse("hf://org/tiny").unwrap();
    let path = locate(&name, &bench.settings, &()).unwrap();
    assert_eq!(path, pulled.folder.join("m-Q8_0.gguf"));
    bench.choose("q4_k_m").unwrap();
    let error = locate(&name, &bench.settings, &()).unwrap_err().to_string();
    assert!(error.contains("give the path of one"), "{error}");
}

#[test]
fn the_cache_comes_first_and_offline_it_is_all_there_is() {
    let mut bench = Bench::new(checkpoint());
    let name = ModelName::parse("hf://org/tiny").unwrap();
    bench.settings.offline = true;
    let error = bench.pull("hf://org/tiny").unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE") && error.contains("main"), "{error}");
    assert!(locate(&name, &bench.settings, &()).is_err());
    assert!(bench.hub.requests("").is_empty(), "the network was asked");
    bench.settings.offline = false;
    let path = locate(&name, &bench.settings, &()).unwrap();
    assert_eq!(contents(&path), needed(&checkpoint()));
    let count = bench.hub.requests("").len();
    assert_eq!(locate(&name, &bench.settings, &()).unwrap(), path);
    assert_eq!(bench.hub.requests("").len(), count, "the network was asked for what is there");
    bench.settings.offline = true;
    let pulled = bench.pull("hf://org/tiny").unwrap();
    assert_eq!(pulled.folder, path);
    assert_eq!(pulled.files.len(), 3);
    assert!(pulled.files.iter().all(|file| !file.is_new));
}

#[test]
fn a_snapshot_without_its_weights_is_completed() {
    let bench = Bench::new(checkpoint());
    let name = ModelName::parse("hf://org/tiny").unwrap();
    let folder = bench.pull("hf://org/tiny").unwrap().folder;
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    assert_eq!(locate(&name, &bench.settings, &()).unwrap(), folder);
    assert_eq!(contents(&folder), needed(&checkpoint()));
}

#[test]
fn a_pull_follows_the_branch_and_a_commit_stays() {
    let bench = Bench::new(checkpoint());
    let before = bench.pull("hf://org/tiny").unwrap();
    let (commit, mut files) = ("b".repeat(40), checkpoint());
    files[2].content = b"{\"version\": 2}".to_vec();
    bench.hub.moves_on(&commit, files.clone());
    let after = bench.pull("hf://org/tiny@main").unwrap();
    assert_eq!(after.commit, commit);
    assert_eq!(contents(&after.folder), needed(&files));
    let new: Vec<_> =
        after.files.iter().filter(|file| file.is_new).map(|file| &file.name).collect();
    assert_eq!(new, ["config.json"], "what is the same was fetched again");
    assert_eq!(contents(&before.folder), needed(&checkpoint()));
    let old = ModelName::parse(&format!("hf://org/tiny@{COMMIT}")).unwrap();
    assert_eq!(locate(&old, &bench.settings, &()).unwrap(), before.folder);
    bench.pull("hf://org/tiny@refs/pr/1").unwrap();
    let request = fs::read_to_string(bench.repo().join("refs/refs/pr/1")).unwrap();
    assert_eq!(request, commit);
}

/// Sums what it is told.
#[derive(Default)]
struct Sums(Mutex<Vec<(Stage, u64, u64)>>);

impl Observer for Sums {
    fn begin(&self, stage: Stage, bytes: u64) {
        self.0.lock().unwrap().push((stage, bytes, 0));
    }

    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().last_mut().unwrap().2 += bytes;
    }

    fn end(&self) {}
}

#[test]
fn every_byte_is_reported() {
    let (bench, sums) = (Bench::new(checkpoint()), Sums::default());
    bench.hub.fails("/cdn/", 1, Fault::Cut(500_000));
    let name = ModelName::parse("hf://org/tiny").unwrap();
    pull(&name, None, &bench.settings, &sums).unwrap();
    let sums = sums.0.into_inner().unwrap();
    let of = |wanted: Stage| sums.iter().filter(move |(stage, ..)| *stage == wanted);
    assert_eq!((of(Stage::Download).count(), of(Stage::Check).count()), (3, 3));
    assert!(sums.iter().all(|(_, expected, told)| expected == told), "{sums:?}");
}
