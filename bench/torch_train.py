"""The same step as bench_train in PyTorch, for a number beside ours: python3 bench/torch_train.py [threads] [seconds]

3 layers, width 128, 4 heads, ffn 352, vocabulary 512; 96 sequences of 200 tokens; forward, and forward + backward.
Needs torch (pip install torch); nothing of Troupe needs this file."""
import sys
import time

import torch
import torch.nn.functional as F

SEQUENCES, LENGTH, WIDTH, LAYERS, HEADS, FFN, VOCAB = 96, 200, 128, 3, 4, 352, 512
HEAD = WIDTH // HEADS


def parameter(*shape):
    return torch.nn.Parameter(torch.randn(*shape) * 0.05)


def model():
    layers = [dict(q=parameter(WIDTH, WIDTH), k=parameter(WIDTH, WIDTH), v=parameter(WIDTH, WIDTH), o=parameter(WIDTH, WIDTH),
                   gate=parameter(FFN, WIDTH), up=parameter(FFN, WIDTH), down=parameter(WIDTH, FFN),
                   n1=parameter(WIDTH), n2=parameter(WIDTH)) for _ in range(LAYERS)]
    return parameter(VOCAB, WIDTH), layers, parameter(WIDTH)


def norm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def logprobs(m, ids, cos, sin):
    embed, layers, last = m
    x = F.embedding(ids, embed)
    for p in layers:
        h = norm(x, p["n1"])
        q, k, v = (F.linear(h, p[n]).view(SEQUENCES, LENGTH, HEADS, HEAD).transpose(1, 2) for n in "qkv")
        a = F.scaled_dot_product_attention(rope(q, cos, sin), rope(k, cos, sin), v, is_causal=True)
        x = x + F.linear(a.transpose(1, 2).reshape(SEQUENCES, LENGTH, WIDTH), p["o"])
        h = norm(x, p["n2"])
        x = x + F.linear(F.silu(F.linear(h, p["gate"])) * F.linear(h, p["up"]), p["down"])
    z = F.linear(norm(x, last), embed)[:, :-1]
    return torch.log_softmax(z, -1).gather(-1, ids[:, 1:, None])


def best(fn, seconds):
    times, end = [], time.time() + seconds
    while time.time() < end:
        begun = time.time()
        fn()
        times.append(time.time() - begun)
    return min(times)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    m, ids = model(), torch.randint(0, VOCAB, (SEQUENCES, LENGTH))
    angle = torch.arange(LENGTH)[:, None] * 10000 ** (-torch.arange(HEAD // 2) * 2 / HEAD)
    cos, sin = angle.cos(), angle.sin()

    def forward():
        with torch.no_grad():
            logprobs(m, ids, cos, sin)

    def both():
        logprobs(m, ids, cos, sin).sum().backward()

    for name, fn in (("forward", forward), ("forward + backward", both)):
        fn()
        t = best(fn, seconds)
        print(f"{torch.get_num_threads()} thread  {name:20s} {t * 1e3:8.1f} ms  {SEQUENCES * LENGTH / t / 1e3:7.1f}k tok/s")


main()
