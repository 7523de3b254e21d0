//! What the tests share: the binary, the shipped models and their goldens, and forged files.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The shipped models.
pub(crate) const MODELS: [&str; 3] = ["tiny-llama", "tiny-qwen2", "tiny-gpt2"];

/// The prompts of the goldens.
pub(crate) const PROMPTS: [&str; 6] =
    ["arithmetic", "completion", "code", "greeting", "unicode", "whitespace"];

/// The folder of a shipped model.
pub(crate) fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models").join(name)
}

/// The text for perplexity.
pub(crate) fn heldout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/heldout.txt")
}

/// The binary.
pub(crate) fn apr(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apr"));
    command.args(args);
    command
}

/// Runs the binary, expects success, and returns standard output.
pub(crate) fn stdout(args: &[&str]) -> String {
    let output = apr(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "apr {args:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the binary with `--json`, expects success, and returns the one document it prints, which
/// is as `apr schema` describes it.
pub(crate) fn json(args: &[&str]) -> Value {
    let verb = args[0];
    let args = [args, &["--json"]].concat();
    let document = serde_json::from_str(&stdout(&args)).unwrap();
    assert_described(verb, &document);
    document
}

/// Asserts that a document is as `apr schema` describes it, without a key that it does not name.
pub(crate) fn assert_described(verb: &str, document: &Value) {
    let schema: Value = serde_json::from_str(&stdout(&["schema", verb])).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "apr {verb}: {}", wrong.join("\n"));
}

/// Runs the binary, expects a failure that is explained, and returns what it says.
pub(crate) fn failure(args: &[&str]) -> String {
    let output = apr(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    assert!(matches!(code, Some(1 | 2)), "apr {args:?}: exit {code:?}\n{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("internal error"), "{stderr}");
    assert!(!stderr.trim().is_empty(), "apr {args:?} fails without a word");
    stderr
}

/// Every verb, as the help lists them.
pub(crate) fn verbs() -> Vec<String> {
    let help = stdout(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let verbs: Vec<String> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(name)
        .filter(|verb| verb != "help")
        .collect();
    assert!(verbs.len() > 20 && verbs.iter().any(|verb| verb == "import"), "{verbs:?}");
    verbs
}

/// An import in a folder of its own.
pub(crate) struct Imported {
    pub(crate) folder: TempDir,
    pub(crate) file: PathBuf,
}

impl Imported {
    /// Imports a shipped model by a recipe, or with its own types.
    pub(crate) fn new(name: &str, recipe: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.apr");
        let source = model(name);
        let mut args = vec!["import", text(&source), "-o", text(&file)];
        args.extend(recipe.iter().flat_map(|recipe| ["--quantize", recipe]));
        stdout(&args);
        Self { folder, file }
    }

    pub(crate) fn path(&self) -> &str {
        text(&self.file)
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes the weights of a shipped model with another `__metadata__`.
pub(crate) fn relabel(name: &str, metadata: &Value, target: &Path) {
    let file = fs::read(model(name).join("model.safetensors")).unwrap();
    let header_len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let (header, data) = file[8..].split_at(header_len);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    header["__metadata__"] = metadata.clone();
    let header = header.to_string();
    let header_len = (header.len() as u64).to_le_bytes();
    fs::write(target, [&header_len[..], header.as_bytes(), data].concat()).unwrap();
}

/// What `transformers` gave.
pub(crate) struct Golden {
    pub(crate) prompt: String,
    pub(crate) prompt_tokens: Vec<u32>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) text: String,
    pub(crate) margins: Vec<f64>,
    /// Leading tokens with a margin of at least 1.
    pub(crate) decisive: usize,
}

impl Golden {
    pub(crate) fn load(name: &str, prompt: &str) -> Self {
        let path = model(name).join("goldens").join(prompt).with_extension("json");
        let value: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let tokens = |key: &str| -> Vec<u32> {
            value[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
        };
        Self {
            prompt: value["prompt"].as_str().unwrap().to_owned(),
            prompt_tokens: tokens("prompt_tokens"),
            tokens: tokens("tokens"),
            text: value["text"].as_str().unwrap().to_owned(),
            margins: value["margins"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m.as_f64().unwrap())
                .collect(),
            decisive: value["decisive_tokens"].as_u64().unwrap() as usize,
        }
    }

    /// Prompt and generated tokens.
    pub(crate) fn all_tokens(&self) -> Vec<u32> {
        [self.prompt_tokens.as_slice(), &self.tokens].concat()
    }
}

/// The logits of a golden, `[prompt + 32, vocabulary]`.
pub(crate) fn golden_logits(name: &str, prompt: &str) -> Vec<f32> {
    let path = model(name).join("goldens/logits.safetensors");
    apr_format::open(&path).unwrap().tensor(prompt).unwrap().view().to_f32()
}

/// An `.apr` file taken apart by docs/format.md, to be changed and sealed again: damage that
/// only the checks behind the seal can find.
pub(crate) struct Forged {
    pub(crate) bytes: Vec<u8>,
}

impl Forged {
    pub(crate) fn read(path: &Path) -> Self {
        Self { bytes: fs::read(path).unwrap() }
    }

    pub(crate) fn u64_at(&self, offset: usize) -> usize {
        u64::from_le_bytes(self.bytes[offset..offset + 8].try_into().unwrap()) as usize
    }

    pub(crate) fn put_u64(&mut self, offset: usize, value: usize) {
        self.bytes[offset..offset + 8].copy_from_slice(&(value as u64).to_le_bytes());
    }

    /// Offset of the index.
    pub(crate) fn index(&self) -> usize {
        64 + self.u64_at(8)
    }

    /// Offset of the tensor data.
    pub(crate) fn data(&self) -> usize {
        self.index() + self.u64_at(16)
    }

    /// Offsets of all entries in the file, with their names.
    pub(crate) fn entries(&self) -> Vec<(String, usize)> {
        let count = u32::from_le_bytes(self.bytes[32..36].try_into().unwrap());
        let mut at = self.index();
        (0..count)
            .map(|_| {
                let name_len =
                    usize::from(u16::from_le_bytes(self.bytes[at + 4..at + 6].try_into().unwrap()));
                let name_at = at + 120 + 8 * usize::from(self.bytes[at + 6]);
                let name = std::str::from_utf8(&self.bytes[name_at..name_at + name_len]).unwrap();
                let entry = (name.to_owned(), at);
                at = name_at + name_len;
                entry
            })
            .collect()
    }

    /// Offset of a tensor's entry.
    pub(crate) fn entry(&self, name: &str) -> usize {
        self.entries().into_iter().find(|(found, _)| found == name).unwrap().1
    }

    /// The range of a tensor's bytes in the file.
    pub(crate) fn tensor(&self, name: &str) -> std::ops::Range<usize> {
        let entry = self.entry(name);
        let start = self.data() + self.u64_at(entry + 8);
        start..start + self.u64_at(entry + 16)
    }

    /// Writes the true hash of a tensor's bytes into its entry.
    pub(crate) fn rehash(&mut self, name: &str) {
        let hash = xxhash_rust::xxh3::xxh3_128(&self.bytes[self.tensor(name)]);
        let entry = self.entry(name);
        self.bytes[entry + 24..entry + 40].copy_from_slice(&hash.to_le_bytes());
    }

    /// Shape of the tensor with this entry.
    pub(crate) fn shape(&self, entry: usize) -> Vec<usize> {
        let rank = usize::from(self.bytes[entry + 6]);
        (0..rank).map(|dim| self.u64_at(entry + 120 + 8 * dim)).collect()
    }

    /// Makes seal and checksum true again, and writes the file.
    pub(crate) fn seal(mut self, path: &Path) {
        let sealed = [&self.bytes[..40], &self.bytes[64..self.data()]].concat();
        let seal = xxhash_rust::xxh3::xxh3_128(&sealed);
        self.bytes[40..56].copy_from_slice(&seal.to_le_bytes());
        let crc = crc32fast::hash(&self.bytes[..60]);
        self.bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        fs::write(path, self.bytes).unwrap();
    }
}
