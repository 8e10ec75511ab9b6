#!/usr/bin/env python3
"""troupe moo beside TorchJD (PyPI), on random matrices: K 2..8, d 2..512, full rank and not.

    python -m venv v && v/bin/pip install torchjd cvxpy clarabel ecos quadprog qpsolvers scipy
    v/bin/python tests/golden/compare_moo.py [--troupe build/release/troupe] [--matrices 1000]

Directions are compared, not weights: where gradients are linearly dependent many weights give one direction. A
difference counts relative to the longest gradient. Where TorchJD's solver has not converged (its answer does not fulfil
its own equations) another solver of the same equations takes its place, and the line says how often. Exit status 1
above 1e-4.
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


def least_norm(j):
    k = len(j)
    g = (j @ j.T).numpy()
    g += 1e-12 * np.trace(g) * np.eye(k)
    constraints = np.hstack([np.ones((k, 1)), np.eye(k)])
    w = quadprog.solve_qp(g, np.zeros(k), constraints, np.r_[1.0, np.zeros(k)], meq=1)[0]
    return torch.tensor(w) @ j


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
    "upgrad": (A.UPGrad(), ["ridge=1e-4"]),
    "dualproj": (A.DualProj(), ["ridge=1e-4"]),
}


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
                 " its place" if skipped else "") + (f"; {unknown} nobody solves" if unknown else "")
              + (f"; {stationary} without a common descent direction, where ours is 0" if stationary else ""), flush=True)
    return 1 if worst > 1e-4 else 0


sys.exit(main())
