# SPDX-License-Identifier: MIT
"""What `troupe bench decode --model DIR` measures, in llama.cpp, for a number beside ours: one JSON line on stdout.

    python3 bench/llama_peer.py decode --precision f32|bf16 --threads N --batch N --length N --seconds S --model DIR

The model's numbers are written once more as a GGUF file in a temporary folder (llama's architecture, byte-level BPE), and
`batch` completions run at once in llama.cpp's own server, in this process, each with its own prompt of about 16 tokens.
Its rate is that of the tokens between the first and the last of each, by its own clock. Needs xllamacpp, gguf and numpy;
nothing of Troupe needs this file.
"""
import argparse
import concurrent.futures
import json
import os
import resource
import tempfile
import time

import gguf
import numpy as np
import xllamacpp


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("what", choices=["decode"])
    a.add_argument("--size", help="of no meaning here")
    a.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--batch", type=int, default=1)
    a.add_argument("--length", type=int, default=128)
    a.add_argument("--seconds", type=float, default=5)
    a.add_argument("--model", required=True)
    return a.parse_args()


def read_tensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        begin = f.tell()
    for name, t in header.items():
        if name == "__metadata__":
            continue
        kind = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}[t["dtype"]]
        x = np.memmap(path, kind, "r", begin + t["data_offsets"][0], tuple(t["shape"]))
        if t["dtype"] == "BF16":
            x = (x.astype(np.uint32) << 16).view(np.float32)
        yield name, x.astype(np.float32)


def turned(x, heads):
    """llama.cpp turns pairs of neighbours, transformers halves of a head."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(x.shape)


NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name):
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                "lm_head.weight": "output.weight"}[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def write_tokenizer(w, folder):
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        t = json.load(f)
    tokens = {i: s for s, i in t["model"]["vocab"].items()}
    special = {a["id"] for a in t["added_tokens"]}
    tokens.update({a["id"]: a["content"] for a in t["added_tokens"]})
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list([tokens[i] for i in range(len(tokens))])
    w.add_token_types([3 if i in special else 1 for i in range(len(tokens))])
    w.add_token_merges(merges)
    w.add_eos_token_id(min(special))


def write_gguf(folder, precision, path):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_rope_freq_base(c["rope_theta"])
    w.add_rope_dimension_count(c["hidden_size"] // heads)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_vocab_size(c["vocab_size"])
    write_tokenizer(w, folder)
    kind = gguf.GGMLQuantizationType.BF16 if precision == "bf16" else gguf.GGMLQuantizationType.F32
    for name, x in read_tensors(os.path.join(folder, "model.safetensors")):
        if "q_proj" in name or "k_proj" in name:
            x = turned(x, heads if "q_proj" in name else kv)
        matrix = x.ndim == 2
        w.add_tensor(gguf_name(name), gguf.quantize(x, kind) if matrix else x, raw_dtype=kind if matrix else None)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def open_server(path, a):
    p = xllamacpp.CommonParams()
    p.model.path = path
    p.n_ctx = a.batch * (a.length + 64)
    p.n_parallel = a.batch
    p.cpuparams.n_threads = a.threads
    p.cpuparams_batch.n_threads = a.threads
    p.warmup = True
    return xllamacpp.Server(p)


def complete(server, number, length):
    answer = server.handle_completions({"prompt": f"{number} friends of mine walked to the old town and there they saw that",
                                        "max_tokens": length, "temperature": 1.0, "ignore_eos": True, "cache_prompt": False,
                                        "seed": number})
    return json.loads(answer) if isinstance(answer, (str, bytes)) else answer


def play(server, a):
    """Tokens a second of all streams, from when the slowest has read its prompt."""
    with concurrent.futures.ThreadPoolExecutor(a.batch) as pool:
        began = time.perf_counter()
        answers = list(pool.map(lambda i: complete(server, i, a.length), range(a.batch)))
        took = time.perf_counter() - began
    reading = max(x["timings"]["prompt_ms"] for x in answers) / 1000
    return sum(x["timings"]["predicted_n"] for x in answers) / (took - reading)


def main():
    a = arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.gguf")
        write_gguf(a.model, a.precision, path)
        server = open_server(path, a)
        best, until = play(server, a), time.perf_counter() + a.seconds
        while time.perf_counter() < until:
            best = max(best, play(server, a))
    print(json.dumps({"name": f"llama.cpp (xllamacpp {xllamacpp.__version__ if hasattr(xllamacpp, '__version__') else ''})",
                      "tokens_per_second": best,
                      "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
    os._exit(0)  # its server's threads don't end by themselves


main()
