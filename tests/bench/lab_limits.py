"""What is missing to the exact optimum on the lab: data or optimisation?

Trains one corner, a plain DPO policy, at every combination of data size and length, and writes the table to
reports/lab_limits/. The corners are the hardest policies of a front: they lie furthest from the reference. Every run is an ordinary sweep that resumes: `python tests/bench/lab_limits.py [--out runs/lab_limits]`.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path

import pareto

PAIRS = (20_000, 200_000)
STEPS = (600, 1800)
CONFIG = Path("configs/demo.yaml")
REPORT = Path("reports/lab_limits")


def measure(pairs: int, steps: int, out: Path) -> dict[str, float]:
    """Standing of a policy trained on `pairs` pairs for `steps` steps of 128."""
    settings = [
        f"study=lab-limits-{pairs}-{steps}",
        f"task.pairs={pairs}",
        f"method.training.steps={steps}",
        "weights={kind: list, corners: false, list: [{helpful: 1.0, brief: 0.0}]}",
        "score.ref_point={helpful: -5.0, brief: -5.0}",
    ]
    run = pareto.sweep(CONFIG, out=out / f"{pairs}-{steps}", set=settings)
    exact = run.exact or {}
    cost = run.content["cost"]
    return {
        "pairs": pairs,
        "steps": steps,
        "passes": steps * 128 / pairs,
        "optimality": exact["optimality"],
        "optimality_heldout": exact["optimality_heldout"],
        "kl_to_exact_nats": exact["kl_to_exact_nats"],
        "wall_s": cost["wall_s"],
    }


def table(rows: list[dict[str, float]]) -> str:
    """The rows as Markdown."""
    lines = [
        "# What is missing to the exact optimum: data or optimisation",
        "",
        "Lab of configs/demo.yaml (seed 0), the corner of `helpful` (plain DPO), batches of 128 pairs.",
        "Written by `python tests/bench/lab_limits.py`.",
        "",
        "| pairs | steps | passes over the data | optimality | held-out | KL to exact, nats | work, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['pairs']:,} | {r['steps']} | {r['passes']:.2g} | {r['optimality']:.3f} | {r['optimality_heldout']:.3f} "
            f"| {r['kl_to_exact_nats']:.3f} | {r['wall_s']:.0f} |"
        )
    best = {p: max((r for r in rows if r["pairs"] == p), key=lambda r: r["optimality"]) for p in PAIRS}
    by_size = ", ".join(f"{row['optimality']:.3f} ({pairs:,} pairs)" for pairs, row in best.items())
    short, long = (
        next(r for r in rows if r["pairs"] == PAIRS[-1] and r["steps"] == s) for s in (STEPS[0], STEPS[-1])
    )
    lines += [
        "",
        f"Reading. With data to spare ({PAIRS[-1]:,} pairs) going from {STEPS[0]} to {STEPS[-1]} steps moves optimality from "
        f"{short['optimality']:.3f} to {long['optimality']:.3f}: that part was optimisation. At the best length for each data "
        f"size it is {by_size}: that part is data; on few "
        "pairs more steps repeat them and overfit.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/lab_limits"))
    args = parser.parse_args()
    rows = [measure(p, s, args.out) for p in PAIRS for s in STEPS]
    REPORT.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("torch", "transformers", "numpy")}
    facts = {"rows": rows, "versions": versions, "platform": platform.platform(), "config": str(CONFIG)}
    (REPORT / "limits.json").write_text(json.dumps(facts, indent=1) + "\n")
    (REPORT / "limits.md").write_text(table(rows))


if __name__ == "__main__":
    main()
