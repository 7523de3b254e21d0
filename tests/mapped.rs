//! Model files that another process writes to while they are in use.

use crate::harness::{Imported, apr, json, model, stdout, text};
use apr::{Checkpoint, ConvertOptions, Recipe};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Overwrites a byte in place, with the same byte.
fn touch(path: &Path) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::End(-1)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&byte).unwrap();
    // A clock that ticks slowly must not hide it.
    file.set_modified(SystemTime::now() + Duration::from_secs(2)).unwrap();
}

#[test]
fn a_conversion_of_a_file_that_changes_meanwhile_writes_nothing() {
    let stored = Imported::new("tiny-llama", None);
    let source = Checkpoint::open(&stored.file).unwrap();
    source.check_unchanged().unwrap();
    touch(&stored.file);
    let target = stored.folder.path().join("target.gguf");
    let options = ConvertOptions::new(Recipe::named("int8").unwrap());
    let said = apr::convert(&source, &target, &options, &()).unwrap_err().to_string();
    assert!(said.contains("model.apr: changed while it was read"), "{said}");
    assert!(!target.exists());
}

#[test]
fn a_file_that_is_replaced_under_its_name_did_not_change() {
    let stored = Imported::new("tiny-llama", None);
    let source = Checkpoint::open(&stored.file).unwrap();
    let other = stored.folder.path().join("other");
    fs::write(&other, b"another file").unwrap();
    fs::rename(&other, &stored.file).unwrap();
    source.check_unchanged().unwrap();
}

/// A measurement that has opened its model.
fn measurement(file: &Path, iterations: &str, flags: &[&str]) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_apr"))
        .args(["bench", text(file), "--iterations", iterations, "--gen-tokens", "8"])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let held = format!("/proc/{}/fd", child.id());
    let file = file.canonicalize().unwrap();
    let is_open = || {
        let entries = fs::read_dir(&held).unwrap();
        entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == file))
    };
    let start = Instant::now();
    while !is_open() {
        assert!(start.elapsed() < Duration::from_secs(60), "the model is not opened");
        sleep(Duration::from_millis(1));
    }
    child
}

/// A measurement that takes longer than any test waits, in its midst.
fn endless(file: &Path, flags: &[&str]) -> Child {
    let child = measurement(file, "1000000", flags);
    sleep(Duration::from_secs(2));
    child
}

#[test]
fn a_file_that_becomes_shorter_ends_the_process_with_a_reason() {
    let stored = Imported::new("tiny-llama", None);
    let child = endless(&stored.file, &[]);
    File::options().write(true).open(&stored.file).unwrap().set_len(5000).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{} {stderr}", output.status);
    assert!(stderr.contains("became shorter while it was read"), "{stderr}");
    assert!(stderr.contains("--no-mmap"), "{stderr}");
}

#[test]
fn a_file_that_changes_takes_the_success_from_what_was_computed() {
    for flags in [&[][..], &["--json"]] {
        let stored = Imported::new("tiny-llama", None);
        let child = measurement(&stored.file, "50", flags);
        touch(&stored.file);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{} {stderr}", output.status);
        assert!(stderr.contains("changed while it was read"), "{stderr}");
        if !flags.is_empty() {
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(document["tokens_per_second"].is_number(), "one document");
        }
    }
}

#[test]
fn a_copy_in_memory_is_the_same_model_and_outlives_the_file() {
    let folder = model("tiny-llama");
    let run = ["run", text(&folder), "-p", "The capital of France is", "-n", "16"];
    let mapped = json(&run);
    let copied = json(&[&run[..], &["--no-mmap"]].concat());
    assert_eq!(mapped["tokens"], copied["tokens"]);
    let stored = Imported::new("tiny-llama", Some("int8"));
    let mut child = endless(&stored.file, &["--no-mmap"]);
    File::options().write(true).open(&stored.file).unwrap().set_len(0).unwrap();
    sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "the process ended with its file");
    child.kill().unwrap();
    child.wait().unwrap();
    let help = stdout(&["run", "--help"]);
    assert!(help.contains("--no-mmap"), "{help}");
    let missing = apr(&["run", text(&stored.file), "-p", "x", "--no-mmap"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&missing.stderr);
    assert!(stderr.contains("the file is empty"), "{stderr}");
}
