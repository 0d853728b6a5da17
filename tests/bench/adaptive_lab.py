"""Adaptive weights against cell centres with real MODPO cells: `python tests/bench/adaptive_lab.py [--out runs/adaptive_lab]`.

Every problem (a `task.seed`) has one run folder; every arm is an ordinary sweep in it, which resumes and shares what is the
same (reference, corners). The reference point is fixed by the corners before any other policy is scored. Figures are of
held-out prompts; choices rest on the others.

"Equal KL": the policies of an arm are moved together along pi^a pi_ref^(1 - a), normalised, until their mean KL to the
reference is that of the other arm; both ways round, because which of the two strengths is the right one is not for a table
to say. On the lab this is exact: every reply can be enumerated.

Written to reports/adaptive_lab/.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pareto
from pareto import front as tools
from pareto.front.engines import volume
from pareto.models.adapters import load_policy
from pareto.study.config import load_study
from pareto.study.measured import resampled_means
from pareto.tasks.lab import exact, language

CONFIG = Path("configs/lab_adaptive.yaml")
REPORT = Path("reports/adaptive_lab")
ARMS = {
    "centres_21": ["weights.kind=cells", "weights.n=null", "weights.divisions=5"],
    "qlognehvi_20": ["weights.kind=qlognehvi", "weights.n=20"],
    "centres_28": ["weights.kind=cells", "weights.n=null", "weights.divisions=6"],
    "linear_support_20": ["weights.kind=linear_support", "weights.n=20"],
}
"""Sweeps. Those over cell centres train the corners too (MODPO needs them as margins); a table row says what it counts."""
ROWS = {
    "21 cell centres": ("centres_21", slice(3, None)),
    "21 cell centres + 3 corners": ("centres_21", slice(None)),
    "28 cell centres": ("centres_28", slice(3, None)),
    "28 cell centres + 3 corners": ("centres_28", slice(None)),
    "qlognehvi, 15 with its corners": ("qlognehvi_20", slice(15)),
    "qlognehvi, 20 with its corners": ("qlognehvi_20", slice(20)),
    "linear_support, 15 with its corners": ("linear_support_20", slice(15)),
    "linear_support, 20 with its corners": ("linear_support_20", slice(20)),
}
PAIRS = [
    ("qlognehvi, 15 with its corners", "21 cell centres"),
    ("qlognehvi, 20 with its corners", "28 cell centres"),
    ("linear_support, 15 with its corners", "21 cell centres"),
    ("linear_support, 20 with its corners", "28 cell centres"),
]
"""(arm, what it has to reach)."""
KINDS = {
    "as_trained": "as trained",
    "at_their_kl": "both at the mean KL of the cell centres",
    "at_our_kl": "both at the mean KL of the chosen weights",
}


def main() -> None:
    """Run what is missing, then write the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive_lab"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--arms", nargs="*", choices=ARMS, default=["centres_21", "qlognehvi_20", "centres_28"]
    )
    args = parser.parse_args()
    for arm in args.arms:
        for seed in args.seeds:
            folder = args.out / f"seed_{seed}"
            kept = args.out / "fronts" / f"{arm}_{seed}.json"
            if not kept.exists():
                pareto.sweep(CONFIG, out=folder, set=[*_seed(seed), *ARMS[arm]])
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / "front.json", kept)
            front = json.loads(kept.read_text())
            print(arm, seed, len(front["policies"]), front["indicators"]["hypervolume"], flush=True)
    warnings.simplefilter("ignore", tools.OutsideReferenceWarning)  # counted in the fronts
    write_report(args.out, args.seeds)


def _seed(seed: int) -> list[str]:
    return [f"task.seed={seed}", f"seeds=[{seed}]"]


class Problem:
    """One lab problem: its enumerated policies on held-out prompts, by id."""

    def __init__(self, out: Path, seed: int) -> None:
        self.root, self.seed = out / f"seed_{seed}", seed
        self.lab: Any = load_study(CONFIG, _seed(seed)).task
        self.prompts = self.lab.world.split("heldout")
        self.rewards = self.lab.world.rewards()[:, self.prompts]
        self.reference = self.root / "prerequisites" / next(iter(self.lab.prerequisites().values())).id
        with np.load(self.reference / "enumerated.npz", allow_pickle=False) as arrays:
            self.ref = arrays["ref_logps"][self.prompts]
        self._known: dict[str, np.ndarray] = {}

    def logps(self, policy: str) -> np.ndarray:
        """[P, Y] log-probabilities of a policy; kept on disk, because walking all replies takes a second."""
        if policy not in self._known:
            stored = self.root.parent / "enumerated" / f"{self.seed}_{policy}.npz"
            if not stored.exists():
                model, tokenizer = self.lab.load_reference(self.reference, "cpu", "float32")
                policy_model = load_policy(model, self.root / "policies" / policy)
                ids = language.prompt_ids(self.lab.world, tokenizer)[self.prompts]
                choices = language.choice_ids(self.lab.world, tokenizer)
                found, _ = exact.enumerate_logps(policy_model, ids, choices, language.EOS)
                stored.parent.mkdir(exist_ok=True)
                np.savez_compressed(stored, logps=found.astype(np.float32))
            with np.load(stored, allow_pickle=False) as arrays:
                self._known[policy] = arrays["logps"].astype(np.float64)
        return self._known[policy]

    def moved(self, policies: Sequence[str], share: float) -> tuple[np.ndarray, float]:
        """[n, P, m] values per prompt and the mean KL of pi^share pi_ref^(1 - share)."""
        tilted = [exact.tilt(self.ref, share * (self.logps(p) - self.ref)) for p in policies]
        values = np.array([exact.values(t, self.rewards) for t in tilted])
        return values, float(np.mean([exact.kl(t, self.ref).mean() for t in tilted]))

    def at_kl(self, policies: Sequence[str], nats: float) -> np.ndarray:
        """[n, P, m] values at a mean KL."""
        low, high = 0.0, 8.0
        for _ in range(25):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.moved(policies, middle)[1] < nats else (low, middle)
        return self.moved(policies, high)[0]


def write_report(out: Path, seeds: Sequence[int]) -> None:
    """Measure the arms that are there and write table and figures."""
    cells: dict[str, Any] = {"rows": {}, "pairs": {}}
    for seed in seeds:
        fronts = {
            arm: json.loads((out / "fronts" / f"{arm}_{seed}.json").read_text())
            for arm in ARMS
            if (out / "fronts" / f"{arm}_{seed}.json").exists()
        }
        if "centres_21" not in fronts:
            continue
        problem = Problem(out, seed)
        point = np.array(fronts["centres_21"]["ref_point"])
        chosen = {}
        for row, (arm, part) in ROWS.items():
            if arm in fronts:
                chosen[row] = [p["id"] for p in fronts[arm]["policies"]][part]
                values, kl = problem.moved(chosen[row], 1.0)
                interval = tools.hypervolume_interval(values, point)
                cells["rows"].setdefault(row, {})[seed] = {
                    "policies": len(values),
                    "hypervolume": float(volume(values.mean(axis=1), point)),
                    "interval": [interval.low, interval.high],
                    "mean_kl_nats": kl,
                    "optimality_heldout": _optimality(fronts[arm], part),
                    "train_tokens": fronts[arm]["cost"]["train_tokens"],
                }
        for one, other in PAIRS:
            if one in chosen and other in chosen:
                found = _compare(problem, chosen[one], chosen[other], point)
                cells["pairs"].setdefault(f"{one} | {other}", {})[seed] = found
    cells["settings"] = {"python": platform.python_version(), "numpy": np.__version__, "config": str(CONFIG)}
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "adaptive.json").write_text(json.dumps(cells, indent=1) + "\n")
    (REPORT / "adaptive.md").write_text(_table(cells))


def _optimality(front: Any, part: slice) -> float:
    return float(np.mean([p["optimality_heldout"] for p in front["policies"][part]]))


def _compare(problem: Problem, ours: list[str], theirs: list[str], point: np.ndarray) -> dict[str, Any]:
    """Ratio of hypervolumes as trained and at equal mean KL, with paired intervals over held-out prompts."""
    (our_values, our_kl), (their_values, their_kl) = (problem.moved(p, 1.0) for p in (ours, theirs))
    return {
        "as_trained": _ratio(our_values, their_values, point),
        "at_their_kl": _ratio(problem.at_kl(ours, their_kl), their_values, point),
        "at_our_kl": _ratio(our_values, problem.at_kl(theirs, our_kl), point),
        "mean_kl_nats": [our_kl, their_kl],
    }


def _ratio(ours: np.ndarray, theirs: np.ndarray, point: np.ndarray) -> list[float]:
    """[ratio, low, high]: percentile interval over the same resampled prompts for both."""
    draw = np.random.default_rng(0)
    both = resampled_means(np.concatenate([ours, theirs]), draw)
    drawn = [volume(v[: len(ours)], point) / max(volume(v[len(ours) :], point), 1e-300) for v in both]
    ratio = volume(ours.mean(axis=1), point) / volume(theirs.mean(axis=1), point)
    return [float(ratio), *(float(q) for q in np.quantile(drawn, [0.025, 0.975]))]


def _table(cells: dict[str, Any]) -> str:
    lines = [
        "# Adaptive weights on the lab: real MODPO cells, three objectives in strong conflict, beta .3",
        "",
        "Hypervolume of held-out values [95 % interval over prompts], one column per problem (`task.seed`, training seed the",
        "same number); all arms of a problem share its reference point, fixed by the corners. Mean KL to the reference and",
        "optimality are means over problems; where objectives conflict, even the best policy of balanced weights gains little",
        "over the reference, so a small regret is a small optimality there. Written by `python tests/bench/adaptive_lab.py`.",
        "",
    ]
    seeds = sorted({s for row in cells["rows"].values() for s in row})
    header = ["weights", *(f"problem {s}" for s in seeds), "mean KL, nats", "optimality"]
    lines += [f"| {' | '.join(header)} |", f"| {' | '.join(['---'] * len(header))} |"]
    for name, row in cells["rows"].items():
        shown = [
            f"{row[s]['hypervolume']:.1f} [{row[s]['interval'][0]:.1f}, {row[s]['interval'][1]:.1f}]"
            if s in row
            else "-"
            for s in seeds
        ]
        means = [
            f"{np.mean([r[k] for r in row.values()]):.2f}" for k in ("mean_kl_nats", "optimality_heldout")
        ]
        lines.append(f"| {' | '.join([name, *shown, *means])} |")
    lines += [
        "",
        "Ratio of hypervolumes [95 % paired interval over prompts]; at equal KL one front is moved to the mean KL of the other.",
        "",
    ]
    header = ["comparison", *(f"problem {s}" for s in seeds), "mean"]
    lines += [f"| {' | '.join(header)} |", f"| {' | '.join(['---'] * len(header))} |"]
    for pair, row in cells["pairs"].items():
        for kind, words in KINDS.items():
            shown = ["{:.3f} [{:.3f}, {:.3f}]".format(*row[s][kind]) if s in row else "-" for s in seeds]
            mean = f"{np.mean([r[kind][0] for r in row.values()]):.3f}"
            name = f"{pair.replace(' | ', ' / ')}, {words}"
            lines.append(f"| {' | '.join([name, *shown, mean])} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
