"""Makes `encoder_errors.json`, the yardstick of ../encoders.rs: what llama.cpp's own encoders leave.

    pip install gguf==0.19.0 xllamacpp==2026.10.11549
    python make_encoder_errors.py

For every type and shipped model: the elements of all matrices whose rows are whole blocks (GPT-2's
transposed to [out, in]), the sum of squared differences after `ggml_quantize_chunk` without an
importance matrix, and the SHA-256 of the blocks that it wrote, in the order of the file.
"""

import ctypes
import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
         "IQ4_NL", "IQ4_XS", "MXFP4"]  # fmt: skip
MODELS = ["tiny-llama", "tiny-qwen2", "tiny-gpt2"]


def library() -> ctypes.CDLL:
    package = importlib.util.find_spec("xllamacpp")
    [path] = Path(package.origin).parent.glob("*.so")
    lib = ctypes.CDLL(str(path))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int] + 2 * [ctypes.c_void_p] + 3 * [
        ctypes.c_int64] + [ctypes.c_void_p]  # fmt: skip
    return lib


def matrices(model: str) -> list[np.ndarray]:
    """All matrices, [out, in] in float32, in the order of their names."""
    file = (Path(__file__).parents[1] / "models" / model / "model.safetensors").read_bytes()
    data = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:data])
    found = []
    for name in sorted(set(header) - {"__metadata__"}):
        entry = header[name]
        if len(entry["shape"]) != 2 or name == "wpe.weight":
            continue
        begin, end = entry["data_offsets"]
        raw = file[data + begin : data + end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, "<f4")
        values = values.reshape(entry["shape"])
        found.append(np.ascontiguousarray(values.T if ".c_" in name else values))
    return found


def encode(lib: ctypes.CDLL, dtype: GGMLQuantizationType, matrix: np.ndarray) -> np.ndarray:
    elems, size = GGML_QUANT_SIZES[dtype]
    rows, cols = matrix.shape
    out = np.zeros((rows, cols // elems * size), np.uint8)
    lib.ggml_quantize_init(dtype.value)
    written = lib.ggml_quantize_chunk(
        dtype.value, matrix.ctypes.data, out.ctypes.data, 0, rows, cols, None
    )
    assert written == out.size
    return out


def measure(lib: ctypes.CDLL, dtype: GGMLQuantizationType, model: list[np.ndarray]) -> dict:
    total, error, digest = 0, 0.0, hashlib.sha256()
    for matrix in model:
        if matrix.shape[1] % GGML_QUANT_SIZES[dtype][0]:
            continue
        blocks = encode(lib, dtype, matrix)
        difference = matrix.astype(np.float64) - dequantize(blocks, dtype).astype(np.float64)
        total += matrix.size
        error += float((difference**2).sum())
        digest.update(blocks.tobytes())
    return {"elements": total, "squared_error": error, "sha256": digest.hexdigest()}


def main() -> None:
    lib = library()
    models = {name: matrices(name) for name in MODELS}
    table = {
        name: {
            model: measure(lib, GGMLQuantizationType[name], found)
            for model, found in models.items()
        }
        for name in TYPES
    }
    path = Path(__file__).with_name("encoder_errors.json")
    path.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
