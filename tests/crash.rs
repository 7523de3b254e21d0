//! What a conversion leaves when the disk fails at any call, or the process is killed at any point:
//! the old file or the complete new one, and enough to go on.

use crate::harness::{apr, failure, model, stdout, text};
use apr::{Checkpoint, ConvertOptions, Error, Proof, Recipe};
use apr_format::{Disk, DiskFile, SystemDisk};
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The system answers one call with this error number.
    Errno(i32),
    /// One write takes only a part of its bytes.
    ShortWrite,
    /// From one call on, nothing reaches the disk any more: the process is dead.
    Kill,
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// The machine's disk, with a fault at one call.
#[derive(Debug, Clone)]
struct FaultyDisk {
    calls: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
    at: usize,
    fault: Fault,
}

impl FaultyDisk {
    fn new(at: usize, fault: Fault) -> &'static Self {
        let (calls, written) = (Arc::default(), Arc::default());
        Box::leak(Box::new(Self { calls, written, at, fault }))
    }

    /// Bytes that were written.
    fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts a call; whether it is the one with a short write.
    fn call(&self) -> io::Result<bool> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let failure = match self.fault {
            Fault::Errno(number) => (call == self.at).then_some(number),
            Fault::Kill => (call >= self.at).then_some(EIO),
            Fault::ShortWrite => None,
        };
        match failure {
            Some(number) => Err(io::Error::from_raw_os_error(number)),
            None => Ok(self.fault == Fault::ShortWrite && call == self.at),
        }
    }

    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { disk: self.clone(), file })
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    file: Box<dyn DiskFile>,
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call()?;
        Ok(self.wrap(SystemDisk.create(path)?))
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call()?;
        Ok(self.wrap(SystemDisk.reopen(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        SystemDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.call()?;
        SystemDisk.sync_folder(folder)
    }
}

impl Read for FaultyFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.call()?;
        self.file.read(buffer)
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let short = self.disk.call()?;
        let len = if short { bytes.len().div_ceil(2) } else { bytes.len() };
        self.disk.written.fetch_add(len, Ordering::Relaxed);
        self.file.write(&bytes[..len])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.call()?;
        self.file.flush()
    }
}

impl Seek for FaultyFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.disk.call()?;
        self.file.seek(to)
    }
}

impl DiskFile for FaultyFile {
    fn sync(&self) -> io::Result<()> {
        self.disk.call()?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.call()?;
        self.file.set_len(len)
    }

    fn try_lock(&self, path: &Path) -> io::Result<bool> {
        self.disk.call()?;
        self.file.try_lock(path)
    }
}

/// Conversions of one model into one file, beside which nothing else lies.
struct Site {
    source: Checkpoint,
    folder: TempDir,
    target: PathBuf,
    /// What an undisturbed conversion writes.
    expected: Vec<u8>,
}

const OLD: &[u8] = b"the file that was there before";

impl Site {
    fn new(extension: &str) -> Self {
        let source = Checkpoint::open(model("tiny-llama")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model").with_extension(extension);
        let mut site = Self { source, folder, target, expected: Vec::new() };
        site.convert(&SystemDisk, false).unwrap();
        site.expected = fs::read(&site.target).unwrap();
        site
    }

    fn convert(&self, disk: &'static dyn Disk, resume: bool) -> Result<Proof, Error> {
        let safetensors = self.target.extension().is_some_and(|of| of == "safetensors");
        let recipe = Recipe::named(if safetensors { "f16" } else { "q4_k_m" }).unwrap();
        let options = ConvertOptions { disk, resume, ..ConvertOptions::new(recipe) };
        apr::convert(&self.source, &self.target, &options, &())
    }

    /// An old file in the place of the target, and nothing else.
    fn reset(&self) {
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::write(&self.target, OLD).unwrap();
    }

    /// Whether the target is new; it is old or new, and never anything else.
    fn is_new(&self, what: &str) -> bool {
        let found = fs::read(&self.target).unwrap();
        let new = found == self.expected;
        assert!(new || found == OLD, "{what}: a target of {} bytes is half-written", found.len());
        new
    }

    /// Names of the files beside the target.
    fn others(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !self.target.ends_with(name));
        names.sort();
        names
    }

    /// The calls of an undisturbed conversion.
    fn calls(&self) -> usize {
        self.reset();
        let disk = FaultyDisk::new(usize::MAX, Fault::Kill);
        self.convert(disk, false).unwrap();
        assert!(self.is_new("an undisturbed conversion") && self.others().is_empty());
        disk.calls()
    }
}

#[test]
fn an_error_of_the_system_at_any_call_leaves_the_old_file_or_the_new_one() {
    for extension in ["apr", "gguf", "safetensors"] {
        let site = Site::new(extension);
        let calls = site.calls();
        assert!(calls > 40, "{extension}: {calls} calls");
        for (at, number) in (0..calls).flat_map(|at| [(at, ENOSPC), (at, EIO)]) {
            site.reset();
            let what = format!("{extension}: error {number} at call {at} of {calls}");
            let error = site.convert(FaultyDisk::new(at, Fault::Errno(number)), false).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(site.folder.path().to_str().unwrap()), "{what}: {said}");
            assert!(said.contains(&format!("os error {number}")), "{what}: {said}");
            // Only the last call comes after the proof and the rename.
            assert_eq!(site.is_new(&what), at + 1 == calls, "{what}");
            assert_eq!(site.others(), [""; 0], "{what} leaves files behind");
        }
    }
}

#[test]
fn short_writes_are_completed() {
    let site = Site::new("apr");
    for at in 0..site.calls() {
        site.reset();
        site.convert(FaultyDisk::new(at, Fault::ShortWrite), false).unwrap();
        assert!(site.is_new("a short write"), "short write at call {at}");
    }
}

#[test]
fn a_process_that_dies_at_any_call_leaves_what_the_next_one_continues() {
    for extension in ["apr", "gguf"] {
        let site = Site::new(extension);
        let calls = site.calls();
        // Both ways to go on at every call, in one of the formats each.
        for at in 0..calls {
            let resume = (at % 2 == 0) == (extension == "apr");
            site.reset();
            let what = format!("{extension}: killed at call {at} of {calls}");
            site.convert(FaultyDisk::new(at, Fault::Kill), false).unwrap_err();
            site.is_new(&what);
            let others = site.others();
            assert!(others.iter().all(|name| name.starts_with(".model.")), "{what}: {others:?}");
            site.convert(&SystemDisk, resume).unwrap();
            assert!(site.is_new(&what), "{what}: the next run, resume: {resume}");
            assert_eq!(site.others(), [""; 0], "{what}");
        }
    }
}

#[test]
fn a_resumed_conversion_writes_only_what_was_missing() {
    let site = Site::new("apr");
    let calls = site.calls();
    let full = written(&site, 0);
    assert!(full > site.expected.len(), "{full} bytes");
    // Two thirds of the way some tensors are there.
    let rest = written(&site, calls * 2 / 3);
    assert!(rest * 10 < full * 7, "{rest} of {full} bytes after an interruption");

    /// Bytes that a resumed conversion writes after one that was killed at this call.
    fn written(site: &Site, killed: usize) -> usize {
        site.reset();
        site.convert(FaultyDisk::new(killed, Fault::Kill), false).unwrap_err();
        let disk = FaultyDisk::new(usize::MAX, Fault::Kill);
        site.convert(disk, true).unwrap();
        assert!(site.is_new("a resumed conversion"));
        disk.written()
    }
}

#[test]
fn what_was_damaged_or_belongs_to_another_conversion_is_written_anew() {
    let site = Site::new("apr");
    let calls = site.calls();
    let partial = site.folder.path().join(".model.apr.apr-partial");
    let journal = site.folder.path().join(".model.apr.apr-journal");
    let interrupt = || {
        site.reset();
        site.convert(FaultyDisk::new(calls * 2 / 3, Fault::Kill), false).unwrap_err();
        assert!(fs::metadata(&journal).unwrap().len() > 1000, "a journal with records");
    };
    for (file, at) in [(&partial, 0.2), (&partial, 0.9), (&journal, 0.1), (&journal, 0.8)] {
        interrupt();
        let mut bytes = fs::read(file).unwrap();
        let at = (bytes.len() as f64 * at) as usize;
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
        site.convert(&SystemDisk, true).unwrap();
        assert!(site.is_new("damage"), "{} at {at}", file.display());
    }
    interrupt();
    let other =
        ConvertOptions { resume: true, ..ConvertOptions::new(Recipe::named("int8").unwrap()) };
    apr::convert(&site.source, &site.target, &other, &()).unwrap();
    let plain = site.folder.path().join("plain.apr");
    let options = ConvertOptions::new(Recipe::named("int8").unwrap());
    apr::convert(&site.source, &plain, &options, &()).unwrap();
    assert!(fs::read(&plain).unwrap() == fs::read(&site.target).unwrap(), "another recipe");
}

#[test]
fn an_error_keeps_what_was_written_if_it_is_to_be_continued() {
    let site = Site::new("gguf");
    let calls = site.calls();
    site.reset();
    site.convert(FaultyDisk::new(calls / 2, Fault::Errno(ENOSPC)), true).unwrap_err();
    assert!(!site.is_new("a full disk"));
    assert_eq!(site.others(), [".model.gguf.apr-journal", ".model.gguf.apr-partial"]);
    site.convert(&SystemDisk, true).unwrap();
    assert!(site.is_new("a resumed conversion") && site.others().is_empty());
}

/// Runs a conversion of the binary and kills it after a time. Whether it had ended before.
fn killed_after(args: &[&str], time: Duration) -> bool {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_apr"))
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap().success()
}

#[test]
fn processes_that_are_killed_leave_the_old_file_or_the_new_one() {
    let site = Site::new("apr");
    let source = model("tiny-llama");
    let convert = ["import", text(&source), "--quantize", "q4_k_m", "-o", text(&site.target)];
    site.reset();
    let start = Instant::now();
    stdout(&convert);
    let time = start.elapsed();
    assert!(site.is_new("an undisturbed process"));
    let (mut ended, mut resumed) = (0, 0);
    for run in 0..200_u32 {
        site.reset();
        let what = format!("process {run}");
        ended += u32::from(killed_after(&convert, time * run / 180));
        site.is_new(&what);
        if run % 4 == 0 {
            resumed += u32::from(!site.is_new(&what));
            stdout(&[&convert[..], &["--resume"]].concat());
            assert!(site.is_new(&what) && site.others().is_empty(), "{what} continued");
        }
    }
    assert!(ended < 190, "{ended} of 200 processes ended before they were killed");
    assert!(resumed > 5, "{resumed} of 50 runs were continued");
}

#[test]
fn a_chain_of_kills_ends_with_the_bytes_of_one_run() {
    let site = Site::new("apr");
    let source = model("tiny-llama");
    let convert =
        ["import", text(&source), "--quantize", "q4_k_m", "-o", text(&site.target), "--resume"];
    site.reset();
    let start = Instant::now();
    stdout(&convert);
    let time = start.elapsed();
    site.reset();
    for _ in 0..20 {
        if killed_after(&convert, time / 2) {
            break;
        }
        site.is_new("a chain of kills");
    }
    stdout(&convert);
    assert!(site.is_new("a chain of kills") && site.others().is_empty());
}

#[test]
fn a_second_process_does_not_write_the_same_file() {
    let site = Site::new("apr");
    site.reset();
    let held = apr_format::AtomicFile::create(&SystemDisk, &site.target).unwrap();
    let source = model("tiny-llama");
    let said = failure(&["import", text(&source), "-o", text(&site.target)]);
    assert!(said.contains("another process is writing this file"), "{said}");
    drop(held);
    let output = apr(&["import", text(&source), "-o", text(&site.target)]).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_folder_appears_when_it_is_complete() {
    let site = Site::new("apr");
    let target = site.folder.path().join("folder");
    let convert = |disk: &'static dyn Disk| {
        let options = ConvertOptions { disk, ..ConvertOptions::new(Recipe::KEEP) };
        apr::convert(&site.source, &target, &options, &())
    };
    let disk = FaultyDisk::new(usize::MAX, Fault::Kill);
    convert(disk).unwrap();
    let complete: Vec<PathBuf> = list(&target);
    for at in 0..disk.calls() {
        fs::remove_dir_all(&target).unwrap();
        let error = convert(FaultyDisk::new(at, Fault::Kill)).err();
        if target.exists() {
            assert_eq!(list(&target), complete, "killed at call {at}");
        } else {
            assert!(error.is_some(), "call {at}");
            convert(&SystemDisk).unwrap();
        }
        assert!(!site.folder.path().join(".folder.apr-partial").exists(), "call {at}");
    }

    fn list(folder: &Path) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_disk_that_was_full_says_so() {
    let site = Site::new("apr");
    let error = site.convert(FaultyDisk::new(5, Fault::Errno(ENOSPC)), false).unwrap_err();
    let Error::Format(error) = error else { panic!("{error}") };
    let apr_format::FormatError::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
}
