"""Adaptive weights against cell centres with real MODPO cells: `python tests/bench/adaptive_lab.py [--out runs/adaptive_lab]`.

Every problem (a `task.seed`) has one run folder; every arm is an ordinary sweep in it, which resumes and shares what is the
same (reference, corners). The reference point is fixed by the corners before any other policy is scored. Figures are of
held-out prompts; choices rest on the others. Written to reports/adaptive_lab/.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pareto

CONFIG = Path("configs/lab_adaptive.yaml")
ARMS = {
    "centres_21": ["weights.kind=cells", "weights.n=null", "weights.divisions=5"],
    "centres_28": ["weights.kind=cells", "weights.n=null", "weights.divisions=6"],
    "qlognehvi_20": ["weights.kind=qlognehvi", "weights.n=20"],
    "linear_support_20": ["weights.kind=linear_support", "weights.n=20"],
}
"""Every arm has the three corners beside what its name counts, or among them where the weights are chosen."""


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive_lab"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    args = parser.parse_args()
    for arm in args.arms:
        for seed in args.seeds:
            folder = args.out / f"seed_{seed}"
            kept = args.out / "fronts" / f"{arm}_{seed}.json"
            if not kept.exists():
                pareto.sweep(CONFIG, out=folder, set=[f"task.seed={seed}", f"seeds=[{seed}]", *ARMS[arm]])
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / "front.json", kept)
            front = json.loads(kept.read_text())
            print(arm, seed, len(front["policies"]), front["indicators"]["hypervolume"], flush=True)


if __name__ == "__main__":
    main()
