#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""losses.json beside TRL's own GRPO loss (PyPI), where both have a loss: the same batch, values and gradients.

    python -m venv v && v/bin/pip install trl torch && v/bin/python tests/golden/losses/compare_trl.py

GRPOTrainer._compute_loss runs as it is, on a trainer that is nothing but its settings and a model that is nothing but a
tensor of logprobs. `ctest -R learner.loss` compares learner/loss.c with the same losses.json. Exit status 1 above 1e-5.
"""
import collections
import json
import pathlib
import sys
from types import SimpleNamespace

import torch
from trl.trainer.grpo_trainer import GRPOTrainer

torch.set_default_dtype(torch.float64)
GOLDEN = json.loads((pathlib.Path(__file__).parent / "losses.json").read_text())
EPISODES = GOLDEN["episodes"]
WIDEST = max(len(e["logprob"]) for e in EPISODES)
# Our aggregation -> TRL's loss_type; what has no counterpart there is left out and counted.
TYPES = {"token": "bnpo", "sequence": "grpo", "constant": "dr_grpo"}


def padded(key):
    return torch.tensor([e[key] + [-1.0] * (WIDEST - len(e[key])) for e in EPISODES])


def comparable(c):
    """GSPO's token form weighs each token's gradient by its own w, TRL's sequence form by the episode's mean of w: the same
    thing only without weights by token."""
    corrections = {"ppo": ("none", "token_tis"), "gspo": ("none",)}
    return c["correction"] in corrections.get(c["kind"], ()) and c["aggregation"] in TYPES and c["kl_kind"] == "k3"


def trainer_of(c, logprob):
    same = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x, reduce=lambda x, reduction: x,
                           num_processes=1, sync_gradients=False)
    args = SimpleNamespace(delta=GOLDEN["dual_clip"] if c["dual"] else None, use_bias_correction_kl=False)
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprob, torch.zeros_like(logprob), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=c["kl"], args=args,
        importance_sampling_level="sequence" if c["kind"] == "gspo" else "token", loss_type=TYPES[c["aggregation"]],
        epsilon_low=GOLDEN["low"], epsilon_high=GOLDEN["high"], use_vllm=c["correction"] == "token_tis",
        vllm_importance_sampling_correction=True, model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, max_completion_length=GOLDEN["constant"], accelerator=same,
        _entropy_bonus_enabled=False, _metrics=collections.defaultdict(lambda: collections.defaultdict(list)))


def inputs_of(c, mask):
    old, behaviour = padded("old"), padded("behaviour")
    ids = torch.zeros(len(EPISODES), WIDEST, dtype=torch.long)
    return {"prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids, "completion_mask": mask,
            "advantages": torch.tensor([e["advantage"] for e in EPISODES]),
            "old_per_token_logps": behaviour if c["correction"] == "none" else old,
            "ref_per_token_logps": padded("reference"), "num_items_in_batch": mask.sum(),
            "importance_sampling_ratio": (old - behaviour).exp().clamp(max=GOLDEN["tis_cap"])}


def main():
    mask = torch.tensor([[1.0] * len(e["logprob"]) + [0.0] * (WIDEST - len(e["logprob"])) for e in EPISODES])
    worst, compared = 0.0, 0
    for c in GOLDEN["cases"]:
        if not comparable(c):
            continue
        logprob = padded("logprob").requires_grad_()
        loss = GRPOTrainer._compute_loss(trainer_of(c, logprob), None, inputs_of(c, mask))
        loss.backward()
        gap = abs(float(loss.detach()) - c["loss"])
        for row, ours in zip(logprob.grad, c["grad"]):
            gap = max(gap, float((row[:len(ours)] - torch.tensor(ours)).abs().max()))
        name = f"{c['kind']} {c['aggregation']} {c['correction']}" + (" kl" if c["kl"] else "") + (" dual" if c["dual"] else "")
        print(f"{name:36s} {gap:.1e}")
        worst, compared = max(worst, gap), compared + 1
    print(f"{compared} of {len(GOLDEN['cases'])} cases have a counterpart in TRL; largest difference {worst:.1e}")
    return 0 if compared and worst < 1e-5 else 1


sys.exit(main())
