"""The safetensors package reads the files that apr exports."""
import json
import pathlib
import tempfile
import unittest

import numpy
from safetensors import safe_open

from harness import MODELS, apr, model


def tensors(file):
    """Name → dtype, shape and bytes. Bytes, since numpy has no bfloat16."""
    with safe_open(file, framework="numpy") as opened:
        names = list(opened.keys())
        slices = {name: opened.get_slice(name) for name in names}
        shapes = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    found = {}
    for name, shape in shapes.items():
        begin, end = header[name]["data_offsets"]
        found[name] = (*shape, data[8 + length + begin:8 + length + end])
    return found


class SafeTensors(unittest.TestCase):
    def test_safetensors_in_safetensors_out_is_the_same(self):
        for name in MODELS:
            with self.subTest(model=name), tempfile.TemporaryDirectory() as folder:
                out = pathlib.Path(folder) / "out.safetensors"
                apr("export", model(name), "-o", out)
                self.assertEqual(tensors(out), tensors(model(name) / "model.safetensors"))

    def test_through_apr_and_gguf_every_weight_is_the_same(self):
        for name in MODELS:
            for step in ("model.apr", "model.gguf"):
                with self.subTest(model=name, step=step), tempfile.TemporaryDirectory() as folder:
                    folder = pathlib.Path(folder)
                    apr("import", model(name), "-o", folder / step)
                    apr("export", folder / step, "-o", folder / "out.safetensors")
                    source = tensors(model(name) / "model.safetensors")
                    found = tensors(folder / "out.safetensors")
                    # What follows from the rest (causal masks) is not stored in between.
                    masks = {n for n in source if n.endswith((".attn.bias", ".attn.masked_bias"))}
                    self.assertEqual(set(source) - set(found), masks)
                    for tensor, (dtype, shape, data) in found.items():
                        self.assertEqual(shape, source[tensor][1], tensor)
                        expected = values(source[tensor][0], source[tensor][2])
                        self.assertTrue(numpy.array_equal(values(dtype, data), expected), tensor)


def values(dtype, data):
    if dtype == "BF16":
        return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return numpy.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[dtype]).astype("<f4")


if __name__ == "__main__":
    unittest.main(verbosity=2)
