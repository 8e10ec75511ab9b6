#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""losses.json: values and gradients of every loss by PyTorch's autograd in float64, from the papers' formulas.

    python tests/golden/losses/make_losses.py > tests/golden/losses/losses.json

Written against the formulas, not against learner/loss.c: ratios of whole tensors, torch.where and detach.
"""
import itertools
import json

import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(3)

LENGTHS = [3, 5, 1, 4]
ADVANTAGES = [1.3, -0.8, 0.4, -1.7]
RIGHT = 0.5
LOW, HIGH, DUAL, CAP, TAU, BAND, TIS = 0.2, 0.28, 1.6, 1.1, 0.3, 0.05, 1.25


def episodes():
    out = []
    for n, a in zip(LENGTHS, ADVANTAGES):
        logprob = -torch.rand(n) * 2 - 0.1
        out.append({"advantage": a, "logprob": logprob, "old": logprob + 0.35 * torch.randn(n),
                    "behaviour": logprob + 0.45 * torch.randn(n), "reference": logprob + 0.5 * torch.randn(n)})
    for e in out:  # what a float holds
        for k in ("logprob", "old", "reference"):
            e[k] = e[k].float().double()
    return out


def weights(kind, old, behaviour):
    d = old - behaviour
    if kind == "none":
        return torch.ones_like(d)
    if kind == "token_tis":
        return d.exp().clamp(max=TIS)
    if kind == "sequence_tis":
        return d.sum().exp().clamp(max=TIS).expand_as(d)
    if kind == "mask":
        return torch.where((d.exp() <= TIS) & (d.exp() >= 1 / TIS), d.exp(), torch.zeros_like(d))
    return torch.full_like(d, float(1 / (1 + BAND) <= d.mean().exp() <= 1 + BAND))


def clipped(r, a, dual):
    loss = torch.maximum(-a * r, -a * r.clamp(1 - LOW, 1 + HIGH))
    return torch.minimum(loss, torch.full_like(loss, -a * DUAL)) if dual and a < 0 else loss


def policy_loss(kind, logprob, old, a, dual, nft):
    r = (logprob - old).exp()
    if kind == "ppo":
        return clipped(r, a, dual)
    if kind == "gspo":  # the token form: value s, gradient through each token's own logprob
        s = (logprob - old).mean().exp()
        return clipped(s.detach() * (logprob - logprob.detach()).exp(), a, dual)
    if kind == "cispo":
        return -r.clamp(1 - LOW, 1 + HIGH).detach() * a * logprob
    if kind == "reinforce":
        return -r.clamp(max=CAP).detach() * a * logprob
    if kind == "kimi":
        return -a * logprob
    weight = [1.0, 1 - RIGHT, ((1 - RIGHT) / RIGHT) ** 0.5][nft]
    if a > 0:
        return -weight * r.log()
    other = (1 - RIGHT * r) / (1 - RIGHT)
    return -weight * (other + (other.clamp(min=1.0) - other).detach()).log()


def kl(kind, logprob, reference):
    k = logprob - reference
    k3 = (-k).exp() + k - 1
    if kind == "k1":
        return k
    if kind == "k2":
        return k ** 2 / 2
    if kind == "k3":
        return k3
    return k ** 2 / 2 + (k3 - k ** 2 / 2).detach()


def total(es, logprobs, c):
    tokens, n = sum(LENGTHS), len(es)
    loss = 0
    for e, logprob in zip(es, logprobs):
        old = e["behaviour"] if c["correction"] == "none" else e["old"]
        w = weights(c["correction"], old, e["behaviour"])
        per = w * policy_loss(c["kind"], logprob, old, e["advantage"], c["dual"], c["nft"])
        if c["kind"] == "kimi":
            per = per + TAU / 2 * (logprob - old).sum() ** 2 / len(logprob)
        per = per + c["kl"] * kl(c["kl_kind"], logprob, e["reference"])
        share = {"token": 1 / tokens, "sequence": 1 / (n * len(per)), "constant": 1 / (n * 7.0),
                 "sequence_sum": 1 / n}[c["aggregation"]]
        loss = loss + share * per.sum()
    return loss


def cases():
    plain = {"kind": "ppo", "dual": False, "nft": 1, "kl": 0.0, "kl_kind": "k3", "aggregation": "token",
             "correction": "token_tis"}
    for kind, correction in itertools.product(["ppo", "gspo", "cispo", "reinforce", "kimi", "nft"],
                                              ["none", "token_tis", "sequence_tis", "mask", "geometric"]):
        yield plain | {"kind": kind, "correction": correction}
    for aggregation in ["sequence", "constant", "sequence_sum"]:
        yield plain | {"aggregation": aggregation}
        yield plain | {"aggregation": aggregation, "kind": "gspo"}
    for kind in ["k1", "k2", "k3", "k3+"]:
        yield plain | {"kl": 0.3, "kl_kind": kind}
    yield plain | {"dual": True}
    yield plain | {"dual": True, "correction": "none"}
    for nft in [0, 2]:
        yield plain | {"kind": "nft", "nft": nft, "correction": "none"}


def main():
    es = episodes()
    out = {"low": LOW, "high": HIGH, "dual_clip": DUAL, "ratio_cap": CAP, "tau": TAU, "band": BAND, "tis_cap": TIS,
           "constant": 7.0, "right": RIGHT, "cases": [],
           "episodes": [{k: v.tolist() if torch.is_tensor(v) else v for k, v in e.items()} for e in es]}
    for c in cases():
        logprobs = [e["logprob"].clone().requires_grad_() for e in es]
        loss = total(es, logprobs, c)
        loss.backward()
        out["cases"].append(c | {"loss": float(loss.detach()), "grad": [l.grad.tolist() for l in logprobs]})
    print(json.dumps(out, indent=0))


main()
