"""Token ids by llama.cpp of texts: tokenize_peer.py FILE.gguf TEXTS.json, both lists in JSON.

Its Python package hands out no tokenizer, but its server has one.
"""
import json
import sys
import urllib.request

import xllamacpp


def main():
    path, texts = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.warmup = path, 512, False
    params.cpuparams.n_threads = 1
    server, found = xllamacpp.Server(params), []
    for text in texts:
        body = json.dumps({"content": text, "add_special": True, "parse_special": True}).encode()
        request = urllib.request.Request(
            server.listening_address + "/tokenize", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            found.append(json.load(answer)["tokens"])
    json.dump(found, sys.stdout)


main()
