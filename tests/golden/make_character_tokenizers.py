# SPDX-License-Identifier: MIT
"""Writes character_tokenizers.json: what the `tokenizers` library makes of texts with vocabularies of characters (Llama 2's
kind), with normal form C, and with added tokens that must stand alone.

    python3 make_character_tokenizers.py OUTPUT-FILE      (made with tokenizers 0.22)
"""
import json
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = ["once upon a time there was a little girl named Lily. She loved to play with her ball in the park. " * 3,
          "the cat and the dog were friends. They said hello 12 times, and 345 more; naïve café über straße. " * 3]
PARTS = ["once", " upon", " a time", "Lily", "the", " cat", "  ", "   ", " ", "\n", "\t", "é", "e\u0301", "ß", "Å", "A\u030a",
         "\u212b", "你", "한", "\u1112\u1161\u11ab", "🦙", "1", "23", ".", ",", "x", "Q", "▁", "<s>", "</s>", "[W]", "a[W]b", "[W] "]


def train(normalizer, pre_tokenizer):
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if normalizer:
        t.normalizer = normalizer
    if pre_tokenizer:
        t.pre_tokenizer = pre_tokenizer
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, special_tokens=specials, show_progress=False))
    plain = json.loads(t.to_str())  # the bytes' tokens are in the vocabulary, not added ones
    plain["added_tokens"] = [a for a in plain["added_tokens"] if not a["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(plain))


def without_bytes(t, fuse):
    plain = json.loads(t.to_str())
    plain["model"]["byte_fallback"], plain["model"]["fuse_unk"] = False, fuse
    return Tokenizer.from_str(json.dumps(plain))


def with_normalized_tokens(t):
    plain = json.loads(t.to_str())
    for i, a in enumerate(plain["added_tokens"]):
        a["normalized"], a["rstrip"] = True, i == 1
    return Tokenizer.from_str(json.dumps(plain))


def variants():
    llama = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t = train(llama, None)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    yield "llama2", t
    llama2 = t
    yield "unknown_fused", without_bytes(t, True)
    yield "unknown_one_by_one", without_bytes(t, False)
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            t = train(None, pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split))
            t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] +
                                          ([] if scheme == "never" else [decoders.Strip(" ", 1, 0)]))
            yield f"metaspace_{scheme}_{'split' if split else 'whole'}", t
    t = train(normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")]), None)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.add_tokens([AddedToken("[W]", single_word=True, normalized=False), AddedToken("Å", normalized=True)])
    yield "nfc_and_single_words", t
    yield "llama2_normalized_tokens", with_normalized_tokens(llama2)  # looked for as normalized: with the prepended "▁"


def main(output):
    rnd = random.Random(5)
    result = []
    for name, t in variants():
        texts = ["", " ", "once upon a time", " once", "Lily</s><s>the cat"] + \
            ["".join(rnd.choice(PARTS) for _ in range(rnd.randint(1, 14))) for _ in range(60)]
        cases = []
        for text in texts:
            e = t.encode(text, add_special_tokens=False)
            cases.append({"text": text, "ids": e.ids, "decoded": t.decode(e.ids, skip_special_tokens=False)})
        result.append({"name": name, "tokenizer": json.loads(t.to_str()), "cases": cases})
    with open(output, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=True) for r in result) + "\n]\n")


main(sys.argv[1])
