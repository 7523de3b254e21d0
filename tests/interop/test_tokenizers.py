"""llama.cpp tokenizes by the GGUF files that apr writes as the published tokenizers do."""
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata
import unittest

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from harness import MODELS, ROOT, apr, model

# Ranges of characters that tokenizers treat in ways of their own.
RANGES = ((0x4E00, 0x9FA5), (0x3041, 0x3093), (0xAC00, 0xD7A3), (0x620, 0x64A), (0x300, 0x36F), (0xC0, 0x17F),
          (0x30, 0x39), (0x660, 0x669), (0x21, 0x7E), (0x1F300, 0x1F6FF), (0x2000, 0x206F), (1, 0x1F), (1, 0xD7FF))
ENDS = ("", " ", "  ", "\n", "\r\n", "\t", "'s", "'LL", "12345", "👩‍👩‍👧‍👦")
SPECIAL = ("<|endoftext|>a<|im_start|> b", "<s>x</s> y<bos> z", " lead", "trail  ", " " * 40 + "x", "=" * 70)


def texts():
    seeded = random.Random(5)
    files = [ROOT / "tests/data/heldout.txt", *sorted(ROOT.glob("crates/*/src/*.rs"))]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line]
    seeded.shuffle(lines)

    def word():
        first, last = seeded.choice(RANGES)
        length = seeded.randint(1, 6)
        return "".join(chr(seeded.randint(first, last)) for _ in range(length)) + seeded.choice(ENDS)

    made = ["".join(word() for _ in range(seeded.randint(1, 6))) for _ in range(1000)]
    return lines[:2000] + made + list(SPECIAL)


def random_llama(folder, tokenizer, bos, eos):
    """A Llama of random weights whose embedding has some rows more than the tokenizer has tokens."""
    rows, width = Tokenizer.from_file(str(tokenizer)).get_vocab_size() + 5, 64
    config = json.loads((model("tiny-llama") / "config.json").read_text())
    config |= {"vocab_size": rows, "hidden_size": width, "intermediate_size": width, "num_hidden_layers": 1,
               "num_attention_heads": 2, "num_key_value_heads": 2, "torch_dtype": "float32",
               "bos_token_id": bos, "eos_token_id": eos}
    config.pop("head_dim", None)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    layer, square = "model.layers.0.", (width, width)
    shapes = {"model.embed_tokens.weight": (rows, width), "model.norm.weight": (width,),
              layer + "input_layernorm.weight": (width,), layer + "post_attention_layernorm.weight": (width,)}
    shapes |= {f"{layer}self_attn.{name}_proj.weight": square for name in "qkvo"}
    shapes |= {f"{layer}mlp.{name}_proj.weight": square for name in ("gate", "up", "down")}
    values = np.random.default_rng(0)
    tensors = {name: values.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


class Tokenizers(unittest.TestCase):
    def test_the_shipped_models(self):
        for name in MODELS:
            with self.subTest(name):
                self.compare(model(name))

    def test_sentencepiece(self):
        for name, bos, eos in (("llama", 1, 2), ("gemma", 2, 1)):
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                random_llama(pathlib.Path(folder), ROOT / f"tests/tokenizers/{name}.tokenizer.json", bos, eos)
                self.compare(pathlib.Path(folder))

    def compare(self, source):
        published = Tokenizer.from_file(str(source / "tokenizer.json"))
        compared = texts()
        if published.normalizer is not None and "NFC" in repr(published.normalizer):
            # llama.cpp does not normalise.
            compared = [text for text in compared if unicodedata.is_normalized("NFC", text)]
        with tempfile.TemporaryDirectory() as folder:
            file, listed = pathlib.Path(folder) / "model.gguf", pathlib.Path(folder) / "texts.json"
            apr("import", source, "-o", file)
            listed.write_text(json.dumps(compared), encoding="utf-8")
            script = pathlib.Path(__file__).with_name("tokenize_peer.py")
            ran = subprocess.run([sys.executable, script, file, listed], capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 0, ran.stderr[-2000:])
        for text, theirs in zip(compared, json.loads(ran.stdout), strict=True):
            self.assertEqual(published.encode(text).ids, theirs, repr(text))


if __name__ == "__main__":
    unittest.main(verbosity=2)
