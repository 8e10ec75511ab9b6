#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `troupe import FILE.gguf` against transformers, which reads the same file by itself.

    judge_import.py TROUPE FILE.gguf [STRINGS]       (needs torch, transformers and gguf; 1,000 strings)

Three judgements, each with the worst that was found:
  ids      of STRINGS random strings and their decoding: as a tokenizer has them that is built here from the metadata, as the
           authors of the model built theirs (transformers reads a GGUF file's `pre` as GPT-2's, whatever it says, and so
           makes other tokens of "  1"; pieces with scores are given to SentencePiece itself); and as transformers' tokenizer
           of the written folder has them
  logits   behind the last token, and the log probability of every token: within 1e-4
  greedy   200 tokens after each prompt: the same ids

transformers opens the folder that `import` wrote too, and must find the same weights in it, to the bit.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

import gguf
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = {
    "gpt2": [
        "The capital of France is",
        "def fibonacci(n):\n    ",
        "<|im_start|>user\nWhat is 12 * 31?<|im_end|>\n<|im_start|>assistant\n",
    ],
    "llama": [
        "The capital of France is",
        "def fibonacci(n):\n    ",
        "<start_of_turn>user\nWhat is 12 * 31?<end_of_turn>\n<start_of_turn>model\n",
        "A long text passes the window. " * 90,
    ],
}
LOGIT_BOUND = 1e-4
GREEDY_TOKENS = 200
CALL = 100  # strings in one call of troupe

# What tokenizers stumble over: runs of spaces, digits, case, scripts, joined emoji, signs, and pieces of special tokens.
PIECES = (
    " ", "  ", "\n", "\n\n", "\t", "\r\n", "the", "The", " quick", "isn't", "WE'LL", "1", "12", "1234567", "3.14", "-5",
    "()", "{};", "==", "!=", "...", "http://a.b/c?d=e", "naïve", "Straße", "Ωmega", "привет", "数学", "日本語", "한국어", "עברית",
    "مرحبا", "नमस्ते", "👍", "👩\u200d👩\u200d👧", "e\u0301", "\u00a0", "\u200b", "<python>", "</python><", "<|im_", "<|im_end|>", "|>",
    "   ", "\t\t", " " * 40, "\u2581\u2581", "\x01", "<table>", "<h1>",
)


def run(troupe, *arguments):
    return json.loads(subprocess.run([troupe, *arguments], check=True, capture_output=True, text=True).stdout)


def strings(count):
    draw = random.Random(13)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 24))) for _ in range(count)]


def contents(fields, key, fallback=None):
    return fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else fallback


def byte_level(fields):
    """SmolLM's tokenizer: each digit alone, then GPT-2's byte-level BPE."""
    assert contents(fields, "pre") == "smollm", "only SmolLM's tokenizer is known here"
    tokens, types = contents(fields, "tokens"), contents(fields, "token_type")
    merges = [tuple(merge.split(" ")) for merge in contents(fields, "merges")]

    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return (
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
    )


def sentence_piece(fields):
    """The pieces as a .model of SentencePiece's own. llama.cpp keeps a user's tokens with the spaces of a text."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as protobuf

    model = protobuf.ModelProto()
    pieces = zip(contents(fields, "tokens"), contents(fields, "scores"), contents(fields, "token_type"))
    for text, score, kind in pieces:
        user = kind == gguf.TokenType.USER_DEFINED
        model.pieces.add(piece=text.replace(" ", "\u2581") if user else text, score=score, type=kind)
    model.trainer_spec.model_type = protobuf.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(model.pieces)
    for name, key in (("unk", "unknown"), ("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        setattr(model.trainer_spec, name + "_id", contents(fields, key + "_token_id", -1))
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = contents(fields, "add_space_prefix", True)
    model.normalizer_spec.remove_extra_whitespaces = False
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    return processor.encode, processor.decode


def built_from_metadata(file):
    """(encode, decode), made of nothing but what the file says."""
    fields = gguf.GGUFReader(file).fields
    return byte_level(fields) if contents(fields, "model") == "gpt2" else sentence_piece(fields)


def separator(file):
    """(id, text) of a token that stands in no string: between strings it parts them, and a call takes many at once."""
    fields = gguf.GGUFReader(file).fields
    return next(
        (i, token)
        for i, (token, kind) in enumerate(zip(contents(fields, "tokens"), contents(fields, "token_type")))
        if kind == gguf.TokenType.CONTROL and not any(token in piece for piece in PIECES)
    )


def parts_of(ids, between):
    """The runs of ids between the separators."""
    parts = [[]]
    for i in ids:
        if i == between:
            parts.append([])
        else:
            parts[-1].append(i)
    return parts


def judge_ids(troupe, folder, file, count):
    """The number of strings whose ids, or the text of these ids, differ."""
    (encode, decode), reopened = built_from_metadata(file), AutoTokenizer.from_pretrained(folder)
    between, mark = separator(file)
    wrong = 0
    texts = strings(count)
    for batch in (texts[i : i + CALL] for i in range(0, count, CALL)):
        all_ids = run(troupe, "tokenize", "--model", folder, "--json", "--", mark.join(batch))["ids"]
        all_text = run(troupe, "tokenize", "--model", folder, "--json", "--decode", " ".join(map(str, all_ids)))["text"]
        for text, ours, back in zip(batch, parts_of(all_ids, between), all_text.split(mark), strict=True):
            expected = encode(text)
            opened = reopened.encode(text, add_special_tokens=False)
            if ours != expected or ours != opened or back != decode(expected):
                wrong += 1
                print(f"{text!r}: troupe {ours} ({back!r}), reference {expected}, transformers {opened}")
    return wrong


def judge_prompt(troupe, folder, model, tokenizer, prompt):
    """(worst error of a logit or log probability, greedy tokens that agree from the first on)."""
    ids = tokenizer.encode(prompt)
    probe = run(troupe, "probe", "--model", folder, "--ids", ",".join(map(str, ids)), "--greedy", str(GREEDY_TOKENS), "--json")
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float()
        greedy = list(ids)
        past = None
        for _ in range(GREEDY_TOKENS):
            step = model(torch.tensor([greedy if past is None else greedy[-1:]]), past_key_values=past, use_cache=True)
            past = step.past_key_values
            greedy.append(int(step.logits[0, -1].argmax()))

    logprobs = torch.log_softmax(logits, -1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    worst = max(
        (torch.tensor(probe["last_logits"]) - logits[-1]).abs().max().item(),
        (torch.tensor(probe["token_logprobs"]) - logprobs).abs().max().item(),
    )
    same = 0
    while same < GREEDY_TOKENS and probe["greedy_ids"][same] == greedy[len(ids) + same]:
        same += 1
    return worst, same


def same_weights(model, folder):
    """Whether transformers finds in the imported folder what it found in the file."""
    imported = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    original = model.state_dict()
    if imported.keys() != original.keys():
        print("weights of other names:", sorted(imported.keys() ^ original.keys())[:8])
        return False

    different = [name for name in original if not torch.equal(original[name], imported[name])]
    for name in different[:8]:
        print(f"weights that differ: {name}")
    return not different


def main():
    troupe, file = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    from_file = {"pretrained_model_name_or_path": os.path.dirname(file), "gguf_file": os.path.basename(file)}
    model = AutoModelForCausalLM.from_pretrained(**from_file, dtype=torch.float32).eval()

    with tempfile.TemporaryDirectory() as work:
        folder = os.path.join(work, "model")
        subprocess.run([troupe, "import", file, folder], check=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        good = same_weights(model, folder)
        print("weights: the same, to the bit" if good else "weights: DIFFERENT")

        wrong = judge_ids(troupe, folder, file, count)
        print(f"ids: {wrong} of {count} strings differ")
        good = good and wrong == 0

        for prompt in PROMPTS[contents(gguf.GGUFReader(file).fields, "model")]:
            worst, same = judge_prompt(troupe, folder, model, tokenizer, prompt)
            print(f"logits: worst error {worst:.1e}; greedy: {same} of {GREEDY_TOKENS} tokens the same  ({prompt[:24]!r})")
            good = good and worst <= LOGIT_BOUND and same == GREEDY_TOKENS
    sys.exit(0 if good else 1)


main()
