"""The demo on other problems of the same kind: `python tests/bench/demo_seeds.py [--out runs] [--seeds 0 1 2 3]`.

Every run is an ordinary sweep that resumes; the table goes to reports/demo_seeds/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pareto

CONFIG = Path("configs/demo.yaml")
REPORT = Path("reports/demo_seeds")
FIGURES = (
    "optimality",
    "optimality_heldout",
    "hypervolume_ratio",
    "coverage",
    "mixture_ratio",
    "kl_to_exact_nats",
)


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 3])
    args = parser.parse_args()
    rows = []
    for seed in args.seeds:
        run = pareto.sweep(CONFIG, out=args.out / f"demo_s{seed}", set=[f"task.seed={seed}"])
        exact = run.exact or {}
        trained_on = exact["trained_on"]["hypervolume_ratio"]
        outside = max(record.facts["outside_mass"] for record in run)
        cells = [*(f"{exact[name]:.3f}" for name in FIGURES), f"{trained_on:.3f}", f"{outside:.4f}"]
        rows.append([str(seed), *cells, f"{run.content['cost']['wall_s']:.0f}"])
    header = ["task.seed", *FIGURES, "ratio on trained prompts", "largest outside mass", "work, s"]
    lines = [
        "# The demo on other problems",
        "",
        "`configs/demo.yaml` with `--set task.seed=N`: five policies each. Ratio, coverage and mixture ratio are on held-out",
        "prompts. Written by `python tests/bench/demo_seeds.py`.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)),
        "",
    ]
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "seeds.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
