"""Trains two small SentencePiece BPE tokenizers and publishes each in both forms.

    pip install sentencepiece tokenizers && python tests/tokenizers/make.py

`<name>.tokenizer.json` is built as the converters of published models build it: merges are all
ways to cut a piece in two pieces, by falling score. `<name>.gguf.json` holds what llama.cpp's
converter writes of the same model: tokens, scores, types. `<name>.golden.json` holds token ids
by SentencePiece itself. The corpus is the text of this repository, so that another day's run makes
other tokenizers: commit all files of one run.
"""

import io
import json
import pathlib

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXTRA = ["東京は晴れです。今日は良い天気。", "한국어 텍스트", "naïve café — €5 🗼", "Ελληνικά Русский العربية"]


def corpus():
    lines = []
    for pattern in ["*.md", "docs/*.md", "tests/*.rs", "tests/data/*.txt", "crates/tensor/src/*.rs"]:
        for path in sorted(ROOT.glob(pattern)):
            lines += path.read_text().splitlines()
    return [line for line in lines if line.strip()] + EXTRA * 20


def train(vocab_size, **options):
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, model_type="bpe", vocab_size=vocab_size,
        byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, character_coverage=0.9995,
        num_threads=1, **options,
    )
    parsed = proto.ModelProto()
    parsed.ParseFromString(model.getvalue())
    return parsed, spm.SentencePieceProcessor(model_proto=model.getvalue())


def merges(pieces):
    ids = {piece.piece: index for index, piece in enumerate(pieces)}
    found = []
    for piece in pieces:
        text = piece.piece
        cuts = [(text[:at], text[at:]) for at in range(1, len(text))]
        cuts = [cut for cut in cuts if cut[0] in ids and cut[1] in ids]
        found += [(cut, piece.score) for cut in sorted(cuts, key=lambda cut: (ids[cut[0]], ids[cut[1]]))]
    return [cut for cut, _ in sorted(found, key=lambda merge: merge[1], reverse=True)]


def publish(name, model, processor, prefix):
    pieces = model.pieces
    vocab = {piece.piece: index for index, piece in enumerate(pieces)}
    unk = pieces[model.trainer_spec.unk_id].piece
    tokenizer = Tokenizer(models.BPE(vocab, merges(pieces), unk_token=unk, fuse_unk=True, byte_fallback=True))
    tail = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tail.append(decoders.Strip(" ", 1, 0))
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(tail)
    tokenizer.add_tokens([
        AddedToken(piece.piece, normalized=False, special=piece.type != 4) for piece in pieces if piece.type in (2, 3, 4)
    ])
    bos = pieces[model.trainer_spec.bos_id].piece
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, vocab[bos])])
    (HERE / f"{name}.tokenizer.json").write_text(tokenizer.to_str() + "\n")
    text = lambda piece: piece.piece.replace("▁", " ") if piece.type == 4 else piece.piece
    gguf = {
        "tokens": [text(piece) for piece in pieces],
        "scores": [piece.score for piece in pieces],
        "token_type": [piece.type for piece in pieces],
        "bos_token_id": model.trainer_spec.bos_id,
        "eos_token_id": model.trainer_spec.eos_id,
        "unknown_token_id": model.trainer_spec.unk_id,
        "add_space_prefix": prefix,
    }
    (HERE / f"{name}.gguf.json").write_text(json.dumps(gguf, ensure_ascii=False) + "\n")
    texts = EXTRA + ["a  b   c", "Hello world", " lead", "x\n\n\ty", "=" * 37, "3.14159", "\u0001🏳️‍🌈"]
    golden = [{"text": text, "ids": processor.encode(text)} for text in texts]
    (HERE / f"{name}.golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    same = sum(tokenizer.encode(t, add_special_tokens=False).ids == processor.encode(t) for t in corpus())
    print(name, len(pieces), "pieces;", same, "of", len(corpus()), "lines as SentencePiece tokenizes them")


model, processor = train(3000, add_dummy_prefix=True)
publish("llama", model, processor, prefix=True)
runs = ["▁" * n for n in range(2, 9)] + ["\n" * n for n in range(1, 5)] + ["<start_of_turn>", "<table>"]
model, processor = train(
    2000, add_dummy_prefix=False, user_defined_symbols=runs, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
    pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>",
)
publish("gemma", model, processor, prefix=False)
