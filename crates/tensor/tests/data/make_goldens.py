"""Makes the golden blocks of ../goldens.rs: `python make_goldens.py`, with `pip install gguf==0.19.0`.

For every quantized type that `gguf.quants` decodes and GGML numbers, `<TYPE>.bin` holds blocks of
random bytes, one after the other, and then the float32 values that the package makes of them.
The f16 scales within the blocks are set, so that zero, subnormal, negative and extreme ones occur.
"""

from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

BLOCKS = 8
# f16: 0.1 and the like, zero, smallest and largest subnormal, negative, minus zero, largest.
SCALES = [0x2E66, 0x0000, 0x0001, 0xB2C1, 0x83FF, 0x7BFF, 0x8000, 0x1D3A]
# Bytes of the block at which its f16 scales lie. None: there is no f16 (MXFP4's scale is one byte,
# where every value is legal). IQ1_M spreads its f16 over the upper nibbles of four 16-bit words.
SCALES_AT = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [],
    "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0],
    "IQ1_S": [0], "IQ4_NL": [0], "IQ4_XS": [0], "IQ1_M": [],
}  # fmt: skip


def random_blocks(name: str, size: int, rng: np.random.Generator) -> np.ndarray:
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for i, block in enumerate(blocks):
        for k, at in enumerate(SCALES_AT[name]):
            scale = SCALES[(i * (1 + 2 * k) + k) % len(SCALES)]
            block[at : at + 2] = np.frombuffer(scale.to_bytes(2, "little"), np.uint8)
        if name == "IQ1_M":
            for k in range(4):
                high = (SCALES[i] >> (4 * k)) & 0xF
                block[49 + 2 * k] = (block[49 + 2 * k] & 0x0F) | (high << 4)
    return blocks


def main() -> None:
    for name in SCALES_AT:
        dtype = GGMLQuantizationType[name]
        rng = np.random.default_rng(dtype.value)
        blocks = random_blocks(name, GGML_QUANT_SIZES[dtype][1], rng)
        with np.errstate(over="ignore"):
            values = dequantize(blocks, dtype)
        assert values.dtype == np.float32 and not np.isnan(values).any(), name
        path = Path(__file__).with_name(f"{name}.bin")
        path.write_bytes(blocks.tobytes() + values.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
