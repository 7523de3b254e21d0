//! docs/dependencies.md says why each dependency is there, and forgets none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

#[test]
fn every_dependency_has_its_reason() {
    let (manifest, page, lock) =
        (read("Cargo.toml"), read("docs/dependencies.md"), read("Cargo.lock"));
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let declared: BTreeSet<&str> = section
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("path ="))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect();
    assert!(declared.len() > 20, "{declared:?}");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let explained: BTreeSet<&str> =
        rows.map(|(name, _)| name).filter(|name| *name != "crate").collect();
    assert_eq!(declared, explained, "docs/dependencies.md is not about what Cargo.toml lists");
    let packages = lock.matches("[[package]]").count();
    let said = format!("`Cargo.lock` pins {packages} packages");
    assert!(page.contains(&said), "docs/dependencies.md does not say: {said}");
}
