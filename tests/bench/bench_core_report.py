"""What bench_core.py measured, as bench.json and bench.md: both programs' figures, and by how much each target is met."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

GFLOP = {"full_8k": 66, "lora_8k": 45, "full_32k": 105, "lora_8k_prompt448": 90}
OVER_START_MB = {"full_8k": 450, "lora_8k": 490, "full_32k": 640, "lora_8k_prompt448": 1190}
STEADY, ONE_EPOCH, RAGGED = 1.8, 1.35, 2.0
FIRST_3, FIRST_20, GRADIENT = 1e-5, 1e-3, 1e-6
TITLES = {
    "full_8k": "full fine-tuning, vocabulary 8,192",
    "lora_8k": "LoRA r = 8, vocabulary 8,192",
    "full_32k": "full fine-tuning, vocabulary 32,768",
    "lora_8k_prompt448": "LoRA r = 8, vocabulary 8,192, prompts of 448",
    "ragged_full_8k": "full fine-tuning, vocabulary 8,192, all lengths ±50 %",
}
PROGRAMS = {
    "pareto": "pareto",
    "trl_compact": "TRL, response positions only",
    "trl": "TRL as it comes on a CPU",
    "pareto_unsorted": "pareto, batches in random order",
    "pareto_unsorted_apart": "pareto, random order, a row for every example",
    "trl_compact_unsorted": "TRL, response positions only, random order",
}


def read(folder):
    """({(rig, program): [figures of repeat 0, 1, ...]}, {(rig, program): losses of the longest run})."""
    repeats, losses = {}, {}
    for path in sorted(folder.glob("*.json")):
        rig, program, repeat = path.stem.rsplit("-", 2)
        figures = json.loads(path.read_text())
        if repeat != "numbers":
            repeats.setdefault((rig, program), []).append(figures)
        losses[rig, program] = max(losses.get((rig, program), []), figures["losses"], key=len)
    return repeats, losses


def summary(repeats):
    """Figures of one program on one rig: medians over the repeats, the first repeat's work."""
    wall, cpu = (np.array([r[f"{kind}_s_per_step"] for r in repeats]) for kind in ("wall", "cpu"))
    tokens = np.array([r["tokens_per_step"] for r in repeats])
    row = {
        "repeats": len(repeats),
        "steps_timed": [r["steps_timed"] for r in repeats],
        "gflop_first_step": repeats[0]["gflop_per_step"],
        "peak_mb": float(np.median([r["peak_mb"] for r in repeats])),
        "over_start_mb": float(np.median([r["over_start_mb"] for r in repeats])),
        "over_start_mb_each": [r["over_start_mb"] for r in repeats],
        "cpu_s_per_step": float(np.median(cpu)),
        "wall_s_per_step": float(np.median(wall)),
        "tokens_per_wall_s": float(np.median(tokens / wall)),
        "tokens_per_cpu_s": float(np.median(tokens / cpu)),
    }
    for kind in ("wall", "cpu"):
        if f"reference_{kind}_s_per_step" in repeats[0]:
            row[f"reference_{kind}_s_per_step"] = float(
                np.median([r[f"reference_{kind}_s_per_step"] for r in repeats])
            )
    return row


def ratios(ours, theirs):
    """How many times as many tokens a second we do: medians over repeats that ran one after the other."""
    out = {}
    for kind in ("wall", "cpu"):
        key = f"{kind}_s_per_step"
        pairs = list(zip(ours, theirs))
        steady = [t[key] / t["tokens_per_step"] / (o[key] / o["tokens_per_step"]) for o, t in pairs]
        epoch = [
            t[key] / t["tokens_per_step"] / ((o[key] + o[f"reference_{key}"]) / o["tokens_per_step"])
            for o, t in pairs
        ]
        out |= {
            f"steady_{kind}": float(np.median(steady)),
            f"one_epoch_{kind}": float(np.median(epoch)),
            f"steady_{kind}_each": steady,
        }
    return out


def agreement(folder, rig, ours, theirs):
    """Differences of losses and of the first gradient."""
    a, b = np.array(ours), np.array(theirs)
    n = min(len(a), len(b))
    apart = np.abs(a[:n] - b[:n])
    row = {"first_3": float(apart[:3].max()), "all": float(apart.max()), "n": n}
    found = {}
    for program in ("pareto", "trl_compact", "float64"):
        path = folder / f"{rig}-{program}-0.npy"
        if path.exists():
            found[program] = np.load(path, allow_pickle=False).astype(np.float64)
    for one, other in (("pareto", "trl_compact"), ("pareto", "float64"), ("trl_compact", "float64")):
        if one in found and other in found and found[one].shape == found[other].shape:
            apart = np.linalg.norm(found[one] - found[other]) / np.linalg.norm(found[other])
            row[f"gradient {one} : {other}"] = float(apart)
    return row | {"losses_pareto": a[:n].tolist(), "losses_trl": b[:n].tolist()}


def targets(rigs):
    """(what, where, bound, is at most, value) of every target that was measured."""
    for rig, facts in rigs.items():
        own = facts["programs"].get("pareto")
        if own is None:
            continue
        if rig in GFLOP:
            yield "matmul GFLOP a step", rig, GFLOP[rig], True, own["gflop_first_step"]
            yield "peak MB over start", rig, OVER_START_MB[rig], True, own["over_start_mb"]
        if "agreement" in facts:
            apart = facts["agreement"]
            yield "first 3 losses against TRL", rig, FIRST_3, True, apart["first_3"]
            if apart["n"] >= 20:
                yield "first 20 losses against TRL", rig, FIRST_20, True, apart["all"]
            if (both := "gradient pareto : trl_compact") in apart:
                yield "gradient of step 1 against TRL, relative", rig, GRADIENT, True, apart[both]
        for name, other in facts.get("ratios", {}).items():
            if not name.startswith("pareto / trl_compact"):
                continue
            steady = RAGGED if rig not in GFLOP else STEADY
            yield f"tokens/s, steady, wall ({name})", rig, steady, False, other["steady_wall"]
            yield f"tokens/s, steady, CPU s ({name})", rig, steady, False, other["steady_cpu"]
            yield f"tokens/s, one epoch, wall ({name})", rig, ONE_EPOCH, False, other["one_epoch_wall"]
            yield f"tokens/s, one epoch, CPU s ({name})", rig, ONE_EPOCH, False, other["one_epoch_cpu"]


def collect(folder, known):
    """Everything measured on one device, by rig."""
    found, losses = read(folder)
    rigs = {}
    for rig in known:
        programs = {p: r for (name, p), r in found.items() if name == rig}
        if not programs:
            continue
        facts = {"programs": {p: summary(programs[p]) for p in PROGRAMS if p in programs}}
        compared = [(o, t) for o in ("pareto", "pareto_unsorted") for t in PROGRAMS if t.startswith("trl")]
        compared.append(("pareto_unsorted", "pareto_unsorted_apart"))
        facts["ratios"] = {
            f"{o} / {t}": ratios(programs[o], programs[t])
            for o, t in compared
            if o in programs and t in programs
        }
        if "pareto" in programs and "trl_compact" in programs:
            facts["agreement"] = agreement(folder, rig, losses[rig, "pareto"], losses[rig, "trl_compact"])
        rigs[rig] = facts
    return rigs


def machine():
    import torch

    names = ("torch", "transformers", "trl", "peft", "numpy")
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": 2,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {name: version(name) for name in names},
    }


def machine_line(where):
    """What `machine` found, in one sentence."""
    versions = ", ".join(f"{n} {v}" for n, v in where["versions"].items())
    return (
        f"{where['processor']}, {where['cores']} cores, {where['platform']}, Python {where['python']}, {versions}; "
        f"{where['threads']} threads."
    )


def checked(rigs):
    """The targets as rows of bench.json."""
    rows = []
    for what, rig, bound, at_most, value in targets(rigs):
        met = value <= bound if at_most else value >= bound
        rows.append(
            {"what": what, "rig": rig, "bound": bound, "at_most": at_most, "value": value, "met": bool(met)}
        )
    return rows


def program_table(rigs):
    lines = [
        "| rig | program | GFLOP, first step | MB over start | peak MB | CPU s/step | wall s/step | tokens/s (wall) | tokens/CPU s |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for rig, facts in rigs.items():
        for program, row in facts["programs"].items():
            lines.append(
                f"| {TITLES[rig]} | {PROGRAMS[program]} | {row['gflop_first_step']:.1f} | {row['over_start_mb']:.0f} | "
                f"{row['peak_mb']:.0f} | {row['cpu_s_per_step']:.2f} | {row['wall_s_per_step']:.2f} | "
                f"{row['tokens_per_wall_s']:,.0f} | {row['tokens_per_cpu_s']:,.0f} |"
            )
    return lines


def ratio_table(rigs):
    lines = [
        "| rig | times as many tokens a second | steady, wall | steady, CPU s | one epoch, wall | one epoch, CPU s | steady, wall, each repeat |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for rig, facts in rigs.items():
        for name, row in facts["ratios"].items():
            ours, theirs = name.split(" / ")
            each = ", ".join(f"{v:.2f}" for v in row["steady_wall_each"])
            lines.append(
                f"| {TITLES[rig]} | {PROGRAMS[ours]} : {PROGRAMS[theirs]} | {row['steady_wall']:.2f} | {row['steady_cpu']:.2f} | "
                f"{row['one_epoch_wall']:.2f} | {row['one_epoch_cpu']:.2f} | {each} |"
            )
    return lines


def shares(rigs, threads):
    """Share of the machine that each program on each rig got: CPU seconds over seconds times threads."""
    return [
        row["cpu_s_per_step"] / row["wall_s_per_step"] / threads
        for rig in rigs.values()
        for row in rig["programs"].values()
    ]


def target_table(rows, disturbed):
    lines = ["| target | rig | bound | measured | |", "|---|---|---:|---:|---|"]
    for row in rows:
        sign = "<=" if row["at_most"] else ">="
        share = row["value"] / row["bound"]
        verdict = f"{'met' if row['met'] else '**missed**'}, at {share:.2f} of the bound"
        if disturbed and "wall" in row["what"]:
            verdict = f"{share:.2f} of the bound, but disturbed: no evidence"
        lines.append(
            f"| {row['what']} | {TITLES[row['rig']]} | {sign} {row['bound']:g} | {row['value']:.4g} | {verdict} |"
        )
    return lines


def agreement_table(rigs):
    gradients = ("pareto : trl_compact", "pareto : float64", "trl_compact : float64")
    lines = [
        "| rig | first 3 losses, largest difference | all compared | steps compared | gradient of step 1, relative: pareto to TRL "
        "| pareto to float64 | TRL to float64 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for rig, facts in rigs.items():
        row = facts.get("agreement")
        if row:
            cells = [f"{row[k]:.1e}" if (k := f"gradient {name}") in row else "-" for name in gradients]
            lines.append(
                f"| {TITLES[rig]} | {row['first_3']:.1e} | {row['all']:.1e} | {row['n']} | {' | '.join(cells)} |"
            )
    return lines


def page(facts):
    """bench.md."""
    where = facts["machine"]
    got = shares(facts["cpu"], where["threads"])
    counts = sorted({row["repeats"] for rig in facts["cpu"].values() for row in rig["programs"].values()})
    repeats = " or ".join(map(str, counts))
    low, high = min(got, default=0.0), max(got, default=0.0)
    lines = [
        "# DPO training steps beside TRL",
        "",
        "Written by `python tests/bench/bench_core.py`; no figure is edited by hand.",
        "",
        machine_line(where),
        "",
        f"Llama of 4 layers, hidden 256, 4 heads, feed-forward 1,024, untied; float32; {facts['batch']} pairs a step, prompts of "
        "128 and responses of 64 tokens unless said otherwise; fused AdamW at 1e-3, clipping at 1. Both programs start from the "
        'same weights and get the same token ids in the same batches, except where "random order" is said. Every cell is a '
        "process of its own; repeats alternate between the programs; figures are medians over the repeats, of which there are "
        f"{repeats}; a repeat is the median of its timed steps.",
        "",
        "- **GFLOP**: matrix products of forward and backward pass of the first step, as `torch.utils.flop_counter` sees them (it "
        "does not see attention on a CPU, in either program). The live reference pass of TRL is in it; ours, done once before, "
        'is not: it is in "one epoch".',
        "- **MB over start**: highest resident memory while training minus resident memory when it began, freed memory given "
        "back first.",
        "- **Tokens** are those of the layout that nobody shares, each response with its prompt, the same for everyone.",
        f"- Other programs ran on the machine: the cells got between {low:.0%} and {high:.0%} of two cores, so wall times say "
        "little. CPU seconds (user and system, all threads) are what to compare.",
        "",
        "## Targets",
        "",
        *target_table(facts["targets"], disturbed=low < 0.5),
        "",
        "## Both programs",
        "",
        *program_table(facts["cpu"]),
        "",
        "## Speed against TRL",
        "",
        '"One epoch" counts our reference pass over the same examples.',
        "",
        *ratio_table(facts["cpu"]),
        "",
        "## Numbers against TRL (response positions only)",
        "",
        *agreement_table(facts["cpu"]),
        "",
        "What of this is rounding, and of which program, is told beside other seeds in [rounding.md](rounding.md).",
        "",
        "## GPU",
        "",
    ]
    if facts["cuda"]:
        lines += [*program_table(facts["cuda"]), "", *ratio_table(facts["cuda"])]
    else:
        lines.append(
            "**Nothing here was measured on a GPU**: there was none. `python tests/bench/bench_core.py --device cuda` makes the "
            "same table for a Llama of a billion weights in bf16 where there is one; the targets there (1.5 times the tokens a "
            "second, 0.6 of the peak memory, losses within 1e-2) stay open."
        )
    return "\n".join(lines) + "\n"


def write(scratch, out, known, batch):
    """Write bench.json and bench.md from all cells that there are."""
    rigs = collect(scratch / "cpu", known)
    facts = {
        "machine": machine(),
        "batch": batch,
        "targets": checked(rigs),
        "cpu": rigs,
        "cuda": collect(scratch / "cuda", known),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps(facts, indent=1) + "\n")
    (out / "bench.md").write_text(page(facts))
