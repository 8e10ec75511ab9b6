# SPDX-License-Identifier: MIT
"""Writes llama_tied/ and llama_untied/: tiny random Llamas as `transformers` saves them, and what it computes with them.

    python3 make_llama.py OUTPUT-FOLDER      (made with transformers 4.36.2, tokenizers 0.15.2, torch 1.13, on a CPU)

golden.json: for each case the ids, token_logprobs (of ids[1:], each given what is before it), the logits of the last
position, and 16 ids chosen greedily. Greedy choices are only kept where the best logit leads by more than 1e-3:
rounding does not decide them.
"""
import json
import os
import shutil
import sys

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCAB, WIDTH, GREEDY, MARGIN = 320, 64, 16, 1e-3
TEXTS = [
    "The stage is set: two actors, one reward, and 1234 lines to learn.",
    "Calls a tool, reads what it prints, and answers: 17 * 23 = 391. Für Größe, naïve café, 你好!",
    "if (x) { return f(x) + 10; }\n\n    for i in range(3):\n        print(i)\n",
]


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<|begin|>", "<|end|>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>")


def make_model(seed, **options):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, initializer_range=0.12, **options)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def case(model, tokenizer, text, ids):
    logits = model(torch.tensor([ids])).logits[0]
    logprobs = torch.log_softmax(logits[:-1].double(), -1)
    targets = torch.tensor(ids[1:], dtype=torch.long)
    sequence = list(ids)
    for _ in range(GREEDY):
        last = model(torch.tensor([sequence])).logits[0, -1]
        best = torch.topk(last, 2).values
        assert best[0] - best[1] > MARGIN, "a greedy choice is too close: take another seed"
        sequence.append(int(last.argmax()))
    return {
        "text": text,
        "ids": list(ids),
        "token_logprobs": [round(float(x), 8) for x in logprobs.gather(1, targets[:, None])[:, 0]],
        "last_logits": [round(float(x), 7) for x in logits[-1]],
        "greedy_ids": sequence[len(ids):],
    }


def write(folder, seed, stored, shard, **options):
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = make_tokenizer()
    model = make_model(seed, **options).to(stored)
    model.save_pretrained(folder, safe_serialization=True, max_shard_size=shard)
    tokenizer.backend_tokenizer.save(os.path.join(folder, "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    cases = [case(model, tokenizer, text, tokenizer.encode(text)) for text in TEXTS]
    cases.append(case(model, tokenizer, None, [7]))
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as f:
        f.write("{\"cases\": [\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


def main(output):
    write(os.path.join(output, "llama_tied"), 3, torch.float32, "10GB", tie_word_embeddings=True, eos_token_id=1)
    write(os.path.join(output, "llama_untied"), 5, torch.bfloat16, "80KB", tie_word_embeddings=False,
          eos_token_id=[1, 319], rope_theta=500000.0, rms_norm_eps=1e-5)


main(sys.argv[1])
