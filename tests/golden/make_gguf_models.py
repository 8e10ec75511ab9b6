#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes two tiny models into tests/fuzz/corpus/gguf with llama.cpp's own package: llama.gguf (SentencePiece, Q8_0) and
qwen2.gguf (BPE, F32, biases). In every matrix of F32 the number at [row, column] is row + column / 64.

    pip install gguf numpy; tests/golden/make_gguf_models.py
"""
import pathlib

import numpy as np
from gguf import GGUFWriter, TokenType, quants
from gguf.constants import GGMLQuantizationType

OUT = pathlib.Path(__file__).parent.parent / "fuzz" / "corpus" / "gguf"
WIDTH, FFN, LAYERS, HEADS, KV = 32, 64, 2, 4, 2
HEAD = WIDTH // HEADS


def matrix(rows, columns):
    return (np.arange(rows)[:, None] + np.arange(columns)[None, :] / 64).astype(np.float32)


def common(w, vocab, eps):
    w.add_context_length(128)
    w.add_embedding_length(WIDTH)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV)
    w.add_layer_norm_rms_eps(eps)
    w.add_rope_freq_base(10000.0)
    w.add_vocab_size(vocab)


def tensors(w, vocab, quantized, biases):
    def add(name, x):
        if quantized and x.ndim == 2:
            kind = GGMLQuantizationType.Q8_0
            w.add_tensor(name, quants.quantize(x, kind), raw_dtype=kind)
        else:
            w.add_tensor(name, x)

    add("token_embd.weight", matrix(vocab, WIDTH))
    for i in range(LAYERS):
        b = f"blk.{i}."
        for name, rows, columns in (("attn_q", WIDTH, WIDTH), ("attn_k", KV * HEAD, WIDTH), ("attn_v", KV * HEAD, WIDTH),
                                    ("attn_output", WIDTH, WIDTH), ("ffn_gate", FFN, WIDTH), ("ffn_up", FFN, WIDTH),
                                    ("ffn_down", WIDTH, FFN)):
            add(b + name + ".weight", matrix(rows, columns))
        for name, rows in (("attn_q", WIDTH), ("attn_k", KV * HEAD), ("attn_v", KV * HEAD)):
            if biases:
                add(b + name + ".bias", np.arange(rows, dtype=np.float32))
        add(b + "attn_norm.weight", np.ones(WIDTH, np.float32))
        add(b + "ffn_norm.weight", np.ones(WIDTH, np.float32))
    add("output_norm.weight", np.ones(WIDTH, np.float32))


def close(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama():
    pieces = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    pieces += [(f"<0x{b:02X}>", TokenType.BYTE) for b in range(256)]
    pieces += [(p, TokenType.NORMAL) for p in ("\u2581a", "ab", "\u2581ab", "abc", "\u2581", "a", "b", "c")]
    pieces += [("<|call|>", TokenType.USER_DEFINED)]
    w = GGUFWriter(OUT / "llama.gguf", "llama")
    common(w, len(pieces), 1e-5)
    w.add_tokenizer_model("llama")
    w.add_token_list([p for p, _ in pieces])
    w.add_token_scores([0.0 if i < 259 else float(259 - i) for i in range(len(pieces))])
    w.add_token_types([t for _, t in pieces])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(True)
    tensors(w, len(pieces), True, False)
    close(w)


def byte_alphabet():
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    out, extra = {}, 0
    for b in range(256):
        out[b] = chr(b) if b in keep else chr(256 + extra)
        extra += b not in keep
    return out


def qwen2():
    alphabet = byte_alphabet()
    space = alphabet[32]
    tokens = [alphabet[b] for b in range(256)] + ["ab", space + "ab", "<|endoftext|>", "<|im_start|>", "[PAD260]"]
    types = [TokenType.NORMAL] * 258 + [TokenType.CONTROL, TokenType.CONTROL, TokenType.UNUSED]
    w = GGUFWriter(OUT / "qwen2.gguf", "qwen2")
    common(w, len(tokens), 1e-6)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(["a b", f"{space} ab"])
    w.add_eos_token_id(258)
    w.add_add_bos_token(False)
    w.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    tensors(w, len(tokens), False, True)
    close(w)


llama()
qwen2()
