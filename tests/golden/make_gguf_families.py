# SPDX-License-Identifier: MIT
"""Writes gguf/NAME/: tiny random models of each family as llama.cpp's own converter writes them, and what `transformers`
computes with them (golden.json as in make_families.py).

    python3 make_gguf_families.py OUTPUT-FOLDER [NAME ...]     (needs torch, transformers and gguf)

Names of tensors come from llama.cpp's own package. What its converter changes is done here: q and k of a family whose
rotation of neighbours llama.cpp keeps, and Gemma's norms, which are written as 1 + w. A family's options are only such as
llama.cpp can say. With TROUPE_GGUF_BARE=1 files have no tokenizer: for llama.cpp itself, which wants a whole one.
"""
import json
import os
import shutil
import sys

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM

from make_families import VOCAB, case, make_model, rope

SHAPE = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2)
YARN = dict(rope_type="yarn", rope_theta=5e5, factor=8.0, original_max_position_embeddings=64, beta_fast=8.0, beta_slow=1.0)
Q8 = gguf.GGMLQuantizationType.Q8_0
ROUTED = ("qwen3_moe", "mixtral")
NEIGHBOURS = ("llama", "mixtral", "ministral3", "smollm3", "granite")

# name: (llama.cpp's architecture, transformers' model_type, options)
FAMILIES = {
    "qwen3": ("qwen3", "qwen3", dict(rope_parameters=rope(1e6), head_dim=6, tie_word_embeddings=True)),
    "ministral3": ("mistral3", "ministral3", dict(head_dim=6, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=128, beta_fast=4.0,
        beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.1))),
    "smollm3": ("smollm3", "smollm3", dict(num_hidden_layers=4, rope_parameters=rope(2e6), tie_word_embeddings=True,
                                           no_rope_layers=[1, 1, 1, 0])),
    "seed_oss": ("seed_oss", "seed_oss", dict(
        attention_bias=True, attention_out_bias=False, head_dim=6, rope_parameters=rope(), attention_dropout=0.0,
        residual_dropout=0.0, tie_word_embeddings=False)),
    "olmo2": ("olmo2", "olmo2", dict(rope_parameters=rope(5e5), tie_word_embeddings=False)),
    "olmo3": ("olmo2", "olmo3", dict(
        num_hidden_layers=3, sliding_window=5, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"full_attention": YARN, "sliding_attention": rope(5e5)}, tie_word_embeddings=False)),
    "granite": ("granite", "granite", dict(
        embedding_multiplier=3.0, attention_multiplier=0.3, residual_multiplier=0.4, logits_scaling=2.5,
        rope_parameters=rope(), tie_word_embeddings=True)),
    "phi3": ("phi3", "phi3", dict(rope_parameters=rope(), sliding_window=7, tie_word_embeddings=False)),
    "phi4_mini": ("phi3", "phi3", dict(
        tie_word_embeddings=True, hidden_size=32, partial_rotary_factor=0.75, original_max_position_embeddings=128,
        sliding_window=None, rope_parameters=dict(
            rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75, original_max_position_embeddings=128,
            short_factor=[1.0, 1.2, 3.0], long_factor=[2.0, 4.0, 9.0]))),
    "glm": ("chatglm", "glm", dict(
        head_dim=8, attention_bias=True, partial_rotary_factor=0.5, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5))),
    "glm4": ("glm4", "glm4", dict(
        head_dim=8, attention_bias=True, partial_rotary_factor=0.5, tie_word_embeddings=False,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5))),
    "gemma2": ("gemma2", "gemma2", dict(
        num_hidden_layers=3, head_dim=6, sliding_window=9, query_pre_attn_scalar=6, tie_word_embeddings=True,
        attn_logit_softcapping=2.0, final_logit_softcapping=3.0, rope_parameters=rope())),
    "qwen3_moe": ("qwen3moe", "qwen3_moe", dict(
        hidden_size=32, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True, head_dim=6,
        rope_parameters=rope(1e6), tie_word_embeddings=True)),
    "mixtral": ("llama", "mixtral", dict(
        intermediate_size=32, num_local_experts=4, num_experts_per_tok=2, rope_parameters=rope(),
        tie_word_embeddings=False)),
    "gemma3": ("gemma3", "gemma3_text", dict(
        num_hidden_layers=7, head_dim=6, sliding_window=9, query_pre_attn_scalar=6, tie_word_embeddings=True,
        layer_types=[("sliding" if (i + 1) % 6 else "full") + "_attention" for i in range(7)],
        rope_parameters={"full_attention": dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                         "sliding_attention": rope()})),
}


def rope_of(config):
    parameters = config.rope_parameters
    return parameters.get("full_attention", parameters)


def write_rope(w, config):
    parameters = rope_of(config)
    kind = parameters["rope_type"]
    w.add_rope_freq_base(parameters["rope_theta"])
    if kind == "linear":
        w.add_rope_scaling_factor(parameters["factor"])  # without its type, as llama.cpp's way is where none is said
    if kind == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(parameters["factor"])
        w.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
        w.add_rope_scaling_yarn_beta_fast(parameters["beta_fast"])
        w.add_rope_scaling_yarn_beta_slow(parameters["beta_slow"])
    if "llama_4_scaling_beta" in parameters:
        w.add_rope_scaling_yarn_log_mul(parameters["mscale_all_dim"])
        w.add_attn_temperature_scale(parameters["llama_4_scaling_beta"])
    if kind == "longrope":
        original = parameters["original_max_position_embeddings"]
        factor = config.max_position_embeddings / original
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(factor) / np.log(original))))
        for name, key in (("rope_factors_short", "short_factor"), ("rope_factors_long", "long_factor")):
            w.add_tensor(name + ".weight", np.array(parameters[key], dtype=np.float32))


def write_keys(w, config):
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_vocab_size(config.vocab_size)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(int(head_dim * rope_of(config).get("partial_rotary_factor", 1.0)))
    write_rope(w, config)

    if config.model_type in ROUTED:
        w.add_expert_count(config.num_local_experts)
        w.add_expert_used_count(config.num_experts_per_tok)
    if config.model_type == "qwen3_moe":
        w.add_expert_feed_forward_length(config.moe_intermediate_size)
    if config.model_type == "granite":
        w.add_attention_scale(config.attention_multiplier)
        w.add_embedding_scale(config.embedding_multiplier)
        w.add_residual_scale(config.residual_multiplier)
        w.add_logit_scale(config.logits_scaling)
    if config.model_type in ("olmo3", "phi3", "gemma2", "gemma3_text"):
        w.add_sliding_window(config.sliding_window or 0)
    if config.model_type == "olmo3":
        w.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])
    if config.model_type == "gemma2":
        w.add_attn_logit_softcapping(config.attn_logit_softcapping)
        w.add_final_logit_softcapping(config.final_logit_softcapping)


def write_vocab(w):
    if os.environ.get("TROUPE_GGUF_BARE"):
        w.add_tokenizer_model("none")
        return
    kinds = gguf.TokenType
    pieces = [("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL), ("<unk>", kinds.UNKNOWN), ("<turn>", kinds.CONTROL),
              ("  ", kinds.USER_DEFINED), ("   ", kinds.USER_DEFINED), ("\n", kinds.USER_DEFINED)]
    letters = ["\u2581"] + [chr(c) for c in range(ord("a"), ord("z") + 1)] + ["ab", "\u2581a", "abc"]
    pieces += [(letter, kinds.NORMAL) for letter in letters]
    pieces += [(f"piece{i}", kinds.NORMAL) for i in range(VOCAB - len(pieces))]
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list([piece for piece, _ in pieces])
    w.add_token_scores([-float(i) for i in range(len(pieces))])
    w.add_token_types([kind for _, kind in pieces])
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)
    w.add_unk_token_id(2)
    w.add_eot_token_id(3)
    w.add_add_bos_token(True)
    w.add_add_space_prefix(False)


def neighbours(x, heads):
    """Rows i and i + half of each head become 2 i and 2 i + 1."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(x.shape)


def tensors_of(model):
    """(name without model.layers, numbers): of experts as llama.cpp has them, where transformers has gate and up in one."""
    for name, parameter in model.state_dict().items():
        x = parameter.float().numpy()
        if name.endswith(".experts.gate_up_proj"):
            gate, up = np.split(x, 2, axis=1)
            yield name.replace("gate_up_proj", "gate_proj.weight"), gate
            yield name.replace("gate_up_proj", "up_proj.weight"), up
        else:
            yield name + (".weight" if name.endswith(".experts.down_proj") else ""), x


def write_tensors(w, architecture, model):
    config = model.config
    kind = next(k for k, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for name, x in tensors_of(model):
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if config.model_type in NEIGHBOURS and ".q_proj." in name:
            x = neighbours(x, config.num_attention_heads)
        if config.model_type in NEIGHBOURS and ".k_proj." in name:
            x = neighbours(x, config.num_key_value_heads)
        if "gemma" in config.model_type and name.endswith("norm.weight"):
            x = x + 1
        written = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if x.ndim == 1 or config.model_type in ROUTED and ".gate.weight" in name:
            w.add_tensor(written, x)
        elif x.ndim == 3 and "down" in name:
            w.add_tensor(written, gguf.quants.quantize(np.ascontiguousarray(x), Q8), raw_dtype=Q8)
        else:
            bf16 = gguf.GGMLQuantizationType.BF16
            w.add_tensor(written, gguf.quants.quantize(np.ascontiguousarray(x), bf16), raw_dtype=bf16)


@torch.no_grad()
def as_written(model):
    """An expert's down is written in blocks of eight bits: the model computes with what they hold."""
    model.float()
    for name, parameter in model.named_parameters():
        if name.endswith(".experts.down_proj"):
            blocks = gguf.quants.quantize(parameter.numpy(), Q8)
            parameter.copy_(torch.from_numpy(gguf.quants.dequantize(blocks, Q8)))


def write(folder, architecture, kind, options, seed):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = make_model(kind, seed, {**SHAPE, **options}).to(torch.bfloat16)
    if kind in ROUTED:
        as_written(model)
    lengths = torch.Generator().manual_seed(seed)
    exact = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager",
                                              experts_implementation="eager", dtype=torch.float64).eval()
    exact.load_state_dict(model.state_dict())
    cases = [case(exact, torch.randint(4, VOCAB, (n,), generator=lengths).tolist()) for n in (41, 17, 100, 1)]
    if None in cases:
        return False

    w = gguf.GGUFWriter(os.path.join(folder, "model.gguf"), architecture)
    write_keys(w, model.config)
    write_vocab(w)
    write_tensors(w, architecture, model)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as f:
        f.write("{\"cases\": [\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
    return True


def main(output, *wanted):
    for name, (architecture, kind, options) in FAMILIES.items():
        if wanted and name not in wanted:
            continue
        folder = os.path.join(output, "gguf", name)
        seed = next(s for s in range(1, 100) if write(folder, architecture, kind, options, s))
        print(name, "seed", seed)


main(*sys.argv[1:])
