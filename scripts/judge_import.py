#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `troupe import FILE.gguf` against transformers, which reads the same file by itself.

    judge_import.py TROUPE FILE.gguf [STRINGS]       (needs torch, transformers and gguf; 1,000 strings)

Three judgements, each with the worst that was found:
  ids      of STRINGS random strings and their decoding: as a tokenizer has them that is built here from the metadata, as the
           authors of the model built theirs (transformers reads a GGUF file's `pre` as GPT-2's, whatever it says, and so
           makes other tokens of "  1"); and as transformers' tokenizer of the written folder has them
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

PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "<|im_start|>user\nWhat is 12 * 31?<|im_end|>\n<|im_start|>assistant\n",
]
LOGIT_BOUND = 1e-4
GREEDY_TOKENS = 200

# What tokenizers stumble over: runs of spaces, digits, case, scripts, joined emoji, signs, and pieces of special tokens.
PIECES = (
    " ", "  ", "\n", "\n\n", "\t", "\r\n", "the", "The", " quick", "isn't", "WE'LL", "1", "12", "1234567", "3.14", "-5",
    "()", "{};", "==", "!=", "...", "http://a.b/c?d=e", "naïve", "Straße", "Ωmega", "привет", "数学", "日本語", "한국어", "עברית",
    "مرحبا", "नमस्ते", "👍", "👩\u200d👩\u200d👧", "e\u0301", "\u00a0", "\u200b", "<python>", "</python><", "<|im_", "<|im_end|>", "|>",
)


def run(troupe, *arguments):
    return json.loads(subprocess.run([troupe, *arguments], check=True, capture_output=True, text=True).stdout)


def strings(count):
    draw = random.Random(13)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 24))) for _ in range(count)]


def built_from_metadata(file):
    """SmolLM's tokenizer: each digit alone, then GPT-2's byte-level BPE."""
    fields = gguf.GGUFReader(file).fields
    assert fields["tokenizer.ggml.pre"].contents() == "smollm", "only SmolLM's tokenizer is known here"
    tokens, types = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]

    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return tokenizer


def judge_ids(troupe, folder, file, count):
    """The number of strings whose ids, or the text of these ids, differ."""
    reference, reopened = built_from_metadata(file), AutoTokenizer.from_pretrained(folder)
    wrong = 0
    for text in strings(count):
        ours = run(troupe, "tokenize", "--model", folder, "--json", "--", text)["ids"]
        back = run(troupe, "tokenize", "--model", folder, "--json", "--decode", " ".join(map(str, ours)))["text"]
        expected = reference.encode(text, add_special_tokens=False).ids
        opened = reopened.encode(text, add_special_tokens=False)
        if ours != expected or ours != opened or back != reference.decode(expected, skip_special_tokens=False):
            wrong += 1
            print(f"{text!r}: troupe {ours} ({back!r}), reference {expected}, transformers {opened}")
    return wrong


def judge_prompt(troupe, folder, model, tokenizer, prompt):
    """(worst error of a logit or log probability, greedy tokens that agree from the first on)."""
    ids = tokenizer.encode(prompt, add_special_tokens=False)
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
    tokenizer = AutoTokenizer.from_pretrained(**from_file)
    model = AutoModelForCausalLM.from_pretrained(**from_file, dtype=torch.float32).eval()

    with tempfile.TemporaryDirectory() as work:
        folder = os.path.join(work, "model")
        subprocess.run([troupe, "import", file, folder], check=True)
        good = same_weights(model, folder)
        print("weights: the same, to the bit" if good else "weights: DIFFERENT")

        wrong = judge_ids(troupe, folder, file, count)
        print(f"ids: {wrong} of {count} strings differ")
        good = good and wrong == 0

        for prompt in PROMPTS:
            worst, same = judge_prompt(troupe, folder, model, tokenizer, prompt)
            print(f"logits: worst error {worst:.1e}; greedy: {same} of {GREEDY_TOKENS} tokens the same  ({prompt[:24]!r})")
            good = good and worst <= LOGIT_BOUND and same == GREEDY_TOKENS
    sys.exit(0 if good else 1)


main()
