"""llama.cpp loads the GGUF files that apr writes, and continues texts with the same tokens.

Where the tokens part, the two candidates must be nearer to each other, by llama.cpp's own account,
than its account changes with the number of threads and the size of a batch.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from harness import ARCHITECTURES, MODELS, apr, model

RECIPES = ("f16", "q8_0", "q4_0", "q4_k_m", "q6_k")
PROMPTS = ("arithmetic", "completion", "code", "greeting")
TOKENS = 32
TEXTS = ("hello", "abc def", "ab", "the cat")
# (threads, batch): the first is the one whose tokens are compared.
SETTINGS = ((2, 64), (1, 64), (2, 2), (1, 5), (2, 16), (1, 512))


def peer(file, prompts, count, threads, batch):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as listed:
        json.dump(prompts, listed)
        listed.flush()
        script = pathlib.Path(__file__).with_name("peer.py")
        arguments = [sys.executable, script, file, listed.name, count, threads, batch]
        ran = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            raise AssertionError(f"llama.cpp does not run {file}: {ran.stderr[-2000:]}")
        return json.loads(ran.stdout)


class LlamaCpp(unittest.TestCase):
    def test_tokens_are_the_same(self):
        for name in MODELS:
            for recipe in RECIPES:
                with self.subTest(model=name, recipe=recipe), tempfile.TemporaryDirectory() as folder:
                    file = pathlib.Path(folder) / "model.gguf"
                    apr("import", model(name), "--quantize", recipe, "-o", file)
                    self.compare(name, recipe, file)

    def test_every_architecture_has_the_same_next_token(self):
        """Later tokens of random weights are near ties, and llama.cpp keeps its cache in halves."""
        for source in ARCHITECTURES:
            with self.subTest(source=source.name), tempfile.TemporaryDirectory() as folder:
                file = pathlib.Path(folder) / "model.gguf"
                apr("import", source, "-o", file)
                runs = [json.loads(apr("run", file, "-p", text, "-n", 1, "--json")) for text in TEXTS]
                prompts = {run["prompt"]: run["prompt_tokens"] for run in runs}
                theirs = peer(file, prompts, 1, *SETTINGS[0])
                ours = {run["prompt"]: run["tokens"] for run in runs}
                self.assertEqual(ours, {text: found["tokens"] for text, found in theirs.items()})

    def compare(self, name, recipe, file):
        goldens = {p: json.loads((model(name) / "goldens" / f"{p}.json").read_text()) for p in PROMPTS}
        prompts = {p: golden["prompt_tokens"] for p, golden in goldens.items()}
        theirs = peer(file, prompts, TOKENS, *SETTINGS[0])
        apart = {}
        for prompt, golden in goldens.items():
            ours = json.loads(apr("run", file, "-p", golden["prompt"], "-n", TOKENS, "--json"))
            self.assertEqual(ours["prompt_tokens"], prompts[prompt], "the prompt is tokenized alike")
            # llama.cpp stops at an end token, `apr run -n` goes on.
            found = theirs[prompt]
            self.assertTrue(found["ended"] or len(found["tokens"]) == TOKENS, found)
            pairs = list(zip(ours["tokens"], found["tokens"], strict=False))
            at = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
            if at is not None:
                apart[prompt] = (at, *pairs[at], prompts[prompt] + ours["tokens"][:at])
        print(f"{name} {recipe}: {len(prompts) - len(apart)} of {len(prompts)} continuations are the same")
        if apart:
            self.near_ties(file, apart)

    def near_ties(self, file, apart):
        """Every difference is smaller than llama.cpp's own noise at that place."""
        contexts = {prompt: context for prompt, (_, _, _, context) in apart.items()}
        answers = [peer(file, contexts, 1, *setting) for setting in SETTINGS]
        for prompt, (at, ours, theirs, _) in apart.items():
            tops = [answer[prompt]["top"][0] for answer in answers]
            leads = [top[str(theirs)] - top[str(ours)] for top in tops]
            lead, noise = min(map(abs, leads)), max(leads) - min(leads)
            print(f"  {prompt}: at token {at}, {theirs} leads {ours} by {lead:.5f} in llama.cpp, "
                  f"whose noise is {noise:.5f}")
            self.assertLessEqual(lead, noise, f"{prompt}: token {at} is {ours}, not {theirs}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
