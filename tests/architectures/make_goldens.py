#!/usr/bin/env python3
"""Random checkpoints of every architecture, and what transformers computes with them.

usage: make_goldens.py [NAME ...]      (needs torch, transformers, tokenizers, safetensors)

For each architecture: a folder with config.json, model.safetensors (bfloat16, two to four small
layers), tokenizer.json (bytes, without merges) and golden.safetensors: `tokens` and the `logits`
of all of them, computed in float32 on the CPU. The sequence is longer than every window.
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

transformers.logging.disable_progress_bar()

HERE = pathlib.Path(__file__).parent
VOCAB = 264
LENGTH = 16
SIZES = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=64, bos_token_id=256, eos_token_id=257, pad_token_id=None)
LLAMA = dict(SIZES, intermediate_size=64, num_key_value_heads=2, rope_theta=10000.0)
GEMMA = dict(LLAMA, head_dim=16, query_pre_attn_scalar=16, num_hidden_layers=3, sliding_window=7)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
LONG = dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.25, 1.5], long_factor=[1.0, 2.0, 3.5, 6.0])

CASES = {
    "llama3": ("Llama", dict(LLAMA, rope_scaling=LLAMA3, tie_word_embeddings=True)),
    "llama-linear": ("Llama", dict(LLAMA, rope_scaling=dict(rope_type="linear", factor=2.5))),
    "mistral": ("Mistral", dict(LLAMA, head_dim=16, sliding_window=7)),
    "qwen2.5": ("Qwen2", dict(LLAMA, use_sliding_window=False, sliding_window=8, tie_word_embeddings=True)),
    "qwen3": ("Qwen3", dict(LLAMA, head_dim=16, tie_word_embeddings=True)),
    "qwen3-moe": ("Qwen3Moe", dict(LLAMA, head_dim=16, num_experts=6, num_experts_per_tok=2,
                                   moe_intermediate_size=32, norm_topk_prob=True)),
    "mixtral": ("Mixtral", dict(LLAMA, num_local_experts=4, num_experts_per_tok=2, intermediate_size=32,
                                sliding_window=None)),
    "phi3": ("Phi3", dict(LLAMA, sliding_window=7)),
    "phi3-long": ("Phi3", dict(LLAMA, sliding_window=None, rope_scaling=LONG,
                               original_max_position_embeddings=12)),
    "gemma2": ("Gemma2", dict(GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=5.0)),
    "gemma3": ("Gemma3", dict(GEMMA, num_hidden_layers=4, sliding_window_pattern=3, rope_theta=1e6,
                              rope_local_base_freq=10000.0, rope_scaling=dict(rope_type="linear", factor=8.0))),
    "pythia": ("GPTNeoX", dict({**SIZES, "num_attention_heads": 2}, intermediate_size=128, rotary_pct=0.25,
                               rotary_emb_base=10000, use_parallel_residual=True)),
    "neox-sequential": ("GPTNeoX", dict(SIZES, intermediate_size=64, rotary_pct=1.0,
                                        rotary_emb_base=10000, use_parallel_residual=False)),
}
CLASSES = {"Gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM")}


def randomize(model):
    """Values large enough that every part of the model tells in its logits."""
    for name, tensor in model.named_parameters():
        if tensor.dim() == 1:
            tensor.data.copy_(torch.randn_like(tensor) * 0.3 + (0.0 if name.endswith("bias") else 1.0))
        else:
            spread = 0.5 if "embed" in name else 1.5 / tensor.shape[-1] ** 0.5
            tensor.data.copy_(torch.randn_like(tensor) * spread)


def write_tokenizer(folder):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: at for at, token in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def make(name):
    family, settings = CASES[name]
    config_class, model_class = CLASSES.get(family, (f"{family}Config", f"{family}ForCausalLM"))
    torch.manual_seed(sum(name.encode()))
    config = getattr(transformers, config_class)(**settings)
    model = getattr(transformers, model_class)(config).eval()
    randomize(model)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    # Loaded anew: buffers, unlike weights, must not have gone through bfloat16.
    model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokens = torch.randint(0, 256, (1, LENGTH))
    with torch.no_grad():
        logits = model(tokens).logits[0]
    save_file({"tokens": tokens[0].to(torch.int32), "logits": logits.contiguous()}, folder / "golden.safetensors")
    write_tokenizer(folder)
    print(f"{name}: logits {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")


for name in sys.argv[1:] or CASES:
    make(name)
