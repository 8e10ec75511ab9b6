#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""troupe moo beside TorchJD (PyPI), on random matrices: K 2..8, d 2..512, full rank and not; then on hard ones, where a
gradient dominates, all are scaled, some are the same, or none agree.

    python -m venv v && v/bin/pip install torchjd cvxpy clarabel ecos quadprog qpsolvers scipy
    v/bin/python tests/golden/compare_moo.py [--troupe build/release/troupe] [--matrices 1000]

Directions are compared, not weights: where gradients are linearly dependent many weights give one direction. A
difference counts relative to the longest gradient. Where TorchJD's solver has not converged (its answer does not fulfil
its own equations) another solver of the same equations takes its place, and the line says how often. UPGrad and
DualProj are compared with the projection itself, by quadprog on unit gradients: TorchJD adds 1e-4 to the diagonal.
Exit status 1 above 1e-4.

Of the hard matrices it counts for both in how many some objective is opposed (cosine below -1e-6), and compares
directions where a reference has digits left. Exit status 1 when mgda, upgrad or dualproj oppose a gradient.
"""
import argparse
import json
import subprocess
import sys

import numpy as np
import quadprog
import torch
from scipy.optimize import least_squares
from torchjd import aggregation as A


def matrices(n):
    rng = np.random.default_rng(1)
    for i in range(n):
        k, d = int(rng.integers(2, 9)), int(rng.choice([2, 3, 5, 8, 16, 64, 512]))
        j = rng.standard_normal((k, d)) * 10 ** rng.uniform(-1, 1, (k, 1))
        if i % 4 == 0:  # rank-deficient: the last gradient is a mixture of the others
            j[-1] = rng.standard_normal(k - 1) @ j[:-1]
        if i % 5 == 0:  # a conflict that can't be missed
            j[1] = -0.5 * j[0] + 0.3 * j[1]
        yield torch.tensor(j, dtype=torch.float64)


def natural(aggregator):
    """An aggregator that meets the others in their order: torch.randperm is the identity meanwhile."""
    def call(j):
        randperm, torch.randperm = torch.randperm, lambda n: torch.arange(n)
        try:
            return aggregator(j)
        finally:
            torch.randperm = randperm
    return call


def gradvac(j):
    return natural(A.GradVac())(j)


def fair_residual(g, w, alpha):
    """How far weights are from their own equation, G w = w^(-1/alpha)."""
    return float(np.abs((g @ w) * w ** (1 / alpha) - 1).max()) if (w > 0).all() else np.inf


def fair(j, alpha):
    """The same equation by scipy in log w, from many starts; None where that does not converge either."""
    g = (j @ j.T).numpy()
    for start in range(5):
        u = -0.5 * np.log(np.diag(g)) + np.random.default_rng(start).normal(0, 0.5 * start, len(g))
        r = least_squares(lambda x: (g @ np.exp(x)) * np.exp(x / alpha) - 1, u, xtol=1e-15, ftol=1e-15, gtol=1e-15,
                          max_nfev=5000)
        if fair_residual(g, np.exp(r.x), alpha) < 1e-9:
            return torch.tensor(np.exp(r.x)) @ j
    return None


def least_norm_gap(j, d):
    """Of the least-norm problem: ||d||^2 - min <g_i, d>, an upper bound of the squared distance to the solution."""
    return float(d @ d - (j @ d).min())


def scaled(j):
    """Cosines and lengths: quadprog gets along with the ones and not with 1e24."""
    length = j.norm(dim=1).numpy()
    u = j.numpy() / length[:, None]
    return u @ u.T + 1e-13 * np.eye(len(j)), length


def least_norm(j):
    c, length = scaled(j)
    share = length.min() / length
    constraints = np.hstack([share[:, None], np.eye(len(j))])
    y = quadprog.solve_qp(c, np.zeros(len(j)), constraints, np.r_[1.0, np.zeros(len(j))], meq=1)[0]
    return torch.tensor(y * share) @ j


def project(j, u):
    """The projection of sum u_i g_i on the cone that opposes no gradient."""
    c, length = scaled(j)
    y = u * length
    size = np.abs(y).max()
    z = quadprog.solve_qp(c, -c @ (y / size), np.eye(len(j)), np.zeros(len(j)))[0]
    return torch.tensor((y + size * z) / length) @ j


def upgrad(j):
    return sum(project(j, e / len(j)) for e in np.eye(len(j)))


def dualproj(j):
    return project(j, np.full(len(j), 1 / len(j)))


def unit(d):
    return d / max(float(d.norm()), 1e-300)


METHODS = {
    "sum": (A.Sum(), []),
    "pref": (A.Mean(), []),
    "mgda": (A.MGDA(epsilon=1e-12, max_iters=2000), []),
    "pcgrad": (natural(A.PCGrad()), ["--order", "natural"]),
    "gradvac": (gradvac, ["--order", "natural"]),
    "cagrad": (lambda j: A.CAGrad(c=0.5, norm_eps=1e-9)(j) / 1.25, ["c=0.5"]),
    "imtl_g": (A.IMTLG(), []),
    "nash": (None, ["max_norm=0", "ridge=1e-12"]),
    "fairgrad": (A.FairGrad(alpha=2.0), ["alpha=2", "ridge=1e-12"]),
    "aligned": (A.AlignedMTL(), []),
    "upgrad": (upgrad, []),
    "dualproj": (dualproj, []),
}

# What each kind of hard matrix is made of; j [k, d] random, whose lengths differ by a hundred.
def dominating(rng, j):
    return j * 10 ** rng.uniform(-6, 6, (len(j), 1))


def stationary(rng, j):
    j[-1] = -rng.uniform(0.1, 1, len(j) - 1) @ j[:-1]
    return j


def duplicates(rng, j):
    j[1::2] = j[:len(j[1::2]) * 2:2]
    return j


def scaled_all(rng, j):
    return j * 10 ** rng.uniform(-12, 12)


HARD = {"dominating": dominating, "stationary": stationary, "duplicates": duplicates, "scaled": scaled_all}
THEIRS = {"mgda": A.MGDA(epsilon=1e-12, max_iters=2000), "upgrad": A.UPGrad(), "dualproj": A.DualProj(),
          "pcgrad": natural(A.PCGrad()), "cagrad": METHODS["cagrad"][0], "mgda_norm": None}
EXACT = {"mgda": least_norm, "upgrad": upgrad, "dualproj": dualproj, "pcgrad": THEIRS["pcgrad"]}
OPPOSES_NOBODY = ("mgda", "mgda_norm", "upgrad", "dualproj")


def run(troupe, name, js, options=()):
    text = "\n".join(json.dumps({"J": j.tolist()}) for j in js)
    out = subprocess.run([troupe, "moo", "--method", name, *options], input=text, text=True, check=True,
                         capture_output=True).stdout
    return [torch.tensor(json.loads(line)["direction"], dtype=torch.float64) for line in out.splitlines()]


def opposed(j, d):
    return bool((j @ d < -1e-6 * j.norm(dim=1) * d.norm()).any())


def hard(troupe, n):
    bad = 0
    for kind, make in HARD.items():
        rng = np.random.default_rng(2)
        js = []
        for _ in range(n):
            k, d = int(rng.integers(2, 7)), int(rng.choice([2, 3, 5, 8, 16]))
            k = max(k, 3)
            js.append(torch.tensor(make(rng, rng.standard_normal((k, d)) * 10 ** rng.uniform(-1, 1, (k, 1)))))
        for name, theirs in THEIRS.items():
            ours = run(troupe, name, js, ["--order", "natural"] if name == "pcgrad" else [])
            mine = sum(opposed(j, d) for j, d in zip(js, ours))
            line = f"{kind:10s} {name:10s} {len(js)} matrices; some objective is opposed in {mine}"
            if theirs:
                line += f", TorchJD's in {sum(opposed(j, theirs(j)) for j in js)}"
            if name in EXACT:
                gaps = [float((d - EXACT[name](j)).norm() / d.norm()) for j, d in zip(js, ours) if float(d.norm()) > 0]
                if gaps:
                    line += f"; off the exact answer by {np.median(gaps):.1e} (median), {max(gaps):.1e} (most) of it"
            print(line, flush=True)
            bad += mine if name in OPPOSES_NOBODY else 0
    return bad


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--troupe", default="build/release/troupe")
    p.add_argument("--matrices", type=int, default=1000)
    args = p.parse_args()
    js = list(matrices(args.matrices))
    text = "\n".join(json.dumps({"J": j.tolist()}) for j in js)
    worst = 0.0
    for name, (aggregate, options) in METHODS.items():
        lines = [text] if name != "gradvac" else [json.dumps({"J": j.tolist()}) for j in js]  # no memory between
        out = "".join(subprocess.run([args.troupe, "moo", "--method", name, *options], input=t, text=True, check=True,
                                     capture_output=True).stdout for t in lines)
        ours = [torch.tensor(json.loads(line)["direction"], dtype=torch.float64) for line in out.splitlines()]
        largest, skipped, unknown, stationary = 0.0, 0, 0, 0
        for j, mine in zip(js, ours):
            scale = float(j.norm(dim=1).max())
            if name in ("nash", "fairgrad") and float(least_norm(j).norm()) < 1e-5 * float(j.norm(dim=1).min()):
                if float(mine.norm()) > 2e-2 * scale:  # Pareto-stationary: no solution, ours goes to 0
                    largest = np.inf
                stationary += 1
                continue
            if name in ("nash", "fairgrad"):
                alpha = 1.0 if name == "nash" else 2.0
                g, theirs = j @ j.T, None
                if name == "nash":  # its length is cut and normalised there: compared as a way, not as a length
                    found = A.NashMTL(n_tasks=len(j), max_norm=0, optim_niter=100)(j)
                    w = torch.linalg.lstsq(j.T, found, driver="gelsd").solution
                    product = (g @ w) * w
                    if float(product.std() / product.mean().abs()) < 1e-6:
                        theirs, mine, scale = unit(found), unit(mine), 1.0
                else:
                    w = aggregate.gramian_weighting(g)
                    if fair_residual(g.numpy(), w.numpy(), alpha) < 1e-7:
                        theirs = w @ j
                if theirs is None:
                    skipped += 1
                    theirs = fair(j, alpha)
                if theirs is None:
                    unknown += 1
                    continue
            elif name == "mgda":
                theirs = aggregate(j)
                if least_norm_gap(j, theirs) > 1e-9 * scale ** 2:  # Frank-Wolfe: then beside a quadratic program
                    skipped += 1
                    theirs = least_norm(j)
            else:
                theirs = aggregate(j)
            largest = max(largest, float((mine - theirs).norm()) / scale)
        worst = max(worst, largest)
        print(f"{name:10s} {len(js) - unknown - stationary:5d} matrices, largest difference {largest:.1e}"
              + (f"; in {skipped - unknown} TorchJD has not converged and {'quadprog' if name == 'mgda' else 'scipy'} takes"
                 " its place" if skipped else "") + (f"; {unknown} that no solver solves" if unknown else "")
              + (f"; {stationary} without a common descent direction, where ours is 0" if stationary else ""), flush=True)
    bad = hard(args.troupe, args.matrices // 2)
    return 1 if worst > 1e-4 or bad else 0


sys.exit(main())
