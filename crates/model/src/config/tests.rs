//! What published configurations mean, and what is refused.

use super::*;
use serde_json::json;

/// A configuration of this class with these keys on top of what all have.
fn read(class: &str, keys: &Value) -> Result<ModelConfig, ModelError> {
    let mut config = json!({
        "architectures": [class], "hidden_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 16, "num_key_value_heads": 4, "intermediate_size": 8192,
        "vocab_size": 32000, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    });
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    ModelConfig::from_json(&config)
}

fn refused(class: &str, keys: &Value) -> String {
    read(class, keys).unwrap_err().to_string()
}

#[test]
fn llama_3_scales_low_frequencies() {
    let scaling = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"});
    let keys = json!({"rope_theta": 500000.0, "rope_scaling": scaling});
    let rope = read("LlamaForCausalLM", &keys).unwrap().rope.unwrap();
    let divisors = rope.divisors(1);
    assert_eq!((divisors.len(), divisors[0], divisors[63]), (64, 1.0, 8.0));
    assert!(divisors.windows(2).all(|pair| pair[0] <= pair[1]));
    // Newer files have the base in the same object.
    let mut parameters = scaling;
    parameters["rope_theta"] = json!(500000.0);
    let newer = json!({"rope_theta": null, "rope_parameters": parameters});
    assert_eq!(read("LlamaForCausalLM", &newer).unwrap().rope.unwrap(), rope);
    for key in ["factor", "low_freq_factor", "original_max_position_embeddings"] {
        let mut keys = keys.clone();
        keys["rope_scaling"].as_object_mut().unwrap().remove(key);
        assert!(refused("LlamaForCausalLM", &keys).contains(key));
    }
    assert!(refused("Qwen2ForCausalLM", &keys).contains("llama3"), "not for Qwen2");
}

#[test]
fn a_null_window_is_none_and_an_absent_one_is_asked_for() {
    let window =
        |value| read("MistralForCausalLM", &json!({"sliding_window": value})).unwrap().window;
    assert_eq!(window(json!(null)), None);
    assert_eq!(window(json!(4096)), Some(Window { size: 4096, every: 0 }));
    assert!(refused("MistralForCausalLM", &json!({})).contains("\"sliding_window\" is missing"));
    let qwen = json!({"use_sliding_window": true, "sliding_window": 4096});
    assert!(refused("Qwen2ForCausalLM", &qwen).contains("use_sliding_window"));
}

#[test]
fn gemma_sees_everything_in_every_so_manieth_layer() {
    let keys = json!({"head_dim": 256, "query_pre_attn_scalar": 144, "sliding_window": 4096,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0});
    let config = read("Gemma2ForCausalLM", &keys).unwrap();
    let full: Vec<usize> = (0..12).filter(|layer| config.window_of(*layer).is_none()).collect();
    assert_eq!(full, [1, 3, 5, 7, 9, 11]);
    assert_eq!((config.query_scale, config.tied), (144.0, true));
    assert_eq!((config.attention_softcap, config.logit_softcap), (Some(50.0), Some(30.0)));

    let keys = json!({"head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 512,
        "rope_theta": 1e6, "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0}});
    let config = read("Gemma3ForCausalLM", &keys).unwrap();
    assert_eq!(config.window, Some(Window { size: 512, every: 6 }));
    let (global, local) = (config.rope.unwrap(), config.local_rope.unwrap());
    assert_eq!((global.theta, global.scaling), (1e6, RopeScaling::Linear { factor: 8.0 }));
    assert_eq!((local.theta, local.scaling), (1e4, RopeScaling::None));
    let mut other = keys.clone();
    other["sliding_window_pattern"] = json!(4);
    assert_eq!(read("Gemma3ForCausalLM", &other).unwrap().window.unwrap().every, 4);
    let (s, f) = ("sliding_attention", "full_attention");
    other["layer_types"] = json!([s, s, f, s, s, f, s]);
    assert_eq!(read("Gemma3ForCausalLM", &other).unwrap().window.unwrap().every, 3);
    other["layer_types"] = json!([s, s, f, f]);
    assert!(refused("Gemma3ForCausalLM", &other).contains("layer_types"));
    other["layer_types"] = json!([s, "linear_attention"]);
    assert!(refused("Gemma3ForCausalLM", &other).contains("linear_attention"));
}

#[test]
fn a_part_of_a_head_may_be_rotated() {
    let neox = json!({"rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5,
        "use_parallel_residual": true});
    let config = read("GPTNeoXForCausalLM", &neox).unwrap();
    assert_eq!((config.rope.unwrap().dims, config.kv_heads), (32, 16));
    assert_eq!(config.residual, Residual::Parallel);
    for key in ["rotary_pct", "rotary_emb_base", "use_parallel_residual"] {
        let mut keys = neox.clone();
        keys.as_object_mut().unwrap().remove(key);
        assert!(refused("GPTNeoXForCausalLM", &keys).contains(key));
    }
    let keys = json!({"partial_rotary_factor": 0.5});
    assert!(refused("LlamaForCausalLM", &keys).contains("partial_rotary_factor"));
    let keys = json!({"sliding_window": null, "partial_rotary_factor": 0.75});
    assert_eq!(read("Phi3ForCausalLM", &keys).unwrap().rope.unwrap().dims, 96);
}

#[test]
fn phi_3_has_divisors_for_short_and_for_long_texts() {
    let list = |value: f64| json!(vec![value; 64]);
    let keys = json!({"sliding_window": 262144, "original_max_position_embeddings": 4096,
        "rope_scaling": {"type": "longrope", "short_factor": list(1.5), "long_factor": list(9.0)}});
    let rope = read("Phi3ForCausalLM", &keys).unwrap().rope.unwrap();
    assert_eq!((rope.divisors(4096)[5], rope.divisors(4097)[5]), (1.5, 9.0));
    // The published value for 128k from 4k.
    assert!((rope.amplitude() - 1.190_238).abs() < 1e-5, "{}", rope.amplitude());
    let mut short = keys;
    short["rope_scaling"]["long_factor"] = json!([1.0]);
    assert!(refused("Phi3ForCausalLM", &short).contains("long_factor"));
}

#[test]
fn experts_are_counted() {
    let keys = json!({"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
        "norm_topk_prob": true, "mlp_only_layers": [], "decoder_sparse_step": 1});
    let experts = read("Qwen3MoeForCausalLM", &keys).unwrap().experts.unwrap();
    assert_eq!(experts, Experts { count: 128, used: 8, size: 768, renormalise: true });
    for (key, value) in [
        ("mlp_only_layers", json!([0])),
        ("decoder_sparse_step", json!(2)),
        ("num_experts_per_tok", json!(129)),
        ("num_experts", json!(null)),
    ] {
        let mut keys = keys.clone();
        keys[key] = value;
        assert!(refused("Qwen3MoeForCausalLM", &keys).contains(key));
    }
}

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
        "vocab_size": 49152, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "eos_token_id": [0, 2],
    })
}

#[test]
fn parameters_are_read() {
    let config = ModelConfig::from_json(&llama()).unwrap();
    assert_eq!((config.head_dim, config.kv_size(), config.tied), (64, 192, true));
    assert_eq!(config.end_tokens, [0, 2]);
    let role = TensorRole { part: Part::Key, param: Param::Weight };
    assert_eq!(config.shape(role), [192, 576]);
}

#[test]
fn newer_key_names_are_read() {
    let mut config = llama();
    config["rope_theta"] = Value::Null;
    config["rope_parameters"] = json!({"rope_theta": 1e6, "rope_type": "default"});
    assert_eq!(ModelConfig::from_json(&config).unwrap().rope.unwrap().theta, 1e6);
}

#[test]
fn every_key_that_matters_is_named_when_missing() {
    for key in [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_theta",
        "architectures",
    ] {
        let mut config = llama();
        config.as_object_mut().unwrap().remove(key);
        let error = ModelConfig::from_json(&config).unwrap_err().to_string();
        assert!(error.contains(&format!("{key:?} is missing")), "{error}");
    }
}

#[test]
fn computations_that_are_not_built_are_refused() {
    for (key, value) in [
        ("hidden_act", json!("gelu")),
        ("attention_bias", json!(true)),
        ("rope_scaling", json!({"type": "yarn", "factor": 4.0})),
        ("quantization_config", json!({"bits": 4})),
    ] {
        let mut config = llama();
        config[key] = value;
        assert!(matches!(
            ModelConfig::from_json(&config),
            Err(ModelError::Unsupported { key: found, .. }) if found == key
        ));
    }
}

#[test]
fn senseless_parameters_are_refused() {
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("num_attention_heads", json!("nine")),
        ("num_key_value_heads", json!(2)),
        ("head_dim", json!(63)),
        ("rms_norm_eps", json!(-1.0)),
        ("eos_token_id", json!("end")),
    ] {
        let mut config = llama();
        config[key] = value;
        assert!(matches!(ModelConfig::from_json(&config), Err(ModelError::BadKey { .. })), "{key}");
    }
}
