#!/usr/bin/env python3
"""Writes data/: small files by the reference implementations, which the tests read and compare.

Needs: pip install gguf safetensors torch
"""
import shutil
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

DATA = Path(__file__).parent / "data"
Kind = gguf.GGMLQuantizationType
RANDOM = np.random.default_rng(3)


def write_gguf(path: Path, **options: int) -> None:
    writer = gguf.GGUFWriter(path, "test", **options)
    writer.add_uint32("test.count", 7)
    writer.add_float32("test.number", 0.5)
    writer.add_array("tokenizer.ggml.tokens", ["a", "bb", ""])
    writer.add_array("test.list", [1, -1, 3])
    values = np.random.default_rng(3).standard_normal((4, 64)).astype(np.float32)
    writer.add_tensor("single", values)
    writer.add_tensor("half", values[:, :5].astype(np.float16))
    for kind in (Kind.BF16, Kind.Q8_0, Kind.Q4_0):
        writer.add_tensor(kind.name.lower(), gguf.quants.quantize(values, kind), raw_dtype=kind)
    # Of these only the order of the bytes matters.
    for kind in (Kind.Q4_K, Kind.Q6_K, Kind.MXFP4):
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        blocks = np.random.default_rng(3).integers(0, 256, size=(1, 2 * block_bytes), dtype=np.uint8)
        writer.add_tensor(kind.name.lower(), blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors(path: Path) -> None:
    types = [
        torch.float16, torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8, torch.int8,
        torch.int16, torch.int32, torch.float64, torch.uint16, torch.uint32, torch.uint64,
    ]
    tensors = {}
    for at, dtype in enumerate(types):
        values = torch.from_numpy(RANDOM.integers(0, 2, size=(at % 3 + 1, 3)))
        tensors[f"{chr(ord('z') - at)}.{at}"] = values.to(dtype)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros((0, 4))
    save_file(tensors, path, metadata={"format": "pt"})


def main() -> None:
    DATA.mkdir(exist_ok=True)
    write_gguf(DATA / "little.gguf")
    shutil.copy(DATA / "little.gguf", DATA / "big.gguf")
    convert = [sys.executable, "-m", "gguf.scripts.gguf_convert_endian", str(DATA / "big.gguf"), "big"]
    subprocess.run(convert, input=b"YES\n", check=True)
    write_gguf(DATA / "split.gguf", split_max_tensors=4)
    write_safetensors(DATA / "reference.safetensors")


main()
