//! Writes a checkpoint of a published shape with random weights, for measuring speed and memory.
//!
//! ```text
//! cargo run --release -p apr --example random_checkpoint -- smollm-135m OUT_DIR
//! ```
//! Weights are bf16, drawn from N(0, 0.02²) by a seeded generator: the same bytes every time. The
//! tokenizer is that of a test model; the vocabulary has the published size, so that most of its
//! rows belong to no token.
#![allow(clippy::print_stderr, reason = "a command-line example")]

use serde_json::{Map, Value, json};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// A published shape: name, test model with its tokenizer, sizes.
struct Shape {
    name: &'static str,
    base: &'static str,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    hidden: usize,
    mlp: usize,
    vocab: usize,
    positions: usize,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "smollm-135m",
        base: "tiny-llama",
        layers: 30,
        heads: 9,
        kv_heads: 3,
        hidden: 576,
        mlp: 1536,
        vocab: 49_152,
        positions: 2048,
    },
    Shape {
        name: "qwen2-0.5b",
        base: "tiny-qwen2",
        layers: 24,
        heads: 14,
        kv_heads: 2,
        hidden: 896,
        mlp: 4864,
        vocab: 151_936,
        positions: 32_768,
    },
    Shape {
        name: "gpt2-124m",
        base: "tiny-gpt2",
        layers: 12,
        heads: 12,
        kv_heads: 12,
        hidden: 768,
        mlp: 3072,
        vocab: 50_257,
        positions: 1024,
    },
    Shape {
        name: "llama-3.2-1b",
        base: "tiny-llama",
        layers: 16,
        heads: 32,
        kv_heads: 8,
        hidden: 2048,
        mlp: 8192,
        vocab: 128_256,
        positions: 131_072,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let known = || SHAPES.map(|shape| shape.name).join(", ");
    let [name, out] = args.as_slice() else {
        return Err(format!("usage: NAME OUT_DIR; NAME is one of {}", known()).into());
    };
    let shape = SHAPES.iter().find(|shape| shape.name == name);
    let shape = shape.ok_or_else(|| format!("unknown shape {name} (known: {})", known()))?;
    let out = Path::new(out);
    fs::create_dir_all(out)?;
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models").join(shape.base);
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(base.join(file), out.join(file))?;
    }
    let config: Value = serde_json::from_slice(&fs::read(base.join("config.json"))?)?;
    fs::write(out.join("config.json"), serde_json::to_vec_pretty(&resized(config, shape))?)?;
    write_weights(&out.join("model.safetensors"), &tensors(shape))?;
    eprintln!("{} in {}", shape.name, out.display());
    Ok(())
}

/// The test model's configuration with the sizes of the shape.
fn resized(mut config: Value, shape: &Shape) -> Value {
    let sizes = if shape.base == "tiny-gpt2" {
        json!({"n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.hidden, "n_positions": shape.positions, "n_ctx": shape.positions})
    } else {
        json!({
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads, "hidden_size": shape.hidden,
            "intermediate_size": shape.mlp, "max_position_embeddings": shape.positions,
            "head_dim": shape.hidden / shape.heads,
        })
    };
    config["vocab_size"] = json!(shape.vocab);
    if config["layer_types"].is_array() {
        config["layer_types"] = json!(vec!["full_attention"; shape.layers]);
    }
    for (key, value) in sizes.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// Names and shapes as published.
fn tensors(shape: &Shape) -> Vec<(String, Vec<usize>)> {
    let Shape { layers, hidden, mlp, vocab, .. } = *shape;
    let key = hidden / shape.heads * shape.kv_heads;
    let gpt2 = shape.base == "tiny-gpt2";
    let mut list: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| list.push((name, shape.to_vec()));
    for layer in 0..layers {
        if gpt2 {
            for (part, shape) in [
                ("ln_1.weight", &[hidden][..]),
                ("ln_1.bias", &[hidden]),
                ("attn.c_attn.weight", &[hidden, 3 * hidden]),
                ("attn.c_attn.bias", &[3 * hidden]),
                ("attn.c_proj.weight", &[hidden, hidden]),
                ("attn.c_proj.bias", &[hidden]),
                ("ln_2.weight", &[hidden]),
                ("ln_2.bias", &[hidden]),
                ("mlp.c_fc.weight", &[hidden, mlp]),
                ("mlp.c_fc.bias", &[mlp]),
                ("mlp.c_proj.weight", &[mlp, hidden]),
                ("mlp.c_proj.bias", &[hidden]),
            ] {
                add(format!("h.{layer}.{part}"), shape);
            }
            continue;
        }
        for (part, shape) in [
            ("input_layernorm.weight", &[hidden][..]),
            ("post_attention_layernorm.weight", &[hidden]),
            ("self_attn.q_proj.weight", &[hidden, hidden]),
            ("self_attn.k_proj.weight", &[key, hidden]),
            ("self_attn.v_proj.weight", &[key, hidden]),
            ("self_attn.o_proj.weight", &[hidden, hidden]),
            ("mlp.gate_proj.weight", &[mlp, hidden]),
            ("mlp.up_proj.weight", &[mlp, hidden]),
            ("mlp.down_proj.weight", &[hidden, mlp]),
        ] {
            add(format!("model.layers.{layer}.{part}"), shape);
        }
        if shape.base == "tiny-qwen2" {
            for (part, size) in [("q", hidden), ("k", key), ("v", key)] {
                add(format!("model.layers.{layer}.self_attn.{part}_proj.bias"), &[size]);
            }
        }
    }
    if gpt2 {
        add("wte.weight".to_owned(), &[vocab, hidden]);
        add("wpe.weight".to_owned(), &[shape.positions, hidden]);
        add("ln_f.weight".to_owned(), &[hidden]);
        add("ln_f.bias".to_owned(), &[hidden]);
    } else {
        add("model.embed_tokens.weight".to_owned(), &[vocab, hidden]);
        add("model.norm.weight".to_owned(), &[hidden]);
    }
    list
}

fn write_weights(path: &Path, tensors: &[(String, Vec<usize>)]) -> Result<(), Box<dyn Error>> {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        header.insert(
            name.clone(),
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let header = serde_json::to_vec(&header)?;
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&u64::try_from(header.len())?.to_le_bytes())?;
    file.write_all(&header)?;
    let mut random = Random(1);
    for (name, shape) in tensors {
        let norm = name.contains("norm.weight") || name.contains("ln_") && name.ends_with("weight");
        for _ in 0..shape.iter().product() {
            let value = if norm { 1.0 } else { 0.02 * random.normal() };
            // bf16 is the upper half of a single; cutting instead of rounding is fine for noise.
            file.write_all(&value.to_le_bytes()[2..])?;
        }
    }
    file.flush()?;
    Ok(())
}

/// xorshift64* (Vigna 2014).
struct Random(u64);

impl Random {
    /// Nearly normal: the sum of four uniforms, scaled to variance 1.
    fn normal(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        (sum as f32 / 65_536.0 - 2.0) * 3.0_f32.sqrt()
    }
}
