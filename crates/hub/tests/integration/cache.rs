//! What is listed and what is removed.

use crate::hub_server::{COMMIT, HubFile};
use crate::pull::{Bench, checkpoint, contents};
use apr_hub::{Cache, HubError, ModelName};
use std::fs;

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

/// A cache with two commits of a model: `main` is the second, and both have the same weights.
fn two_commits() -> (Bench, String) {
    let (bench, second) = (Bench::new(checkpoint()), "b".repeat(40));
    bench.pull("hf://org/tiny").unwrap();
    let mut files = checkpoint();
    files[2] = HubFile::small("config.json", "{\"version\": 2}");
    bench.hub.moves_on(&second, files);
    bench.pull("hf://org/tiny").unwrap();
    (bench, second)
}

#[test]
fn every_revision_is_listed_by_its_name() {
    let (bench, second) = two_commits();
    fs::create_dir_all(bench.settings.cache.join("datasets--org--text/refs")).unwrap();
    let files = Cache::new(&bench.settings.cache).files().unwrap();
    let names: Vec<String> = files.iter().map(|file| file.name.to_string()).collect();
    assert_eq!(names, ["hf://org/tiny".to_owned(), format!("hf://org/tiny@{COMMIT}")]);
    assert!(files[0].path.ends_with(format!("{second}/model.safetensors")), "{files:?}");
    assert!(files.iter().all(|file| file.size == 2_000_003), "{files:?}");
}

#[test]
fn a_revision_goes_with_what_it_alone_has() {
    let (bench, second) = two_commits();
    let cache = Cache::new(&bench.settings.cache);
    let removed = cache.remove(&name(&format!("hf://org/tiny@{COMMIT}"))).unwrap();
    let config = checkpoint()[2].clone();
    assert_eq!((removed.files, removed.bytes), (1, config.content.len() as u64));
    assert!(!bench.repo().join("snapshots").join(COMMIT).exists());
    assert_eq!(contents(&bench.repo().join("snapshots").join(second)).len(), 3);
    let removed = cache.remove(&name("hf://org/tiny@main")).unwrap();
    assert_eq!(removed.files, 3);
    assert_eq!(contents(&bench.repo().join("blobs")).len(), 0);
    assert!(cache.files().unwrap().is_empty());
}

#[test]
fn a_snapshot_stays_as_long_as_a_ref_names_it() {
    let bench = Bench::new(checkpoint());
    bench.pull("hf://org/tiny").unwrap();
    bench.pull("hf://org/tiny@refs/pr/1").unwrap();
    let cache = Cache::new(&bench.settings.cache);
    let removed = cache.remove(&name("hf://org/tiny@main")).unwrap();
    assert_eq!((removed.files, removed.bytes), (0, 0));
    assert_eq!(cache.files().unwrap()[0].name, name("hf://org/tiny@refs/pr/1"));
    assert_eq!(cache.remove(&name("hf://org/tiny@refs/pr/1")).unwrap().files, 3);
}

#[test]
fn a_model_goes_as_a_whole_and_nothing_else_does() {
    let (bench, _) = two_commits();
    let other = bench.settings.cache.join("models--org--tiny2/blobs");
    fs::create_dir_all(&other).unwrap();
    let cache = Cache::new(&bench.settings.cache);
    let removed = cache.remove(&name("hf://org/tiny")).unwrap();
    assert_eq!(removed.files, 4);
    assert!(!bench.repo().exists() && other.exists());
    for missing in ["hf://org/tiny", "hf://org/tiny@main", "hf://org/tiny2@main"] {
        let error = cache.remove(&name(missing)).unwrap_err();
        assert!(matches!(error, HubError::NotCached { .. }), "{missing}: {error}");
    }
}

#[test]
fn links_of_a_forged_cache_are_not_followed_when_it_is_removed() {
    let bench = Bench::new(checkpoint());
    bench.pull("hf://org/tiny").unwrap();
    let outside = bench.settings.cache.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "mine").unwrap();
    std::os::unix::fs::symlink(&outside, bench.repo().join("snapshots/link")).unwrap();
    Cache::new(&bench.settings.cache).remove(&name("hf://org/tiny")).unwrap();
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "mine");
}

#[test]
fn a_ref_that_leads_elsewhere_names_nothing() {
    let bench = Bench::new(checkpoint());
    bench.pull("hf://org/tiny").unwrap();
    fs::create_dir_all(bench.repo().join("blobs/x")).unwrap();
    fs::write(bench.repo().join("refs/v1"), "../blobs").unwrap();
    let cache = Cache::new(&bench.settings.cache);
    let error = cache.remove(&name("hf://org/tiny@v1")).unwrap_err();
    assert!(matches!(error, HubError::NotCached { .. }), "{error}");
    assert_eq!(contents(&bench.repo().join("snapshots").join(COMMIT)).len(), 3);
}
