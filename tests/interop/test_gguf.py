"""The gguf package reads the files that apr writes, and decodes every tensor to the same values."""
import hashlib
import json
import pathlib
import tempfile
import unittest

import gguf
import numpy
from safetensors.numpy import load_file

from harness import MODELS, apr, model

RECIPES = ("f16", "bf16", "q8_0", "q4_0", "q5_1", "q2_k", "q3_k_m", "q4_k_m", "q5_k_s", "q6_k",
           "iq4_nl", "iq4_xs", "mxfp4")


def decoded(tensor):
    """The values of a tensor, float32, outermost dimension first."""
    shape = [int(dim) for dim in reversed(tensor.shape)]
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32).reshape(shape)


def digest(values):
    """Of the bits of all values, whatever their order."""
    bits = numpy.sort(numpy.ascontiguousarray(values, "<f4").view("<u4"), axis=None)
    return hashlib.sha256(bits.tobytes()).hexdigest()


class Gguf(unittest.TestCase):
    def test_every_tensor_decodes_to_the_values_that_apr_exports(self):
        for name in MODELS:
            for recipe in RECIPES:
                with self.subTest(model=name, recipe=recipe), tempfile.TemporaryDirectory() as folder:
                    folder = pathlib.Path(folder)
                    file, values = folder / "model.gguf", folder / "model.safetensors"
                    apr("import", model(name), "--quantize", recipe, "-o", file)
                    apr("export", file, "--quantize", "f32", "-o", values)
                    reader = gguf.GGUFReader(file)
                    # As multisets of bits: names and the order of rows differ between the formats.
                    theirs = sorted(map(digest, map(decoded, reader.tensors)))
                    ours = sorted(map(digest, load_file(values).values()))
                    self.assertEqual(ours, theirs)

    def test_the_file_is_as_large_as_planned(self):
        for name in MODELS:
            for recipe in RECIPES:
                with self.subTest(model=name, recipe=recipe), tempfile.TemporaryDirectory() as folder:
                    file = pathlib.Path(folder) / "model.gguf"
                    call = ("import", model(name), "--quantize", recipe, "-o", file, "--json")
                    plan = json.loads(apr(*call, "--plan"))
                    apr(*call)
                    self.assertEqual(plan["estimated_output_size"], file.stat().st_size)
                    reader = gguf.GGUFReader(file)
                    planned = {tensor["name"]: tensor["dtype"] for tensor in plan["tensors"]}
                    found = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
                    self.assertEqual(planned, found)


if __name__ == "__main__":
    unittest.main(verbosity=2)
