//! Every architecture against `transformers`: logits of small random models, from SafeTensors,
//! `.apr` and GGUF (tests/architectures/make_goldens.py).

use apr::{Checkpoint, ConvertOptions, LoadOptions, Recipe, TextModel};
use apr_model::Decoder;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the models.
fn folders() -> Vec<PathBuf> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/architectures");
    let entries = fs::read_dir(base).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

/// Tokens, and the logits of all of them.
fn golden(folder: &Path) -> (Vec<u32>, Vec<f32>) {
    let container = apr_format::open(&folder.join("golden.safetensors")).unwrap();
    let tokens = container.tensor("tokens").unwrap().view().to_f32();
    let tokens = tokens.iter().map(|token| *token as u32).collect();
    (tokens, container.tensor("logits").unwrap().view().to_f32())
}

fn load(path: &Path) -> TextModel {
    let checkpoint = Checkpoint::open(path).unwrap_or_else(|error| panic!("{error}"));
    TextModel::open(&checkpoint, &LoadOptions::default(), &())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn import(source: &Path, target: &Path, recipe: Recipe) {
    let checkpoint = Checkpoint::open(source).unwrap();
    apr::convert(&checkpoint, target, &ConvertOptions::new(recipe), &())
        .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
}

/// All logits, of the tokens in one go or one after the other.
fn logits(decoder: &Decoder, tokens: &[u32], step: usize) -> Vec<f32> {
    let mut cache = decoder.cache(tokens.len()).unwrap();
    let hidden: Vec<f32> =
        tokens.chunks(step).flat_map(|part| decoder.forward(&mut cache, part).unwrap()).collect();
    decoder.logits(&hidden).unwrap()
}

/// The largest difference, in shares of the largest golden logit.
fn error(found: &[f32], golden: &[f32]) -> f32 {
    assert_eq!(found.len(), golden.len());
    let largest = golden.iter().map(|x| x.abs()).fold(0.0, f32::max);
    assert!(found.iter().all(|x| x.is_finite()));
    found.iter().zip(golden).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn logits_are_those_of_transformers_from_every_format() {
    let temporary = tempfile::tempdir().unwrap();
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let (tokens, golden) = golden(&folder);
        let apr = temporary.path().join(format!("{name}.apr"));
        import(&folder, &apr, Recipe::KEEP);
        let gguf = temporary.path().join(format!("{name}.gguf"));
        import(&folder, &gguf, Recipe::named("f32").unwrap());
        let through = temporary.path().join(format!("{name}-through.apr"));
        import(&gguf, &through, Recipe::KEEP);
        for path in [&folder, &apr, &gguf, &through] {
            let model = load(path);
            for step in [tokens.len(), 1, 3] {
                let worst = error(&logits(model.decoder(), &tokens, step), &golden);
                println!("{}, {step} at a time: {worst:.1e}", path.display());
                assert!(worst <= 2e-4, "{}, {step} at a time: {worst}", path.display());
            }
        }
    }
}

#[test]
fn gguf_to_apr_and_back_is_the_same_file() {
    let temporary = tempfile::tempdir().unwrap();
    for folder in folders() {
        let at = |name: &str| temporary.path().join(name);
        import(&folder, &at("first.gguf"), Recipe::named("int8").unwrap());
        import(&at("first.gguf"), &at("between.apr"), Recipe::KEEP);
        import(&at("between.apr"), &at("second.gguf"), Recipe::KEEP);
        let (first, second) = (fs::read(at("first.gguf")), fs::read(at("second.gguf")));
        assert!(first.unwrap() == second.unwrap(), "{}", folder.display());
    }
}

#[test]
fn quantized_models_are_close() {
    for folder in folders() {
        let (tokens, golden) = golden(&folder);
        let recipe = Some(Recipe::named("int8").unwrap());
        let options = LoadOptions { recipe, ..LoadOptions::default() };
        let model = TextModel::open(&Checkpoint::open(&folder).unwrap(), &options, &()).unwrap();
        let worst = error(&logits(model.decoder(), &tokens, tokens.len()), &golden);
        assert!(worst <= 0.2, "{}: {worst}", folder.display());
    }
}

#[test]
fn every_architecture_has_a_model_here_or_beside() {
    let architectures = |folder: &Path| {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|p| p.is_dir())
            .map(|path| Checkpoint::open(path).unwrap().config().unwrap().arch.name)
            .collect::<BTreeSet<_>>()
    };
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let found: BTreeSet<&str> = architectures(&base.join("architectures"))
        .union(&architectures(&base.join("models")))
        .copied()
        .collect();
    let all: BTreeSet<&str> = apr_model::ARCHS.iter().map(|arch| arch.name).collect();
    assert_eq!(found, all);
}
