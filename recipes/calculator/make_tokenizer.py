# SPDX-License-Identifier: MIT
"""Makes models/stagehand/tokenizer.json: a byte-level BPE in which every word of the pre-training documents is one token.

Needs lua5.4 and the PyPI package `tokenizers`; the file is committed, so there is no need to run this.
"""
import json
import pathlib
import subprocess

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
LUA = """
local g = dofile(arg[1] .. "/pretrain.lua")
local seed = 1
local function rng(n) seed = (seed * 48271) % 2147483647; return 1 + seed % n end
for _, word in ipairs(g.words) do io.write(("<" .. word .. ">\\n"):rep(20)) end
for i = 1, 3000 do io.write("\0", g.document(rng, 0.5)) end
"""

# Signs and digits stand alone, so the ids of a text don't depend on what it is glued to.
SPLIT = r"</|\p{N}| ?\p{L}+|\s+|[^\s\p{L}\p{N}]"

text = subprocess.run(["lua5.4", "-", str(HERE)], input=LUA, capture_output=True, text=True, check=True).stdout
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Split(Regex(SPLIT), "isolated"),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
])
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train_from_iterator(
    text.split('\0'),
    trainers.BpeTrainer(vocab_size=4096, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
out = HERE / "../../models/stagehand"
saved = json.loads(tokenizer.to_str())
saved["model"]["merges"] = [" ".join(merge) for merge in saved["model"]["merges"]]  # as every release of tokenizers reads them
(out / "tokenizer.json").write_text(json.dumps(saved, indent=2, ensure_ascii=False) + "\n")
config = json.loads((out / "config.json").read_text())
config["vocab_size"] = tokenizer.get_vocab_size()
(out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
print(tokenizer.get_vocab_size(), "tokens")
