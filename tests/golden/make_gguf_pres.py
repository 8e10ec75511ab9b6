# SPDX-License-Identifier: MIT
"""Writes gguf/pres/: one tiny GGUF model with a byte-level BPE, and what the `tokenizers` library makes of random texts
behind the pre-tokenizer of each name that tokenizer.ggml.pre may have (golden.json).

    python3 make_gguf_pres.py OUTPUT-FOLDER      (made with tokenizers 0.23, gguf 0.19)

The expressions are those of the models' own tokenizer.json. The file says gpt-2; its description is there to be cut by
what another name is longer, so that nothing behind it moves.
"""
import json
import os
import random
import sys

import gguf
import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CASELESS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
FIRST = r"[^\r\n\p{L}\p{N}]?"


def gpt4(digits):
    return CASELESS + "|" + FIRST + r"\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL


def cased(digits, suffix):
    return (FIRST + UPPER + "*" + LOWER + "+" + suffix + "|" + FIRST + UPPER + "+" + LOWER + "*" + suffix + "|" + digits
            + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + TAIL)


THREE = gpt4(r"\p{N}{1,3}")
# name: (expression; "digits" and None are GPT-2's own with and without single digits, NFC, ignore_merges)
PRES = {
    "gpt-2": (None, False, False), "smollm": ("digits", False, False), "refact": ("digits", False, False),
    "starcoder": ("digits", False, False), "qwen2": (gpt4(r"\p{N}"), True, False),
    "deepseek-r1-qwen": (gpt4(r"\p{N}"), False, False), "llama-bpe": (THREE, False, True),
    "llama3": (THREE, False, True), "llama-v3": (THREE, False, True), "smaug-bpe": (THREE, False, False),
    "dbrx": (THREE, False, False), "glm4": (THREE, False, False),
    "gpt-4o": (cased(r"\p{N}{1,3}", CASELESS + "?"), False, False), "tekken": (cased(r"\p{N}", ""), False, True),
    "seed-coder": (CASELESS + "|" + FIRST + r"\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}" + "\r\n" + r"]+|\s*" + "[\r\n]+"
                   + r"|\s+(?!\S)|\s+", False, False),
}
CORPUS = ["the cat isn't here, and we'll see 12345 of them   at once\n\n  return f(x) + 10;\n// a/b\r\n" * 3,
          "HTTPServer getElementById Größe naïve 你好世界 привет 123 99 100 hello Hello HELLO's\t\ttabs" * 3]
PARTS = list("abcdefghelothEHLO  \n\t'.,;:+-*/=()<>{}") + [
    "the", " the", "'s", "'LL", "1", "23", "4567", "²", "½", "٣", "é", "e\u0301", "ß", "Я", "привет", "你好", "한", "🦙", "  ",
    "   ", "\r\n", "\n\n", "\u00a0", "\u3000", "HTTPServer", "getElement", "Ǆ", "ǅ", "ʰ", "//\n", "--", "hello", "\x7f"]


def byte_level(regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)


def pre_tokenizer(expression):
    if expression is None:
        return byte_level(True)
    if expression == "digits":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level(True)])
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), "isolated"), byte_level(False)])


def trained():
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = byte_level(True)
    base.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=380, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return json.loads(base.to_str())


def write_model(path, model):
    tokens = sorted(model["vocab"], key=model["vocab"].get) + ["12345"]  # one that no merge makes
    w = gguf.GGUFWriter(path, "llama")
    w.add_description("x" * 40)
    w.add_tokenizer_pre("gpt-2")
    for add, value in ((w.add_context_length, 64), (w.add_embedding_length, 8), (w.add_block_count, 1),
                       (w.add_feed_forward_length, 8), (w.add_head_count, 2), (w.add_head_count_kv, 2),
                       (w.add_layer_norm_rms_eps, 1e-5), (w.add_vocab_size, len(tokens))):
        add(value)
    w.add_tokenizer_model("gpt2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    w.add_eos_token_id(0)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        w.add_tensor(f"blk.0.{name}.weight", np.zeros((8, 8), np.float16))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        w.add_tensor(name + ".weight", np.ones(8, np.float32))
    w.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def text(rnd):
    return "".join(rnd.choice(PARTS) for _ in range(rnd.randrange(1, 24)))


def main(output):
    folder = os.path.join(output, "gguf", "pres")
    os.makedirs(folder, exist_ok=True)
    base = trained()
    write_model(os.path.join(folder, "model.gguf"), base["model"])
    base["model"]["vocab"]["12345"] = len(base["model"]["vocab"])
    rnd, cases = random.Random(7), []
    for name, (expression, nfc, ignore) in PRES.items():
        base["model"]["ignore_merges"] = ignore
        t = Tokenizer.from_str(json.dumps(base))
        t.pre_tokenizer, t.decoder = pre_tokenizer(expression), decoders.ByteLevel()
        if nfc:
            t.normalizer = normalizers.NFC()
        texts = ["12345"] + [text(rnd) for _ in range(20)]
        cases.append({"pre": name, "texts": [[x, t.encode(x).ids] for x in texts]})
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as f:
        f.write("{\"cases\": [\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


main(sys.argv[1])
