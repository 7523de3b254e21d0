//! The tour of the README, run as it is written.

use crate::harness::text;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

/// The commands of the first block of shell commands below a heading; those that go over several
/// lines in one piece.
fn commands(readme: &str, heading: &str) -> Vec<String> {
    let section = readme.split(&format!("\n{heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("\n```").next().unwrap();
    let joined = block.replace("\\\n", " ");
    let is_command = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    joined.lines().filter(is_command).map(str::to_owned).collect()
}

#[test]
fn the_tour_runs_as_it_is_written() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let commands = commands(&readme, "## A tour");
    assert!(commands.len() >= 12, "only {} commands: {commands:?}", commands.len());
    let folder = tempfile::tempdir().unwrap();
    symlink(repository().join("tests"), folder.path().join("tests")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_apr")).parent().unwrap();
    let path = format!("{}:{}", text(programs), env::var("PATH").unwrap());
    let mut failures = Vec::new();
    for command in commands {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || output.stdout.is_empty() {
            failures.push(format!("$ {command}\n{}\n{stderr}", output.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn commands_are_taken_from_their_section_alone() {
    let readme = "# x\n\n## A\n\ntext `y`\n\n```sh\n# why\napr a \\\n  --b   # c\n\napr d\n```\n\n## B\n\n```sh\napr e\n```\n";
    assert_eq!(commands(readme, "## A"), ["apr a    --b   # c", "apr d"]);
    assert_eq!(commands(readme, "## B"), ["apr e"]);
}
