//! Files in which bits have changed: every change is found where the file has hashes, and no change
//! makes the program crash.

use crate::harness::{Imported, model, text};
use apr::{Checkpoint, Error, Generate, Length, LoadOptions, TextModel};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// A copy of a file, of which one byte at a time is wrong.
struct Rotten {
    path: PathBuf,
    file: File,
    good: Vec<u8>,
    _folder: TempDir,
}

impl Rotten {
    fn copy(source: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(source.file_name().unwrap());
        fs::copy(source, &path).unwrap();
        // What belongs to a SafeTensors file lies beside it.
        for entry in fs::read_dir(source.parent().unwrap()).unwrap() {
            let entry = entry.unwrap();
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        Self { path, file, good: fs::read(source).unwrap(), _folder: folder }
    }

    /// What `check` says of the file with these bits of one byte inverted.
    fn with<T>(&self, at: usize, bits: u8, check: impl FnOnce(&Path) -> T) -> T {
        self.file.write_all_at(&[self.good[at] ^ bits], at as u64).unwrap();
        let found = check(&self.path);
        self.file.write_all_at(&[self.good[at]], at as u64).unwrap();
        found
    }
}

/// Whether `apr validate` passes.
fn is_valid(path: &Path) -> bool {
    let validation = Checkpoint::open(path).and_then(|model| apr::validate(&model, &()));
    validation.is_ok_and(|validation| validation.failed == 0)
}

/// A model as `apr run` loads it.
fn load(path: &Path, verify: bool) -> Result<TextModel, Error> {
    let options = LoadOptions { verify, threads: Some(1), ..LoadOptions::default() };
    TextModel::open(&Checkpoint::open(path)?, &options, &())
}

/// Places and bits, drawn evenly.
fn draws(count: usize, len: usize) -> impl Iterator<Item = (usize, u8)> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 8) as usize % len, 1 << (state & 7))
    })
    .take(count)
}

/// Asks `check` about each of these changes, on several threads.
fn each(
    source: &Path,
    changes: &[(usize, u8)],
    check: impl Fn(&Path) -> Result<(), String> + Sync,
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let copy = Rotten::copy(source);
                while let Some(&(at, bits)) = changes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = copy.with(at, bits, &check);
                    let what = format!("byte {at} ^ {bits:#04x} of {}", source.display());
                    found.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
                }
            });
        }
    });
}

fn small(format: &str) -> Imported {
    let stored = Imported::new("../architectures/llama-linear", Some("int8"));
    if format == "apr" {
        return stored;
    }
    let file = stored.folder.path().join("model").with_extension(format);
    crate::harness::stdout(&["convert", stored.path(), "-o", text(&file)]);
    Imported { file, ..stored }
}

#[test]
fn every_byte_of_a_small_certified_file_is_guarded() {
    for format in ["apr", "gguf"] {
        let stored = small(format);
        assert!(is_valid(&stored.file));
        let len = fs::metadata(&stored.file).unwrap().len() as usize;
        let changes: Vec<_> = (0..len).map(|at| (at, 1 << (at % 8))).collect();
        each(&stored.file, &changes, |path| {
            if is_valid(path) { Err("validate passes".to_owned()) } else { Ok(()) }
        });
    }
}

#[test]
fn ten_thousand_random_bits_of_a_model_are_noticed() {
    let stored = Imported::new("tiny-gpt2", Some("int8"));
    assert!(is_valid(&stored.file) && load(&stored.file, true).is_ok());
    let len = fs::metadata(&stored.file).unwrap().len() as usize;
    let changes: Vec<_> = draws(10_000, len).collect();
    each(&stored.file, &changes, |path| {
        if is_valid(path) {
            return Err("validate passes".to_owned());
        }
        load(path, true).map_or(Ok(()), |_| Err("run --verify loads it".to_owned()))
    });
}

#[test]
fn no_changed_bit_makes_a_run_crash() {
    let options = Generate { length: Length::Exactly(2), ..Generate::default() };
    for (name, format) in
        [("tiny-llama", "apr"), ("tiny-qwen2", "gguf"), ("tiny-gpt2", "safetensors")]
    {
        let stored = Imported::new(name, Some("int4"));
        let file = match format {
            "apr" => stored.file.clone(),
            "gguf" => {
                let file = stored.folder.path().join("model.gguf");
                crate::harness::stdout(&["convert", stored.path(), "-o", text(&file)]);
                file
            }
            _ => model(name).join("model.safetensors"),
        };
        let len = fs::metadata(&file).unwrap().len() as usize;
        // Half of them in the header, where structure is.
        let mut changes: Vec<_> = draws(300, len).collect();
        changes.extend(draws(300, len / 20));
        each(&file, &changes, |path| {
            let ran = catch_unwind(AssertUnwindSafe(|| {
                // An error is an answer; so are other tokens where nothing guards the weights.
                let _ = load(path, false)
                    .and_then(|model| model.generate("one", &options, &mut |_| Ok(())));
            }));
            ran.map_err(|_| "the run panics".to_owned())
        });
    }
}

#[test]
fn the_structure_of_safetensors_is_guarded() {
    let source = model("tiny-llama").join("model.safetensors");
    let good = fs::read(&source).unwrap();
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize + 8;
    let shapes = |path: &Path| -> Result<String, Error> {
        let list = apr::tensors(&Checkpoint::open_header(path)?);
        Ok(serde_json::to_string(&list).unwrap())
    };
    let expected = shapes(&source).unwrap();
    let changes: Vec<_> = (0..header).map(|at| (at, 0x10)).collect();
    let (accepted, len) = (AtomicUsize::new(0), changes.len());
    each(&source, &changes, |path| {
        // A name or a type may become another one; extents that do not tile the file may not.
        if shapes(path).is_ok_and(|found| found == expected) {
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let accepted = accepted.into_inner();
    assert!(accepted * 20 < len, "{accepted} of {len} changes of the header make no difference");
}
