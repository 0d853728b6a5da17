"""Decoding with a weight vector in every row, beside one plain adapter and beside merged weights one after another.

    python tests/bench/serve_throughput.py [--hidden 1024 --layers 8 --repeats 3]

The same model, prompts, loop and process for all: only what is called differs. Repeats alternate between the rigs; medians
are told, of the process's own seconds of processor time with one thread, which other programs on the machine disturb least.
Writes reports/serve/throughput.json and throughput.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from pareto.models.adapters import LoRA, attach, save_policy
from pareto.models.causal import SmallLlama, build_llama
from pareto.models.generate import Sampling, draw_tokens
from pareto.models.lora_factors import read_factors, weighted_sum
from pareto.models.mixing import AdapterMixture
from pareto.models.parameter_mixing import merge
from pareto.models.tokenizers import train_tokenizer

OUT = Path(__file__).parents[2] / "reports" / "serve"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    result = measure(args)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "throughput.json"
    known = json.loads(path.read_text()) if path.exists() else []
    known = [k for k in known if k["sizes"] != result["sizes"]] + [result]
    path.write_text(json.dumps(known, indent=1) + "\n")
    (OUT / "throughput.md").write_text(written(known))
    print(written([result]))


def measure(args: argparse.Namespace) -> dict:
    import tempfile

    from peft import PeftModel

    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog"], 300)
    config = SmallLlama(
        hidden=args.hidden, layers=args.layers, heads=args.hidden // 64, vocab_size=8192, max_positions=512
    )
    base = build_llama(config, tokenizer, 0)
    base.resize_token_embeddings(8192)
    base.eval()
    draw = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        folders = []
        for k in range(args.adapters):
            model = attach(copy.deepcopy(base), LoRA(r=args.rank, alpha=2 * args.rank), seed=k)
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.data.normal_(0, 0.02, generator=draw)
            folders.append(Path(scratch) / str(k))
            save_policy(model, folders[-1])
        plain = PeftModel.from_pretrained(copy.deepcopy(base), str(folders[0])).eval()
        updates = [read_factors(folder) for folder in folders]
    mixture = AdapterMixture(copy.deepcopy(base), updates).eval()
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(args.adapters), size=args.rows)
    prompts = [[1, *rng.integers(3, 8000, size=31).tolist()] for _ in range(args.rows)]
    sampling = Sampling(max_new_tokens=args.tokens, temperature=0.0)

    def decode(model, some, rows=None) -> int:
        return sum(
            1 for _ in draw_tokens(model, some, sampling, ends=frozenset(), pad=0, seed=0, coefficients=rows)
        )

    def merged_one_by_one() -> int:
        done = 0
        for prompt, w in zip(prompts, weights):
            before = time.process_time()
            model = merge(copy.deepcopy(base), weighted_sum(updates, w.tolist())).eval()
            merging.append(time.process_time() - before)
            done += decode(model, [prompt])
        return done

    merging: list[float] = []
    rigs = {
        "mixture, a vector in every row": lambda: decode(mixture, prompts, weights),
        "one plain adapter (PEFT)": lambda: decode(plain, prompts),
        "base alone": lambda: decode(base, prompts),
    }
    times: dict[str, list[float]] = {name: [] for name in rigs}
    decode(mixture, prompts[:2], weights[:2])
    for _ in range(args.repeats):
        for name, run in rigs.items():
            start = time.process_time()
            assert run() == args.rows * args.tokens
            times[name].append(time.process_time() - start)
    start = time.process_time()
    merged_one_by_one()
    serial = time.process_time() - start
    total = args.rows * args.tokens
    rates = {name: total / statistics.median(t) for name, t in times.items()}
    rates["merged weights, one after another"] = total / serial
    rates["the same, merging not counted"] = total / (serial - sum(merging))
    mixed = rates["mixture, a vector in every row"]
    pairs = [
        b / a for a, b in zip(times["mixture, a vector in every row"], times["one plain adapter (PEFT)"])
    ]
    return {
        "sizes": {
            k: vars(args)[k] for k in ("hidden", "layers", "rank", "adapters", "rows", "tokens", "repeats")
        },
        "tokens_per_s": {k: round(v, 2) for k, v in rates.items()},
        "seconds": {k: [round(s, 3) for s in v] for k, v in times.items()},
        "over_plain_adapter": round(mixed / rates["one plain adapter (PEFT)"], 3),
        "over_plain_adapter_pairs": [round(p, 3) for p in pairs],
        "over_merged_one_by_one": round(mixed / rates["merged weights, one after another"], 2),
        "over_merged_without_merging": round(mixed / rates["the same, merging not counted"], 2),
        "machine": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} thread, torch {torch.__version__}",
    }


def written(results: list[dict]) -> str:
    lines = [
        "# Decoding with a weight vector in every row",
        "",
        "`python tests/bench/serve_throughput.py`",
        "",
    ]
    for r in results:
        s = r["sizes"]
        lines += [
            f"## hidden {s['hidden']}, {s['layers']} layers, {s['adapters']} adapters of rank {s['rank']}, {s['rows']} rows, "
            f"{s['tokens']} tokens each, {s['repeats']} repeats",
            "",
            "| rig | tokens per second of processor time |",
            "|---|---|",
            *(f"| {name} | {rate} |" for name, rate in r["tokens_per_s"].items()),
            "",
            f"Against one plain adapter: {r['over_plain_adapter']} (pairs of neighbouring repeats: "
            f"{', '.join(map(str, r['over_plain_adapter_pairs']))}). Against merged weights one after another: "
            f"{r['over_merged_one_by_one']} (merging not counted: {r['over_merged_without_merging']}). {r['machine']}.",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
