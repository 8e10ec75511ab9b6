# SPDX-License-Identifier: MIT
"""Writes families/qwen2/lora/: a PEFT adapter for that folder's model, and what transformers and peft compute with it.

    python3 make_lora.py OUTPUT-FOLDER      (made with peft 0.21, transformers 5.23, torch 2.15, on a CPU)

adapter_config.json and adapter_model.safetensors as peft saves them; golden.json: the logits behind a case's ids, and
gradients.safetensors: of the sum of its token_logprobs by every A and B. All of it computed in float64.
"""
import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def main(output):
    base = os.path.join(output, "families", "qwen2")
    folder = os.path.join(base, "lora")
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
    model = get_peft_model(model, LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"],
                                             task_type="CAUSAL_LM", lora_dropout=0.0))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.copy_(0.3 * torch.randn_like(p))
    model.save_pretrained(folder)
    model = model.double()
    with open(os.path.join(base, "golden.json"), encoding="utf-8") as f:
        ids = json.load(f)["cases"][0]["ids"]
    logits = model(torch.tensor([ids])).logits[0]
    targets = torch.tensor(ids[1:], dtype=torch.long)
    torch.log_softmax(logits[:-1], -1).gather(1, targets[:, None]).sum().backward()
    gradients = {n.replace(".default", ""): p.grad.float().contiguous() for n, p in model.named_parameters() if p.requires_grad}
    save_file(gradients, os.path.join(folder, "gradients.safetensors"))
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as f:
        json.dump({"ids": ids, "last_logits": [round(float(x), 9) for x in logits[-1].detach()]}, f)
    readme = os.path.join(folder, "README.md")
    if os.path.exists(readme):
        os.remove(readme)
    config = os.path.join(folder, "adapter_config.json")
    with open(config, encoding="utf-8") as f:
        text = json.load(f)
    text["base_model_name_or_path"] = "qwen2"
    with open(config, "w", encoding="utf-8") as f:
        json.dump(text, f, indent=1, sort_keys=True)


main(sys.argv[1])
