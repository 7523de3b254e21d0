#!/usr/bin/env python3
"""Writes the seed corpora: `APR=target/debug/apr fuzz/seeds.py`. The same bytes every time.

A llama of one layer, with a vocabulary of letters, in every format; headers that are small and
odd; the parameters of every architecture; tokenizers of every kind; blocks of every type.
"""

import json
import os
import struct
import subprocess
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
APR = os.environ.get("APR", "target/debug/apr")
VOCAB, WIDTH = 64, 32

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": WIDTH, "vocab_size": VOCAB, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": True, "eos_token_id": 0,
}


def put(target, name, content):
    if isinstance(content, (dict, list)):
        content = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / name).write_bytes(content)


def safetensors(header, data):
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def weights():
    half = WIDTH // 2
    layer = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": [VOCAB, WIDTH],
        layer + "input_layernorm.weight": [WIDTH],
        layer + "self_attn.q_proj.weight": [WIDTH, WIDTH],
        layer + "self_attn.k_proj.weight": [half, WIDTH],
        layer + "self_attn.v_proj.weight": [half, WIDTH],
        layer + "self_attn.o_proj.weight": [WIDTH, WIDTH],
        layer + "post_attention_layernorm.weight": [WIDTH],
        layer + "mlp.gate_proj.weight": [WIDTH, WIDTH],
        layer + "mlp.up_proj.weight": [WIDTH, WIDTH],
        layer + "mlp.down_proj.weight": [WIDTH, WIDTH],
        "model.norm.weight": [WIDTH],
    }
    header, data = {}, b""
    for name, shape in shapes.items():
        elems = shape[0] * (shape[1] if len(shape) > 1 else 1)
        start = len(data)
        # bf16 of small numbers of both signs.
        data += b"".join(bytes([at % 128, 0x3c]) if at % 3 else b"\x00\xbd" for at in range(elems))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, len(data)]}
    return safetensors(header, data)


def small_safetensors():
    def entry(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    expert = "model.layers.0.block_sparse_moe.experts.{}.w1.weight"
    return {
        "none": ({}, 0),
        "metadata": ({"__metadata__": {"format": "pt"}, "a": entry("F32", [], 0, 4)}, 4),
        "empty": ({"a": entry("F16", [0, 2], 0, 0), "b": entry("U8", [3], 0, 3)}, 3),
        "gpt2": ({"h.0.attn.bias": entry("BOOL", [1, 1, 2, 2], 0, 4),
                  "wte.weight": entry("F64", [2, 1], 4, 20),
                  "ln_f.bias": entry("I64", [1], 20, 28)}, 28),
        "experts": ({expert.format(at): entry("BF16", [1, 1], 2 * at, 2 * at + 2)
                     for at in range(2)}, 4),
    }


def text(value, order="<"):
    return struct.pack(order + "Q", len(value)) + value.encode()


def small_ggufs():
    """Headers without tensors, of every kind of value and either byte order, and one with a tensor."""
    def start(version, tensors, keys, order="<"):
        return b"GGUF" + struct.pack(order + "IQQ", version, tensors, keys)

    values = start(3, 0, 13)
    for kind in range(13):
        values += text(f"k{kind}") + struct.pack("<I", kind)
        if kind == 8:
            values += text("text")
        elif kind == 9:
            values += struct.pack("<IQIQ", 9, 1, 0, 2) + b"\x01\x02"
        else:
            values += b"\x01" + b"\x00" * ([1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind] - 1)
    tensor = start(2, 1, 1) + text("general.alignment") + struct.pack("<II", 4, 8)
    tensor += text("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 1, 8, 0)
    tensor += b"\x01" * (-len(tensor) % 8 + 40)
    big = start(3, 0, 1, ">") + text("a", ">") + struct.pack(">II", 4, 7)
    return {"none": start(3, 0, 0), "values": values, "tensor": tensor, "big_endian": big}


def indices():
    shard = "model-0000{}-of-00003.safetensors".format
    return {
        "none": {"weight_map": {}},
        "three": {"metadata": {"total_size": 1},
                  "weight_map": {"a": shard(1), "b": shard(2), "c": shard(3), "d": shard(1)}},
        "outside": {"weight_map": {"a": "../x", "b": "/etc/passwd", "c": "a\\b", "d": ".."}},
    }


def configs():
    gelu = {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16,
            "head_dim": 16, "sliding_window": 16}
    experts = {"num_experts_per_tok": 2}
    changes = {
        "llama": ("Llama", {}),
        "llama3": ("Llama", {"rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}}),
        "mistral": ("Mistral", {"sliding_window": 16}),
        "mixtral": ("Mixtral", {**experts, "num_local_experts": 4, "sliding_window": None}),
        "qwen2": ("Qwen2", {"use_sliding_window": False}),
        "qwen3": ("Qwen3", {"head_dim": 16}),
        "qwen3_moe": ("Qwen3Moe", {**experts, "num_experts": 4, "moe_intermediate_size": 32,
                                   "norm_topk_prob": True, "decoder_sparse_step": 1,
                                   "mlp_only_layers": []}),
        "phi3": ("Phi3", {"sliding_window": 16, "original_max_position_embeddings": 32,
                          "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 8,
                                           "long_factor": [2.0] * 8}}),
        "gemma2": ("Gemma2", {**gelu, "attn_logit_softcapping": 50.0,
                              "final_logit_softcapping": 30.0}),
        "gemma3": ("Gemma3", {**gelu, "sliding_window_pattern": 6, "rope_local_base_freq": 1e4}),
        "gpt_neox": ("GPTNeoX", {"layer_norm_eps": 1e-5, "rotary_pct": 0.25,
                                 "rotary_emb_base": 10000, "use_parallel_residual": True,
                                 "hidden_act": "gelu"}),
    }
    configs = {name: {**LLAMA, "architectures": [f"{kind}ForCausalLM"], **change}
               for name, (kind, change) in changes.items()}
    configs["gpt2"] = {
        "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_layer": 1, "n_head": 2,
        "vocab_size": 64, "n_positions": 64, "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new"}
    return configs


def byte_level(split=True):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
            "use_regex": split}


def tokenizer():
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZĠ!.,0123"
    tokens = [*letters, "he", "ll", "hell", "<s>"]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": len(tokens) - 1, "content": "<s>", "single_word": False,
                          "lstrip": False, "rstrip": False, "normalized": False,
                          "special": True}],
        "normalizer": None, "pre_tokenizer": byte_level(), "post_processor": None,
        "decoder": byte_level(),
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: at for at, token in enumerate(tokens)},
                  "merges": [["h", "e"], ["l", "l"], ["he", "ll"]]},
    }


def tokenizers():
    plain = tokenizer()
    model, unspaced = plain["model"], {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    piece = {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [
            unspaced, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {**model, "byte_fallback": True, "unk_token": "<s>"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [63], "tokens": ["<s>"]}}},
    }
    split = {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{N}|\s+(?!\S)|\s+"}, "behavior": "Isolated",
         "invert": False},
        {"type": "Digits", "individual_digits": True}, byte_level(False)]}}
    models = {
        "word_piece": {"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 100, "vocab": {"a": 0, "##b": 1}},
        "word_level": {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0, "b": 1}},
        "unigram": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0], ["b", -1.5]],
                    "byte_fallback": False},
    }
    return {
        "byte_level": plain,
        "sentence_piece": {**plain, **piece},
        "split": {**plain, **split},
        "metaspace": {**plain, "pre_tokenizer": metaspace, "decoder": metaspace},
        **{name: {**plain, "model": model, "added_tokens": []} for name, model in models.items()},
    }


# Number of elements and bytes of a block, in the order of the table of types.
BLOCKS = [
    4, 2, 18, 20, 22, 24, 34, 84, 110, 144, 176, 210, 66, 74, 98, 50, 18, 110, 82, 136,
    1, 2, 4, 8, 8, 56, 2, 54, 66, 17, 1, 1, 2, 4, 8,
]


def main():
    for name, (header, data) in small_safetensors().items():
        put("safetensors", name, safetensors(header, b"\x3c" * data))
    put("safetensors", "llama", weights())
    for target, seeds in [("gguf", small_ggufs()), ("index_json", indices()),
                          ("config_json", configs()), ("tokenizer_json", tokenizers())]:
        for name, content in seeds.items():
            put(target, name, content)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "config.json").write_text(json.dumps(LLAMA))
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer(), ensure_ascii=False))
        (folder / "model.safetensors").write_bytes(weights())
        for target, recipe in [("apr", "int8"), ("apr", "int4"), ("gguf", "q8_0"),
                               ("gguf", "q4_0"), ("gguf", "f16")]:
            path = folder / f"{recipe}.{target}"
            subprocess.run([APR, "import", folder, "--quantize", recipe, "-o", path],
                           check=True, stdout=subprocess.DEVNULL)
            put(target, recipe, path.read_bytes())
    for at, size in enumerate(BLOCKS):
        block = bytes(range(256)) * 2
        put("block_decode", f"type_{at}", bytes([at]) + block[:2 * size])
        put("block_encode", f"type_{at}", bytes([at, at % 3]) + block[:66])
    put("output", "escapes", "\x1b[31m\x9b0m\r\n\u202ea\u2028\x7f".encode())
    put("output", "plain", b"model.layers.0.mlp.down_proj.weight")


if __name__ == "__main__":
    main()
