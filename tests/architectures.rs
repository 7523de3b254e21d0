//! Every architecture against `transformers`: logits of small random models, from SafeTensors,
//! `.apr` and GGUF (tests/architectures/make_goldens.py).

use crate::checkpoints::{SafeTensors, StoredTensor};
use crate::gguf_file::GgufFile;
use apr::{Checkpoint, ConvertOptions, LoadOptions, Recipe, TextModel};
use apr_model::Decoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the models.
pub(crate) fn folders() -> Vec<PathBuf> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/architectures");
    let entries = fs::read_dir(base).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

/// Tokens, and the logits of all of them.
pub(crate) fn golden(folder: &Path) -> (Vec<u32>, Vec<f32>) {
    let container = apr_format::open(&folder.join("golden.safetensors")).unwrap();
    let tokens = container.tensor("tokens").unwrap().view().to_f32();
    let tokens = tokens.iter().map(|token| *token as u32).collect();
    (tokens, container.tensor("logits").unwrap().view().to_f32())
}

pub(crate) fn load(path: &Path) -> TextModel {
    let checkpoint = Checkpoint::open(path).unwrap_or_else(|error| panic!("{error}"));
    TextModel::open(&checkpoint, &LoadOptions::default(), &())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn import(source: &Path, target: &Path, recipe: Recipe) {
    let checkpoint = Checkpoint::open(source).unwrap();
    let plan = apr::plan(&checkpoint, target, &ConvertOptions::new(recipe)).unwrap();
    apr::convert(&checkpoint, target, &ConvertOptions::new(recipe), &())
        .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    assert_eq!(fs::metadata(target).unwrap().len(), plan.estimated_output_size);
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
        // The certificates differ, for the source of the second file is the `.apr` file.
        let content =
            |name: &str| GgufFile::read(&fs::read(at(name)).unwrap()).without_keys("apr.").write();
        assert!(content("first.gguf") == content("second.gguf"), "{}", folder.display());
    }
}

#[test]
fn to_apr_and_back_to_safetensors_every_tensor_is_the_published_one() {
    let temporary = tempfile::tempdir().unwrap();
    let sorted = |path: &Path| {
        let mut tensors = SafeTensors::read(path).tensors;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        tensors
    };
    for folder in folders() {
        let at = |name: &str| temporary.path().join(name);
        import(&folder, &at("between.apr"), Recipe::KEEP);
        import(&at("between.apr"), &at("back.safetensors"), Recipe::KEEP);
        import(&folder, &at("copy.safetensors"), Recipe::KEEP);
        let copied = fs::read(at("copy.safetensors")).unwrap();
        assert!(copied == fs::read(at("back.safetensors")).unwrap(), "{}", folder.display());
        let published = sorted(&folder.join("model.safetensors"));
        let back = sorted(&at("back.safetensors"));
        assert_eq!(published.len(), back.len(), "{}", folder.display());
        for (a, b) in published.iter().zip(&back) {
            assert_eq!((&a.name, &a.dtype, &a.shape), (&b.name, &b.dtype, &b.shape));
            assert!(a.bytes == b.bytes, "{}: {}", folder.display(), a.name);
        }
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

/// A copy of a model whose `config.json` is changed.
fn with_config(name: &str, target: &Path, changes: &[(&str, Value)]) -> PathBuf {
    let folder = folders().into_iter().find(|folder| folder.ends_with(name)).unwrap();
    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, target.join(file.file_name().unwrap())).unwrap();
    }
    let path = target.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, value) in changes {
        config[*key] = value.clone();
    }
    fs::write(path, config.to_string()).unwrap();
    target.to_path_buf()
}

fn refusal(source: &Path, target: &Path) -> String {
    let source = Checkpoint::open(source).unwrap();
    let options = ConvertOptions::new(Recipe::KEEP);
    let error = apr::convert(&source, target, &options, &()).unwrap_err().to_string();
    assert!(!target.exists());
    error
}

#[test]
fn what_gguf_cannot_say_is_refused_there_alone() {
    for (name, key, value) in [
        ("gemma2", "query_pre_attn_scalar", json!(24)),
        ("gemma3", "query_pre_attn_scalar", json!(24)),
        ("qwen3-moe", "norm_topk_prob", json!(false)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = with_config(name, folder.path(), &[(key, value.clone())]);
        let said = refusal(&source, &folder.path().join("model.gguf"));
        assert!(said.contains(key) && said.contains(&value.to_string()), "{said}");
        import(&source, &folder.path().join("model.apr"), Recipe::KEEP);
        load(&folder.path().join("model.apr"));
    }
}

#[test]
fn rotary_factors_that_contradict_the_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    import(&folders().into_iter().find(|f| f.ends_with("llama3")).unwrap(), &file, Recipe::KEEP);
    // The factors are the last tensor: the end of the file, before the padding.
    let mut bytes = fs::read(&file).unwrap();
    let factors: Vec<u8> = [1.0_f32, 8.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let place = |bytes: &[u8]| bytes.windows(4).rposition(|four| four == &factors[4..]).unwrap();
    let at = place(&bytes);
    bytes[at..at + 4].copy_from_slice(&2.0_f32.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let checkpoint = Checkpoint::open(&file).unwrap();
    let opened = TextModel::open(&checkpoint, &LoadOptions::default(), &());
    let said = opened.err().unwrap().to_string();
    assert!(said.contains("rope_freqs.weight"), "{said}");
}

#[test]
fn every_expert_counts() {
    const EXPERT: &str = "model.layers.1.block_sparse_moe.experts.2.w3.weight";
    let folder = tempfile::tempdir().unwrap();
    let source = with_config("mixtral", folder.path(), &[]);
    let apr = folder.path().join("model.apr");
    import(&source, &apr, Recipe::named("int8").unwrap());
    let weights = source.join("model.safetensors");
    let whole = SafeTensors::read(&weights);
    let change = |change: &dyn Fn(&mut SafeTensors, usize)| {
        let mut tensors = SafeTensors::read(&weights);
        let at = tensors.tensors.iter().position(|tensor| tensor.name == EXPERT).unwrap();
        change(&mut tensors, at);
        tensors.write(&weights);
        let source = Checkpoint::open(&source);
        let said = source.and_then(|source| apr::verify(&Checkpoint::open(&apr)?, &source, &()));
        whole.write(&weights);
        said.unwrap_err().to_string()
    };
    let said = change(&|all, at| all.tensors[at].bytes[5] ^= 64);
    assert!(said.contains("block_sparse_moe.experts.w3"), "{said}");
    let said = change(&|all, at| drop(all.tensors.remove(at)));
    assert!(said.contains(EXPERT) && said.contains("missing"), "{said}");
    let said = change(&|all, at| all.tensors[at].dtype = "F16".to_owned());
    assert!(said.contains(EXPERT) && said.contains("F16"), "{said}");
    let said = change(&|all, at| all.tensors[at].bytes[6..8].copy_from_slice(&[0xc0, 0x7f]));
    assert!(said.contains(EXPERT) && said.contains("NaN"), "{said}");
    let said = change(&|all, at| all.tensors[at].name = EXPERT.replace(".2.", ".4."));
    assert!(said.contains(EXPERT) && said.contains("missing"), "{said}");
}

/// Older checkpoints carry masks and frequencies as tensors.
#[test]
fn tensors_that_follow_from_the_rest_are_checked_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let source = with_config("pythia", folder.path(), &[]);
    let weights = source.join("model.safetensors");
    let published = SafeTensors::read(&weights);
    let stored = |name: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>| StoredTensor {
        name: format!("gpt_neox.layers.1.attention.{name}"),
        dtype: dtype.to_owned(),
        shape: shape.to_vec(),
        bytes,
    };
    // A quarter of heads of 16: two pairs, of the frequencies 1 and 1/100.
    let with_frequencies = |low: f32| {
        let mask = (0..64 * 64).map(|at| u8::from(at % 64 <= at / 64)).collect();
        let frequencies = [1.0, low].iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
        let mut all = SafeTensors { tensors: published.tensors.clone() };
        all.tensors.extend([
            stored("bias", "BOOL", &[1, 1, 64, 64], mask),
            stored("masked_bias", "F32", &[], (-1e9_f32).to_le_bytes().to_vec()),
            stored("rotary_emb.inv_freq", "F32", &[2], frequencies),
        ]);
        all.write(&weights);
    };
    with_frequencies(0.01);
    let (tokens, golden) = golden(&source);
    import(&source, &folder.path().join("model.apr"), Recipe::KEEP);
    let model = load(&folder.path().join("model.apr"));
    assert!(error(&logits(model.decoder(), &tokens, tokens.len()), &golden) <= 2e-4);
    with_frequencies(0.02);
    let said = refusal(&source, &folder.path().join("other.apr"));
    assert!(said.contains("inv_freq") && said.contains("differs from the frequencies"), "{said}");
}
