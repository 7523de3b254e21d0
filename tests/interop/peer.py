"""llama.cpp continues prompts greedily: the tokens, and the most likely tokens at each step.

usage: peer.py FILE.gguf PROMPTS.json TOKENS THREADS BATCH
PROMPTS.json: {"name": [token ids], ...}. Prints {"name": {"tokens": [...], "ended": whether the last one is the end token,
"top": [{id: logprob}, ...]}}.
One process per setting, since llama.cpp keeps its threads and buffers.
"""
import json
import sys

import xllamacpp

TOP = 10


def main() -> None:
    path, prompts, count, threads, batch = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.warmup = path, 256, False
    params.n_batch = params.n_ubatch = batch
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads
    server, found = xllamacpp.Server(params), {}
    with open(prompts, encoding="utf-8") as file:
        named = json.load(file)
    for name, ids in named.items():
        answer = server.handle_completions({
            "prompt": ids, "max_tokens": count, "temperature": 0, "top_k": 1, "seed": 1,
            "n_probs": TOP, "logprobs": TOP, "verbose": True, "return_tokens": True,
            "cache_prompt": False,
        })
        answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
        steps = answer["__verbose"].get("completion_probabilities", [])
        found[name] = {
            "tokens": answer["__verbose"]["tokens"],
            "ended": answer["__verbose"]["stop_type"] == "eos",
            "top": [{str(top["id"]): top["logprob"] for top in step["top_logprobs"]} for step in steps],
        }
    json.dump(found, sys.stdout)


main()
