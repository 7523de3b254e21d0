#!/usr/bin/env python3
"""Small random models and what numpy makes of them: merged and pruned.

usage: make_goldens.py      (needs numpy, safetensors)

`base`, `a`, `b`, `c` are Llama checkpoints of one layer in single precision: a, b and c are the
base with changes, some of which agree. The others are what docs/operations.md says of each
strategy, computed in double precision and rounded once.
"""
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
HIDDEN, HEADS, KV_HEADS, MLP, VOCAB = 16, 2, 1, 24, 20
CONFIG = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=HIDDEN,
              num_hidden_layers=1, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
              intermediate_size=MLP, vocab_size=VOCAB, max_position_embeddings=32,
              rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False,
              hidden_act="silu", bos_token_id=0, eos_token_id=1)
LAYER = "model.layers.0."
SHAPES = {
    "model.embed_tokens.weight": (VOCAB, HIDDEN),
    LAYER + "input_layernorm.weight": (HIDDEN,),
    LAYER + "self_attn.q_proj.weight": (HIDDEN, HIDDEN),
    LAYER + "self_attn.k_proj.weight": (HIDDEN // 2, HIDDEN),
    LAYER + "self_attn.v_proj.weight": (HIDDEN // 2, HIDDEN),
    LAYER + "self_attn.o_proj.weight": (HIDDEN, HIDDEN),
    LAYER + "post_attention_layernorm.weight": (HIDDEN,),
    LAYER + "mlp.gate_proj.weight": (MLP, HIDDEN),
    LAYER + "mlp.up_proj.weight": (MLP, HIDDEN),
    LAYER + "mlp.down_proj.weight": (HIDDEN, MLP),
    "model.norm.weight": (HIDDEN,),
    "lm_head.weight": (VOCAB, HIDDEN),
}
PRUNED = [name for name in SHAPES if "_proj" in name]


def models():
    rng = np.random.default_rng(20)
    draw = lambda shape, size: (rng.standard_normal(shape) * size).astype(np.float32)
    base = {name: draw(shape, 0.5) for name, shape in SHAPES.items()}
    shared = {name: draw(shape, 0.1) for name, shape in SHAPES.items()}
    changed = lambda: {name: base[name] + shared[name] + draw(shape, 0.2)
                       for name, shape in SHAPES.items()}
    return base, changed(), changed(), changed()


def f64(x):
    return x.astype(np.float64)


def linear(tensors, weights):
    total = sum(weights)
    return sum((w / total) * f64(x) for w, x in zip(weights, tensors))


def slerp(a, b, t):
    a, b = f64(a), f64(b)
    angle = np.arccos(np.clip((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), -1, 1))
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def part(share, count):
    """The part of a whole, to the nearest."""
    return int(np.floor(share * count + 0.5))


def ties(base, tensors, weights, density):
    trimmed = []
    for x in tensors:
        change = x - base
        size = np.sort(np.abs(change).ravel())
        threshold = size[len(size) - part(density, len(size))]
        trimmed.append(f64(np.where(np.abs(change) >= threshold, change, 0)))
    elected = sum(w * change for w, change in zip(weights, trimmed))
    agrees = [change * elected > 0 for change in trimmed]
    total = sum(w * same for w, same in zip(weights, agrees))
    sums = sum(w * np.where(same, change, 0) for w, same, change in zip(weights, agrees, trimmed))
    return f64(base) + np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)


STEP = 0x9E3779B97F4A7C15


def mix(z):
    """The output function of SplitMix64."""
    z = np.asarray(z, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fnv(text):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return np.uint64(value)


def uniform(seed, model, name, count):
    key = mix(mix([(seed + (model + 1) * STEP) % 2**64]) ^ fnv(name))
    places = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(STEP)
    return (mix(key + places) >> np.uint64(40)).astype(np.float64) / 2**24


def dare(name, base, tensors, weights, density, seed):
    merged, total = f64(base), sum(weights)
    for model, (weight, x) in enumerate(zip(weights, tensors)):
        keep = uniform(seed, model, name, x.size).reshape(x.shape) < density
        merged = merged + np.where(keep, (weight / total) * (f64(x - base) / density), 0)
    return merged


def magnitude(x, ratio):
    flat = x.ravel().copy()
    order = np.argsort(np.abs(flat), kind="stable")
    flat[order[:part(ratio, flat.size)]] = 0
    return flat.reshape(x.shape)


def two_of_four(x):
    groups = x.reshape(-1, 4).copy()
    order = np.argsort(np.abs(groups), axis=1, kind="stable")
    np.put_along_axis(groups, order[:, :2], 0, axis=1)
    return groups.reshape(x.shape)


def save(name, tensors):
    tensors = {key: np.ascontiguousarray(x.astype(np.float32)) for key, x in tensors.items()}
    save_file(tensors, HERE / f"{name}.safetensors", metadata={"format": "pt"})


def main():
    np.seterr(over="ignore")
    base, a, b, c = models()
    for name, tensors in dict(base=base, a=a, b=b, c=c).items():
        save(name, tensors)
    (HERE / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    three, weights = (a, b, c), (1.0, 2.0, 1.0)
    of_three = lambda name: [x[name] for x in three]
    save("linear", {k: linear(of_three(k), weights) for k in SHAPES})
    save("slerp", {k: slerp(a[k], b[k], 0.3) for k in SHAPES})
    save("ties", {k: ties(base[k], of_three(k), weights, 0.4) for k in SHAPES})
    save("dare", {k: dare(k, base[k], of_three(k), weights, 0.4, 7) for k in SHAPES})
    pruned = lambda of: {k: of(a[k]) if k in PRUNED else a[k] for k in SHAPES}
    save("magnitude", pruned(lambda x: magnitude(x, 0.3)))
    save("2of4", pruned(two_of_four))


main()
