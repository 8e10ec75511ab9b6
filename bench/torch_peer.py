# SPDX-License-Identifier: MIT
"""What `troupe bench` measures, in PyTorch, for a number beside ours: one JSON line on stdout.

    python3 bench/torch_peer.py train|decode|ops --size small|large --precision f32|bf16 --threads N --batch N --length N --seconds S

A Llama written for speed: fused scaled_dot_product_attention, fused AdamW, static key/value cache; with --compile through
torch.compile. bf16 is autocast for training (its usual form) and bf16 weights for decoding. Threads are bound before torch
is loaded, and memory isn't handed back to the system between steps. Needs torch; nothing of Troupe needs this file.
"""
import argparse
import json
import os
import resource
import sys
import time

BEST = {
    "OMP_PROC_BIND": "true", "OMP_PLACES": "cores", "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "1073741824", "MALLOC_ARENA_MAX": "1",
}
SIZES = {
    "small": dict(vocab=4096, width=256, layers=6, heads=8, ffn=688),
    "large": dict(vocab=32000, width=768, layers=12, heads=12, ffn=2048),
}


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("what", choices=["train", "decode", "ops"])
    a.add_argument("--size", default="small", choices=SIZES)
    a.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--batch", type=int, default=16)
    a.add_argument("--length", type=int, default=256)
    a.add_argument("--seconds", type=float, default=10)
    a.add_argument("--compile", action="store_true")
    return a.parse_args()


ARGS = arguments()
if os.environ.get("TROUPE_PEER_READY") != "1":  # the allocator and OpenMP read these when the process starts
    os.execvpe(sys.executable, [sys.executable] + sys.argv,
               {**os.environ, **BEST, "OMP_NUM_THREADS": str(ARGS.threads), "TROUPE_PEER_READY": "1"})

import torch  # noqa: E402
import torch.nn as nn  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(ARGS.threads)
S = SIZES[ARGS.size]
HEAD = S["width"] // S["heads"]


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        w, f = S["width"], S["ffn"]
        self.n1, self.n2 = nn.RMSNorm(w, 1e-5), nn.RMSNorm(w, 1e-5)
        self.qkv, self.o = nn.Linear(w, 3 * w, bias=False), nn.Linear(w, w, bias=False)
        self.gate_up, self.down = nn.Linear(w, 2 * f, bias=False), nn.Linear(f, w, bias=False)

    def heads(self, x):
        b, t, _ = x.shape
        return (y.view(b, t, S["heads"], HEAD).transpose(1, 2) for y in self.qkv(self.n1(x)).chunk(3, -1))

    def finish(self, x, a):
        b, t, _ = x.shape
        x = x + self.o(a.transpose(1, 2).reshape(b, t, S["width"]))
        gate, up = self.gate_up(self.n2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)

    def forward(self, x, cos, sin):
        q, k, v = self.heads(x)
        return self.finish(x, F.scaled_dot_product_attention(rope(q, cos, sin), rope(k, cos, sin), v, is_causal=True))

    def step(self, x, cos, sin, keys, values, at):
        q, k, v = self.heads(x)
        keys[:, :, at:at + 1], values[:, :, at:at + 1] = rope(k, cos, sin), v
        a = F.scaled_dot_product_attention(rope(q, cos, sin), keys[:, :, :at + 1], values[:, :, :at + 1])
        return self.finish(x, a)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(S["vocab"], S["width"])
        self.layers = nn.ModuleList(Layer() for _ in range(S["layers"]))
        self.norm = nn.RMSNorm(S["width"], 1e-5)
        self.head = nn.Linear(S["width"], S["vocab"], bias=False)

    def forward(self, ids, cos, sin):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.head(self.norm(x))

    def step(self, ids, cos, sin, cache, at):
        x = self.embed(ids)
        for layer, (keys, values) in zip(self.layers, cache):
            x = layer.step(x, cos, sin, keys, values, at)
        return self.head(self.norm(x))[:, -1]


def turns(length, dtype):
    angle = torch.arange(length)[:, None] * 10000 ** (-torch.arange(HEAD // 2) * 2 / HEAD)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def best(fn, seconds):
    fn(), fn()
    times, end = [], time.time() + seconds
    while time.time() < end or len(times) < 2:
        begun = time.time()
        fn()
        times.append(time.time() - begun)
    return min(times)


def train():
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    forward = torch.compile(model) if ARGS.compile else model
    cos, sin = turns(ARGS.length, torch.float32)
    ids = torch.randint(0, S["vocab"], (ARGS.batch, ARGS.length))

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=ARGS.precision == "bf16"):
            z = forward(ids, cos, sin)
            loss = F.cross_entropy(z[:, :-1].reshape(-1, S["vocab"]), ids[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return ARGS.batch * ARGS.length / best(step, ARGS.seconds)


@torch.no_grad()
def decode():
    dtype = torch.bfloat16 if ARGS.precision == "bf16" else torch.float32
    model = Model().to(dtype).eval()
    step = torch.compile(model.step, dynamic=True) if ARGS.compile else model.step
    cos, sin = turns(ARGS.length + 64, dtype)
    cache = [(torch.zeros(ARGS.batch, S["heads"], ARGS.length + 64, HEAD, dtype=dtype),
              torch.zeros(ARGS.batch, S["heads"], ARGS.length + 64, HEAD, dtype=dtype)) for _ in model.layers]

    def run():
        ids = torch.randint(0, S["vocab"], (ARGS.batch, 1))
        for at in range(ARGS.length):
            z = step(ids, cos[at:at + 1], sin[at:at + 1], cache, at)
            ids = torch.multinomial(torch.softmax(z.float(), -1), 1)

    return ARGS.batch * ARGS.length / best(run, ARGS.seconds)


def ops():
    dtype = torch.bfloat16 if ARGS.precision == "bf16" else torch.float32
    w, f, v, out = S["width"], S["ffn"], S["vocab"], {}
    for m in (1, 8, 64, 512):
        for name, n, k in (("gate", f, w), ("down", w, f), ("head", v, w)):
            x, weight = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
            out[f"linear {name} M={m}"] = best(lambda: F.linear(x, weight), ARGS.seconds / 20)
    q = torch.randn(4, S["heads"], ARGS.length, HEAD)
    out["attention"] = best(lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True), ARGS.seconds / 20)
    qg = q.clone().requires_grad_()

    def both():
        F.scaled_dot_product_attention(qg, qg, qg, is_causal=True).sum().backward()

    out["attention forward+backward"] = best(both, ARGS.seconds / 20)
    x, weight = torch.randn(4096, w), torch.ones(w)
    out["rmsnorm"] = best(lambda: F.rms_norm(x, (w,), weight, 1e-5), ARGS.seconds / 20)
    gate, up = torch.randn(4096, f), torch.randn(4096, f)
    out["swiglu"] = best(lambda: F.silu(gate) * up, ARGS.seconds / 20)
    return out


def main():
    result = {"train": train, "decode": decode, "ops": ops}[ARGS.what]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    name = f"torch {torch.__version__}" + (" compiled" if ARGS.compile else "")
    key = "seconds" if ARGS.what == "ops" else "tokens_per_second"
    print(json.dumps({"name": name, key: result, "peak_mib": round(peak)}))


main()
