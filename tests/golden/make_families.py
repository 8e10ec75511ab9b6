# SPDX-License-Identifier: MIT
"""Writes families/NAME/: tiny random models of each family as `transformers` saves them, and what it computes with them.

    python3 make_families.py OUTPUT-FOLDER [NAME ...]      (made with transformers 5.23 and 5.24, torch 2.15, on a CPU)

golden.json: for each case the ids, token_logprobs (of ids[1:], each given what is before it), the logits of the last
position, and 16 ids chosen greedily (where the best logit leads by more than 1e-3: rounding does not decide them).
gradients.safetensors: of the sum of the first case's token_logprobs by every parameter. All of it computed in float64.
"""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB, GREEDY, MARGIN = 64, 16, 1e-3
SHAPE = dict(vocab_size=VOCAB, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2, bos_token_id=0, eos_token_id=1,
             pad_token_id=None)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)

YARN = dict(rope_type="yarn", rope_theta=5e5, factor=8.0, original_max_position_embeddings=64, beta_fast=8.0,
            beta_slow=1.0)


def rope(theta=10000.0):
    return dict(rope_type="default", rope_theta=theta)


FAMILIES = {
    "llama3": ("llama", torch.bfloat16, "8KB", dict(rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "llama_bias": ("llama", torch.float32, "1GB", dict(attention_bias=True, rope_parameters=dict(
        rope_type="linear", rope_theta=10000.0, factor=4.0), tie_word_embeddings=False)),
    "qwen2": ("qwen2", torch.float32, "1GB", dict(rope_parameters=rope(1e6), tie_word_embeddings=True)),
    "qwen2_window": ("qwen2", torch.bfloat16, "1GB", dict(
        rope_parameters=rope(), use_sliding_window=True, sliding_window=6, max_window_layers=1, num_hidden_layers=3,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"])),
    "qwen3": ("qwen3", torch.bfloat16, "1GB", dict(rope_parameters=rope(1e6), head_dim=10, tie_word_embeddings=True)),
    "smollm3": ("smollm3", torch.float32, "1GB", dict(
        num_hidden_layers=4, no_rope_layers=[1, 0, 1, 0], rope_parameters=rope(2e6), tie_word_embeddings=True,
        use_sliding_window=True, sliding_window=9)),
    "seed_oss": ("seed_oss", torch.float32, "1GB", dict(
        attention_bias=True, attention_out_bias=False, mlp_bias=True, head_dim=6, rope_parameters=rope(),
        attention_dropout=0.0, residual_dropout=0.0)),
    "olmo2": ("olmo2", torch.float32, "1GB", dict(rope_parameters=rope(5e5), tie_word_embeddings=False)),
    "olmo3": ("olmo3", torch.bfloat16, "1GB", dict(
        num_hidden_layers=3, sliding_window=5, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"full_attention": YARN, "sliding_attention": rope(5e5)})),
    "granite": ("granite", torch.float32, "1GB", dict(
        embedding_multiplier=3.0, attention_multiplier=0.3, residual_multiplier=0.4, logits_scaling=2.5,
        mlp_bias=True, rope_parameters=rope(), tie_word_embeddings=True)),
    "ministral": ("ministral", torch.bfloat16, "1GB", dict(
        num_hidden_layers=3, rope_parameters=rope(1e5), sliding_window=8, head_dim=6,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"])),
    "ministral3": ("ministral3", torch.bfloat16, "1GB", dict(head_dim=10, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=128, beta_fast=4.0,
        beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1))),
    "phi3": ("phi3", torch.float32, "1GB", dict(rope_parameters=rope(), sliding_window=7, tie_word_embeddings=False)),
    "phi4_mini": ("phi3", torch.bfloat16, "1GB", dict(
        tie_word_embeddings=True, hidden_size=32, partial_rotary_factor=0.75, original_max_position_embeddings=128,
        rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
                             original_max_position_embeddings=128, short_factor=[1.0, 1.2, 3.0],
                             long_factor=[2.0, 4.0, 9.0]))),
    "glm": ("glm", torch.float32, "1GB", dict(
        head_dim=8, attention_bias=True, partial_rotary_factor=0.5,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5))),
    "glm4": ("glm4", torch.bfloat16, "1GB", dict(
        head_dim=8, attention_bias=True, partial_rotary_factor=0.5,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5))),
    "gemma2": ("gemma2", torch.bfloat16, "1GB", dict(
        num_hidden_layers=3, head_dim=10, sliding_window=9, query_pre_attn_scalar=7, tie_word_embeddings=True,
        attn_logit_softcapping=2.0, final_logit_softcapping=3.0, rope_parameters=rope())),
    "gemma3": ("gemma3_text", torch.float32, "1GB", dict(
        num_hidden_layers=3, head_dim=10, sliding_window=9, query_pre_attn_scalar=7, tie_word_embeddings=True,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"full_attention": dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                         "sliding_attention": rope()})),
    "qwen3_moe": ("qwen3_moe", torch.bfloat16, "20KB", dict(
        num_hidden_layers=3, mlp_only_layers=[1], num_experts=6, num_experts_per_tok=3, moe_intermediate_size=10,
        norm_topk_prob=True, head_dim=10, rope_parameters=rope(1e6), tie_word_embeddings=True)),
    "qwen3_moe_sparse": ("qwen3_moe", torch.float32, "1GB", dict(
        num_hidden_layers=2, decoder_sparse_step=2, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12,
        norm_topk_prob=False, head_dim=6, rope_parameters=rope(), tie_word_embeddings=False)),
    "mixtral": ("mixtral", torch.float32, "1GB", dict(
        intermediate_size=14, num_local_experts=4, num_experts_per_tok=2, sliding_window=9, rope_parameters=rope(),
        tie_word_embeddings=False)),
    "mistral": ("mistral", torch.float32, "1GB", dict(rope_parameters=rope(), sliding_window=7, head_dim=6)),
}


FUSED = ("qwen3_moe", "mixtral")  # written a second time, as NAME_fused


def make_model(kind, seed, options):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **{**SHAPE, **options})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_((0 if "gemma" in kind else 1) + 0.3 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


def logprobs_of(model, ids):
    logits = model(torch.tensor([ids])).logits[0]
    targets = torch.tensor(ids[1:], dtype=torch.long)
    return logits, torch.log_softmax(logits[:-1], -1).gather(1, targets[:, None])[:, 0]


def router_logits(model, ids):
    """[tokens, experts] of each layer that has experts."""
    if not hasattr(model.config, "num_experts_per_tok"):
        return []
    return [z for z in model(torch.tensor([ids]), output_router_logits=True).router_logits if z is not None]


def routes_are_clear(model, ids):
    """No choice between experts is left to rounding."""
    k = getattr(model.config, "num_experts_per_tok", 0)
    best = [torch.topk(z, k + 1).values for z in router_logits(model, ids)]
    return all(bool((b[:, k - 1] - b[:, k] > MARGIN / 10).all()) for b in best)


def aux_loss(model, ids):
    """The load balancing loss over all layers, which transformers adds to its loss when asked to."""
    return round(float(model(torch.tensor([ids]), output_router_logits=True).aux_loss), 9)


def by_expert(model, name, gradient):
    """The checkpoint's names: transformers holds the experts of a layer in one tensor, and saves them one by one."""
    mixtral = model.config.model_type == "mixtral"
    layer, _, what = name.partition(".mlp.experts.")
    if mixtral:
        name, layer = name.replace(".mlp.gate.", ".block_sparse_moe.gate."), layer + ".block_sparse_moe"
    else:
        layer += ".mlp"
    if not what:
        return {name: gradient}
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    out = {}
    for e, g in enumerate(gradient):
        parts = {down: g} if what == "down_proj" else dict(zip((gate, up), g.chunk(2)))
        out.update({f"{layer}.experts.{e}.{part}.weight": x.contiguous() for part, x in parts.items()})
    return out


@torch.no_grad()
def case(model, ids):
    logits, logprobs = logprobs_of(model, ids)
    sequence = list(ids)
    for _ in range(GREEDY):
        last = model(torch.tensor([sequence])).logits[0, -1]
        best = torch.topk(last, 2).values
        if best[0] - best[1] <= MARGIN:
            return None
        sequence.append(int(last.argmax()))
    if not routes_are_clear(model, sequence):
        return None
    routed = {"aux_loss": aux_loss(model, ids)} if router_logits(model, ids) else {}
    return {
        "ids": list(ids),
        "token_logprobs": [round(float(x), 9) for x in logprobs],
        "last_logits": [round(float(x), 9) for x in logits[-1]],
        "greedy_ids": sequence[len(ids):],
        **routed,
    }


def write(folder, kind, stored, shard, options, seed):
    shutil.rmtree(folder, ignore_errors=True)
    make_model(kind, seed, options).to(stored).save_pretrained(folder, max_shard_size=shard)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager",
                                                 experts_implementation="eager").eval()
    lengths = torch.Generator().manual_seed(seed)
    texts = [torch.randint(2, VOCAB, (n,), generator=lengths).tolist() for n in (41, 17, 100, 1)]
    cases = []
    for ids in texts:
        cases.append(case(model, ids))
        if cases[-1] is None:
            return False
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as f:
        f.write("{\"cases\": [\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
    model.zero_grad()
    logprobs_of(model, texts[0])[1].sum().backward()
    gradients = {}
    for name, p in model.named_parameters():
        gradients.update(by_expert(model, name, p.grad.float().contiguous()))
    if any(not g.any() for g in gradients.values()):
        return False  # an expert that no token chose
    save_file(gradients, os.path.join(folder, "gradients.safetensors"))
    for name in ("generation_config.json",):
        if os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))
    return True


def write_fused(folder, kind, options, seed, stored, shard):
    """The same weights as a program saves them that keeps transformers' own tensors: a layer's experts in two."""
    shutil.rmtree(folder, ignore_errors=True)
    model = make_model(kind, seed, options).to(stored)
    model.save_pretrained(folder, max_shard_size=shard, save_original_format=False)
    os.remove(os.path.join(folder, "generation_config.json"))


def main(output, *wanted):
    for name, (kind, stored, shard, options) in FAMILIES.items():
        if wanted and name not in wanted:
            continue
        seed = next(s for s in range(1, 100) if write(os.path.join(output, "families", name), kind, stored, shard, options, s))
        print(name, "seed", seed)
        if name in FUSED:
            write_fused(os.path.join(output, "families", name + "_fused"), kind, options, seed, stored, shard)


if __name__ == "__main__":
    main(*sys.argv[1:])
