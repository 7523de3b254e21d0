//! Writes the seed corpora: `cargo run --bin seeds` in this folder. The same bytes every time.
//!
//! A llama of one layer, with a vocabulary of letters, in every format; headers that are small and
//! odd; the parameters of every architecture; blocks of every type.

use apr::{Checkpoint, ConvertOptions, Recipe};
use apr_tensor::DType;
use serde_json::{Value, json};
use std::error::Error;
use std::fs;
use std::path::Path;

type Done = Result<(), Box<dyn Error>>;

const VOCAB: usize = 64;
const WIDTH: usize = 32;

fn main() -> Done {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| -> Done {
        fs::create_dir_all(corpus.join(target))?;
        Ok(fs::write(corpus.join(target).join(name), bytes)?)
    };
    let folder = tempfile::tempdir()?;
    let tokenizer = tokenizer();
    fs::write(folder.path().join("config.json"), llama().to_string())?;
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string())?;
    fs::write(folder.path().join("model.safetensors"), weights())?;
    put("safetensors", "llama", &weights())?;
    let source = Checkpoint::open(folder.path())?;
    for (target, recipe) in
        [("apr", "int8"), ("apr", "int4"), ("gguf", "q8_0"), ("gguf", "q4_0"), ("gguf", "f16")]
    {
        let path = folder.path().join("model").with_extension(target);
        apr::convert(&source, &path, &ConvertOptions::new(Recipe::named(recipe)?), &())?;
        put(target, recipe, &fs::read(&path)?)?;
    }
    for (name, header, data) in small_headers() {
        put("safetensors", name, &safetensors(&header, &vec![0x3c; data]))?;
    }
    for (name, bytes) in small_ggufs() {
        put("gguf", name, &bytes)?;
    }
    for (name, index) in indices() {
        put("index_json", name, index.to_string().as_bytes())?;
    }
    for (name, config) in configs() {
        put("config_json", name, config.to_string().as_bytes())?;
    }
    for (name, tokenizer) in tokenizers(tokenizer) {
        put("tokenizer_json", name, tokenizer.to_string().as_bytes())?;
    }
    for (at, dtype) in (0_u8..).zip(DType::ALL) {
        let block: Vec<u8> = (0..=u8::MAX).cycle().take(dtype.block_bytes() * 2).collect();
        put("block_decode", dtype.name(), &[&[at], &block[..]].concat())?;
        put("block_encode", dtype.name(), &[&[at, 1], &block[..64.min(block.len())]].concat())?;
    }
    put("output", "escapes", "\u{1b}[31m\u{9b}0m\r\n\u{202e}a\u{2028}\u{7f}".as_bytes())?;
    put("output", "plain", "model.layers.0.mlp.down_proj.weight".as_bytes())
}

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": WIDTH, "vocab_size": VOCAB, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "eos_token_id": 0,
    })
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let half = WIDTH / 2;
    vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCAB, WIDTH]),
        (layer("input_layernorm"), vec![WIDTH]),
        (layer("self_attn.q_proj"), vec![WIDTH, WIDTH]),
        (layer("self_attn.k_proj"), vec![half, WIDTH]),
        (layer("self_attn.v_proj"), vec![half, WIDTH]),
        (layer("self_attn.o_proj"), vec![WIDTH, WIDTH]),
        (layer("post_attention_layernorm"), vec![WIDTH]),
        (layer("mlp.gate_proj"), vec![WIDTH, WIDTH]),
        (layer("mlp.up_proj"), vec![WIDTH, WIDTH]),
        (layer("mlp.down_proj"), vec![WIDTH, WIDTH]),
        ("model.norm.weight".to_owned(), vec![WIDTH]),
    ]
}

fn weights() -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in shapes() {
        let start = data.len();
        for at in 0..shape.iter().product::<usize>() {
            // bf16 of small numbers of both signs.
            data.extend(if at % 3 == 0 { [0x00, 0xbd] } else { [u8::try_from(at % 128).unwrap_or(0), 0x3c] });
        }
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, entry);
    }
    safetensors(&Value::Object(header), &data)
}

fn safetensors(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn small_headers() -> Vec<(&'static str, Value, usize)> {
    let entry = |dtype: &str, shape: &[usize], at: [usize; 2]| json!({"dtype": dtype, "shape": shape, "data_offsets": at});
    vec![
        ("none", json!({}), 0),
        ("metadata", json!({"__metadata__": {"format": "pt"}, "a": entry("F32", &[], [0, 4])}), 4),
        ("empty", json!({"a": entry("F16", &[0, 2], [0, 0]), "b": entry("U8", &[3], [0, 3])}), 3),
        ("blob", json!({"h.0.attn.bias": entry("BOOL", &[1, 1, 2, 2], [0, 4]), "wte.weight": entry("F64", &[2, 1], [4, 20]), "ln_f.bias": entry("I64", &[1], [20, 28])}), 28),
        ("experts", json!({"model.layers.0.block_sparse_moe.experts.0.w1.weight": entry("BF16", &[1, 1], [0, 2]), "model.layers.0.block_sparse_moe.experts.1.w1.weight": entry("BF16", &[1, 1], [2, 4])}), 4),
    ]
}

/// Headers without tensors, of every kind of value and either byte order, and one with a tensor.
fn small_ggufs() -> Vec<(&'static str, Vec<u8>)> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
    let start = |version: u32, tensors: u64, keys: u64| {
        [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
    };
    let mut values = start(3, 0, 13);
    for kind in 0..13_u32 {
        text(&mut values, &format!("k{kind}"));
        values.extend(kind.to_le_bytes());
        match kind {
            0 | 1 | 7 => values.push(1),
            2 | 3 => values.extend([1, 0]),
            8 => text(&mut values, "text"),
            9 => {
                values.extend(9_u32.to_le_bytes());
                values.extend(1_u64.to_le_bytes());
                values.extend(0_u32.to_le_bytes());
                values.extend(2_u64.to_le_bytes());
                values.extend([1, 2]);
            }
            10..=12 => values.extend([0; 8]),
            _ => values.extend([0; 4]),
        }
    }
    let mut tensor = start(2, 1, 1);
    text(&mut tensor, "general.alignment");
    tensor.extend(4_u32.to_le_bytes());
    tensor.extend(8_u32.to_le_bytes());
    text(&mut tensor, "token_embd.weight");
    tensor.extend(2_u32.to_le_bytes());
    tensor.extend(32_u64.to_le_bytes());
    tensor.extend(1_u64.to_le_bytes());
    tensor.extend(8_u32.to_le_bytes());
    tensor.extend(0_u64.to_le_bytes());
    tensor.resize(tensor.len().next_multiple_of(8) + 40, 1);
    let mut big = b"GGUF".to_vec();
    big.extend(3_u32.to_be_bytes());
    big.extend([0_u64.to_be_bytes(), 1_u64.to_be_bytes(), 1_u64.to_be_bytes()].concat());
    big.extend(b"a");
    big.extend(4_u32.to_be_bytes());
    big.extend(7_u32.to_be_bytes());
    vec![("none", start(3, 0, 0)), ("values", values), ("tensor", tensor), ("big_endian", big)]
}

fn indices() -> Vec<(&'static str, Value)> {
    let shard = |at: usize| format!("model-0000{at}-of-00003.safetensors");
    vec![
        ("none", json!({"weight_map": {}})),
        ("three", json!({"metadata": {"total_size": 1}, "weight_map": {"a": shard(1), "b": shard(2), "c": shard(3), "d": shard(1)}})),
        ("outside", json!({"weight_map": {"a": "../x", "b": "/etc/passwd", "c": "a\\b", "d": ".."}})),
    ]
}

fn configs() -> Vec<(&'static str, Value)> {
    let mut configs = vec![("llama", llama())];
    let changed = |changes: Value| {
        let mut config = llama();
        for (key, value) in changes.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    };
    configs.push(("llama3", changed(json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}))));
    configs.push(("mistral", changed(json!({"architectures": ["MistralForCausalLM"], "sliding_window": 16}))));
    configs.push(("mixtral", changed(json!({"architectures": ["MixtralForCausalLM"], "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": null}))));
    configs.push(("qwen2", changed(json!({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": false}))));
    configs.push(("qwen3", changed(json!({"architectures": ["Qwen3ForCausalLM"], "head_dim": 16}))));
    configs.push(("qwen3_moe", changed(json!({"architectures": ["Qwen3MoeForCausalLM"], "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": []}))));
    configs.push(("phi3", changed(json!({"architectures": ["Phi3ForCausalLM"], "sliding_window": 16, "original_max_position_embeddings": 32, "rope_scaling": {"type": "longrope", "short_factor": vec![1.0; 8], "long_factor": vec![2.0; 8]}}))));
    configs.push(("gemma2", changed(json!({"architectures": ["Gemma2ForCausalLM"], "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 16}))));
    configs.push(("gemma3", changed(json!({"architectures": ["Gemma3ForCausalLM"], "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16, "sliding_window": 16, "sliding_window_pattern": 6, "rope_local_base_freq": 10_000.0}))));
    configs.push(("gpt_neox", changed(json!({"architectures": ["GPTNeoXForCausalLM"], "layer_norm_eps": 1e-5, "rotary_pct": 0.25, "rotary_emb_base": 10_000, "use_parallel_residual": true, "hidden_act": "gelu"}))));
    configs.push(("gpt2", json!({"architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 64, "n_positions": 64, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"})));
    configs
}

fn tokenizer() -> Value {
    let letters = ('a'..='z').chain('A'..='Z').chain(['Ġ', '!', '.', ',', '0', '1', '2', '3']);
    let mut vocab: serde_json::Map<String, Value> =
        letters.zip(0_u32..).map(|(letter, id)| (letter.to_string(), json!(id))).collect();
    for (token, id) in [("he", 60), ("ll", 61), ("hell", 62), ("<s>", 63)] {
        vocab.insert(token.to_owned(), json!(id));
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 63, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": [["h", "e"], ["l", "l"], ["he", "ll"]]},
    })
}

fn tokenizers(byte_level: Value) -> Vec<(&'static str, Value)> {
    let with = |changes: &[(&str, Value)]| {
        let mut tokenizer = byte_level.clone();
        for (pointer, value) in changes {
            if let Some(place) = tokenizer.pointer_mut(pointer) {
                *place = value.clone();
            }
        }
        tokenizer
    };
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let sentence_piece = with(&[
        ("/normalizer", json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]})),
        ("/pre_tokenizer", Value::Null),
        ("/decoder", json!({"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})),
        ("/model/byte_fallback", json!(true)),
        ("/model/unk_token", json!("<s>")),
        ("/post_processor", json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [63], "tokens": ["<s>"]}}})),
    ]);
    let split = with(&[(
        "/pre_tokenizer",
        json!({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\p{N}|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}, {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]}),
    )]);
    let models = [
        ("word_piece", json!({"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"a": 0, "##b": 1}})),
        ("word_level", json!({"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0, "b": 1}})),
        ("unigram", json!({"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0], ["b", -1.5]], "byte_fallback": false})),
    ];
    let mut all = vec![("sentence_piece", sentence_piece), ("split", split)];
    all.extend(models.map(|(name, model)| (name, with(&[("/model", model), ("/added_tokens", json!([]))]))));
    all.push(("metaspace", with(&[("/pre_tokenizer", json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})), ("/decoder", json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}))])));
    all.push(("byte_level", byte_level));
    all
}
