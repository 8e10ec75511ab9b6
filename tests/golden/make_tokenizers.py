# SPDX-License-Identifier: MIT
"""Writes tokenizers.json: what the `tokenizers` library makes of random texts, for one small byte-level BPE behind many
pre-tokenizers and added tokens.

    python3 make_tokenizers.py OUTPUT-FILE      (made with tokenizers 0.15.2)
"""
import json
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CORPUS = [
    "the cat isn't here, and we'll see 12345 of them   at once\n\n  return f(x) + 10;\n" * 3,
    "<tool>python</tool> Größe naïve 你好世界 привет 123 99 100 hello hello Hello HELLO's\t\ttabs" * 3,
]
PARTS = list("abcdefghelothEHLO  \n\t'.,;:+-*/=()<>{}") + [
    "the", " the", "'s", "'LL", "1", "23", "4567", "²", "½", "٣", "é", "ß", "Я", "привет", "你好", "한", "🦙", "👩‍🚀", "  ",
    "   ", "\r\n", "\n\n", "\u00a0", "\u2003", "\u3000", "\u0085", "<tool>", "</tool>", "<|end|>", "<end", "[X]", " [X] ",
    "--", "hello", "\x00", "\x7f"]


def split(pattern, behaviour, invert=False):
    return pre_tokenizers.Split(pattern, behaviour, invert)


def byte_level(prefix=False, regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def sequence(*steps):
    return pre_tokenizers.Sequence(list(steps))


def token(text, **flags):
    return AddedToken(text, **{"normalized": False, **flags})


CASES = {
    "gpt2": (byte_level(regex=True), []),
    "gpt2 with a prefix space": (byte_level(prefix=True, regex=True), [token("<|end|>", special=True)]),
    "no pattern": (byte_level(), []),
    "no pattern, prefix space": (byte_level(prefix=True), [token("<tool>")]),
    "llama 3": (sequence(split(Regex(LLAMA3), "isolated"), byte_level()), [token("<|end|>", special=True)]),
    "digits one by one": (sequence(pre_tokenizers.Digits(True), byte_level(regex=True)), []),
    "digits together": (sequence(pre_tokenizers.Digits(False), byte_level(regex=True)), []),
    "three splits": (sequence(split(Regex(r"\p{N}{1,3}"), "isolated"), split(Regex(r"[一-龥]+"), "isolated"),
                              split(Regex(GPT2), "isolated"), byte_level()), []),
    "split, prefix space on each piece": (sequence(split(" ", "isolated"), byte_level(prefix=True)), []),
    "removed": (sequence(split(Regex(r"\s+"), "removed"), byte_level()), []),
    "inverted removed": (sequence(split(Regex(GPT2), "removed", True), byte_level()), []),
    "inverted removed words": (sequence(split(Regex(r"\p{L}+"), "removed", True), byte_level()), []),
    "merged with previous": (sequence(split(Regex(r"[,.\n ]"), "merged_with_previous"), byte_level()), []),
    "merged with next": (sequence(split(Regex(r"[,.\n ]"), "merged_with_next"), byte_level()), []),
    "contiguous": (sequence(split(Regex(r"[,.\n ]"), "contiguous"), byte_level()), []),
    "inverted merged with previous": (sequence(split(Regex(r"\p{L}"), "merged_with_previous", True), byte_level()), []),
    "inverted merged with next": (sequence(split(Regex(r"\p{L}"), "merged_with_next", True), byte_level()), []),
    "inverted contiguous": (sequence(split(Regex(r"\p{L}"), "contiguous", True), byte_level()), []),
    "a string": (sequence(split("(", "isolated"), byte_level()), []),
    "an empty match": (sequence(split(Regex(r"(?=[a-e])"), "isolated"), byte_level()), []),
    "empty matches everywhere": (sequence(split(Regex(r"x*"), "merged_with_previous"), byte_level()), []),
    "added tokens": (byte_level(regex=True), [token("<tool>"), token("</tool>"), token("<|end|>", special=True),
                                              token("<end"), token("<|end|><tool>")]),
    "stripping tokens": (byte_level(regex=True), [token("<tool>", lstrip=True), token("</tool>", rstrip=True),
                                                  token("[X]", lstrip=True, rstrip=True)]),
    "normalized tokens come second": (byte_level(regex=True), [token("<tool>", normalized=True), token("ol></t"),
                                                               token("[X]", normalized=True, rstrip=True)]),
}


def text(rnd):
    return "".join(rnd.choice(PARTS) for _ in range(rnd.randrange(1, 28)))


def main(output):
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = byte_level(regex=True)
    base.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=380, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    model = json.loads(base.to_str())["model"]
    rnd, cases = random.Random(20), []
    for name, (pre_tokenizer, added) in CASES.items():
        tokenizer = Tokenizer.from_str(base.to_str())
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_tokens(added)
        parts = json.loads(tokenizer.to_str())
        texts = [text(rnd) for _ in range(16)]
        cases.append({"name": name, "added_tokens": parts["added_tokens"], "pre_tokenizer": parts["pre_tokenizer"],
                      "decoder": parts["decoder"], "texts": [[t, tokenizer.encode(t).ids] for t in texts]})
    with open(output, "w", encoding="utf-8") as f:
        f.write("{\"model\": " + json.dumps(model) + ",\n\"cases\": [\n")
        f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


main(sys.argv[1])
