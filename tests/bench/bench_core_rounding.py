"""How closely two float32 programs can agree: the core and TRL, each against float64, where bench_core.py sees them apart.

    python tests/bench/bench_core_rounding.py           # what is missing of the table, then reports/core/rounding.md

The same rigs, weights, tokens and batches as bench_core.py, three times: another model, other data and another order each.
`whole` takes the eight pairs of a step in one pass, `one by one` in eight passes whose gradients add up, which is the same
step in exact arithmetic. The truth is plain autograd in float64, a response a row, with torch's AdamW: it shares no code of
the core but the token ids. Every cell is a process of its own; a stopped run goes on where it stopped.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import core_ours
import core_rigs as rigs
import core_trl
import numpy as np
from bench_core_report import TITLES, machine, machine_line

STEPS, SEEDS = 3, (0, 1, 2)
LAYOUTS = {"whole": rigs.BATCH, "one by one": 1}
CASES = (
    ("lora_8k", "whole"),
    ("lora_8k", "one by one"),
    ("lora_8k_prompt448", "whole"),
    ("lora_8k_prompt448", "one by one"),
    ("full_32k", "whole"),
)


def run_truth(rig, gradient_file):
    """The first steps in double precision, norms included."""
    import torch
    import torch.nn.functional as F
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    LlamaRMSNorm.forward = lambda self, x: (  # the library's own goes through float32
        self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))
    )
    prompts, replies = rigs.responses(rig, STEPS * rigs.BATCH)
    model = rigs.adapted(rigs.llama(rig, "cpu"), rig).double().train()
    # low-rank updates begin at nothing, so this is the reference of both
    reference = rigs.llama(rig, "cpu").double()
    optimizer = torch.optim.AdamW(rigs.trainable(model).values(), lr=rigs.RATE, weight_decay=0.0)

    def logp(scored, prompt, reply):
        ids = torch.from_numpy(np.concatenate([prompt, reply]))[None]
        logits = scored(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).sum()

    losses = []
    for step, batch in enumerate(rigs.batches_of(rig, STEPS)):
        optimizer.zero_grad()
        total = 0.0
        for i in batch:
            pair = replies[2 * i], replies[2 * i + 1]
            with torch.no_grad():
                frozen = [logp(reference, prompts[i], reply) for reply in pair]
            chosen, rejected = (logp(model, prompts[i], y) - f for y, f in zip(pair, frozen))
            loss = -F.logsigmoid(rigs.BETA * (chosen - rejected)) / rigs.BATCH
            loss.backward()
            total += float(loss)
        losses.append(total)
        if step == 0:
            np.save(gradient_file, rigs.flat_gradient(model).numpy())
        torch.nn.utils.clip_grad_norm_(rigs.trainable(model).values(), 1.0)
        optimizer.step()
    return losses


def run_cell(rig_name, program, layout, seed, gradient_file):
    import torch

    torch.set_num_threads(2)
    rigs.SEED = seed
    rig, micro = rigs.RIGS[rig_name], LAYOUTS[layout]
    if program == "float64":
        return run_truth(rig, gradient_file)
    if program == "pareto":
        run = core_ours.run_pareto(rig, "cpu", STEPS, gradient_file, sort=True, packed=True, micro=micro)
    else:
        order = rigs.batches_of(rig, STEPS)
        run = core_trl.run_trl(rig, "cpu", STEPS, gradient_file, compact=True, order=order, micro=micro)
    return run["losses"]


def measure(scratch):
    """Run every missing cell in a process of its own."""
    scratch.mkdir(parents=True, exist_ok=True)
    truths = [(rig, "float64", "whole") for rig in dict.fromkeys(rig for rig, _ in CASES)]
    ours = [(rig, program, layout) for rig, layout in CASES for program in ("pareto", "trl")]
    for seed in SEEDS:
        for rig, program, layout in truths + ours:
            path = cell_file(scratch, rig, program, layout, seed)
            if path.exists():
                continue
            command = [sys.executable, __file__, "--cell", rig, program, layout, str(seed)]
            command += ["--gradient", str(path.with_suffix(".npy"))]
            environment = {**os.environ, "OMP_NUM_THREADS": "2"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
            if done.returncode or not lines:
                raise SystemExit(f"{path.stem} failed\n{done.stderr[-2000:]}")
            path.write_text(lines[-1])
            print(path.stem, lines[-1], flush=True)


def cell_file(scratch, rig, program, layout, seed):
    return scratch / f"{rig}-{program}-{layout.replace(' ', '_')}-{seed}.json"


def collect(scratch):
    """One row per case and seed: distances of the first gradient and of the first losses."""
    rows = []
    for rig, layout in CASES:
        for seed in SEEDS:
            files = {p: cell_file(scratch, rig, p, layout, seed) for p in ("pareto", "trl")}
            files["float64"] = cell_file(scratch, rig, "float64", "whole", seed)
            losses = {p: np.array(json.loads(f.read_text())) for p, f in files.items()}
            grads = {
                p: np.load(f.with_suffix(".npy"), allow_pickle=False).astype(np.float64)
                for p, f in files.items()
            }
            row = {"rig": rig, "layout": layout, "seed": seed}
            for one, other in (("pareto", "trl"), ("pareto", "float64"), ("trl", "float64")):
                apart = np.linalg.norm(grads[one] - grads[other]) / np.linalg.norm(grads[other])
                row[f"gradient {one} : {other}"] = float(apart)
                row[f"losses {one} : {other}"] = float(np.abs(losses[one] - losses[other]).max())
            rows.append(row)
    return rows


def write(scratch, out):
    rows = collect(scratch)
    facts = {"machine": machine(), "rows": rows}
    (out / "rounding.json").write_text(json.dumps(facts, indent=1) + "\n")
    pairs = ("pareto : trl", "pareto : float64", "trl : float64")
    lines = [
        "# What float32 lets two programs agree on",
        "",
        "Written by `python tests/bench/bench_core_rounding.py`; no figure is edited by hand.",
        "",
        machine_line(facts["machine"]),
        "",
        "The rigs of [bench.md](bench.md) in which the core and TRL 1.16 are further apart than 1e-6 (gradient of step 1, "
        "relative in norm) or 1e-5 (first three losses), with three seeds each: model, data and order differ. Beside both "
        "stands float64. *One by one*: the eight pairs of a step in eight passes whose gradients add up.",
        "",
        "| rig | a step's pairs | seed | gradient, core to TRL | core to float64 | TRL to float64 | "
        "first 3 losses, core to TRL | core to float64 | TRL to float64 |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [f"{row[f'{kind} {p}']:.2e}" for kind in ("gradient", "losses") for p in pairs]
        lines.append(
            f"| {TITLES[row['rig']]} | {row['layout']} | {row['seed']} | " + " | ".join(cells) + " |"
        )
    for layout in LAYOUTS:
        lora = [r for r in rows if r["layout"] == layout and r["rig"].startswith("lora")]
        own, peer = (max(r[f"gradient {p} : float64"] for r in lora) for p in ("pareto", "trl"))
        both = max(r["gradient pareto : trl"] for r in lora)
        lines += [
            "",
            f"With LoRA, pairs {layout}: largest distance between the programs {both:.2e}; to float64 at most {own:.2e} "
            f"(core) and {peer:.2e} (TRL).",
        ]
    full = [r for r in rows if r["rig"] == "full_32k"]
    lines += [
        "",
        "Full fine-tuning with 32k words, first three losses: largest distance between the programs "
        f"{max(r['losses pareto : trl'] for r in full):.2e}; to float64 at most "
        f"{max(r['losses pareto : float64'] for r in full):.2e} (core) and "
        f"{max(r['losses trl : float64'] for r in full):.2e} (TRL). The first steps of Adam divide a gradient by its own "
        "size, so that rounding moves weights with a gradient near nothing as far as any other.",
        "",
        "Most of the rounding is in the matrix products, and of those in the sum over a step's tokens, in which chosen and "
        "rejected responses nearly cancel: it falls with the number of tokens summed at once.",
    ]
    (out / "rounding.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, default=rigs.ROOT / "runs" / "bench_core_rounding")
    parser.add_argument("--out", type=Path, default=rigs.ROOT / "reports" / "core")
    parser.add_argument(
        "--cell", nargs=4, metavar=("RIG", "PROGRAM", "LAYOUT", "SEED"), help=argparse.SUPPRESS
    )
    parser.add_argument("--gradient", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        rig, program, layout, seed = args.cell
        print(json.dumps(run_cell(rig, program, layout, int(seed), args.gradient)))
        return
    measure(args.scratch)
    write(args.scratch, args.out)


if __name__ == "__main__":
    main()
