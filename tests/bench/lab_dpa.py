"""Directional preference alignment on the lab, round after round: does the front move outward, and do directions steer?

The policies are those of the table over all trainers (`align_methods.py`, which trains what is missing of them). Those of every
round are told the axes, the diagonal, and the diagonal with each objective turned round in it, and enumerated; those of the last
round also the arcs from the diagonal of the other objectives to each axis. Writes reports/align/dpa.*:
`python tests/bench/lab_dpa.py [--out runs/align_methods] [--only m2-seed0 ...]`. Studies that were not asked for are taken from
the report.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from align_methods import STEPS, folder_of, settings, trained
from scipy.stats import kendalltau

from pareto.front import hypervolume
from pareto.models.prompt_policy import load_told
from pareto.state import atomic
from pareto.study.config import load_study
from pareto.study.plan import plan_study
from pareto.tasks.lab import exact

CONFIG = Path("configs/lab_dpa.yaml")
REPORT = Path("reports/align")
SEEDS = 3
STUDIES = {f"m{m}-seed{seed}": (m, seed) for m in STEPS for seed in range(SEEDS)}
SPLITS = ("selection", "heldout")


def directions_of(m: int) -> np.ndarray:
    """[2 m + 1, m]: the axes, the diagonal, and the diagonal with the sign of each objective turned round in it."""
    turned = np.ones((m, m)) - 2 * np.eye(m)
    return np.concatenate([np.eye(m), np.ones((1, m)) / np.sqrt(m), turned / np.sqrt(m)])


def arc(m: int, j: int) -> np.ndarray:
    """[11, m]: from the diagonal of the other objectives to the axis of one."""
    others = (np.ones(m) - np.eye(m)[j]) / np.sqrt(m - 1)
    t = np.linspace(0, np.pi / 2, 11)[:, None]
    return np.cos(t) * others + np.sin(t) * np.eye(m)[j]


class Rounds:
    """The policies of one study's rounds, measured.

    Args:
        name: of `STUDIES`.
        out: folder of the table's runs.
    """

    def __init__(self, name: str, out: Path) -> None:
        self.m, self.seed = STUDIES[name]
        folder, run = folder_of(out, "dpa", self.m), trained("dpa", self.m, SEEDS, out)
        study = load_study(CONFIG, settings("dpa", self.m, SEEDS))
        self.lab: Any = study.task
        plan = plan_study(study)
        of_seed = [cell for cell, _ in plan.cells if cell.maker == "method" and cell.seed == self.seed]
        made = folder / "prerequisites"
        self.folders = {cell.spec["round"]: made / cell.id for cell in of_seed if "round" in cell.spec}
        reward = next(cell.id for cell in of_seed if cell.spec.get("part") == "reward")
        self.reward_fit = json.loads((made / reward / "reward_fit.json").read_text())
        self.reference = made / plan.task_needs["reference"]
        with np.load(self.reference / "enumerated.npz") as z:
            self.ref_logps = z["ref_logps"]
        self.rewards, self.point = self.lab.world.rewards(), np.asarray(run.ref_point)

    def enumerated(self, t: int, direction: np.ndarray) -> np.ndarray:
        """[P, Y] log-probabilities of round t's policy, told a direction."""
        model, tokenizer = self.lab.load_reference(self.reference, "cpu", "float32")
        told = load_told(model, self.folders[t], self.lab.objectives.named(direction))
        return self.lab.enumerate(told, np.arange(self.lab.prompts), tokenizer)[0]

    def values(self, logps: np.ndarray, split: str) -> np.ndarray:
        """[m] mean true rewards."""
        p = self.lab.world.split(split)
        return exact.values(logps[p], self.rewards[:, p]).mean(0)

    def round(self, t: int) -> dict[str, Any]:
        """One round at all of `directions_of`, on both splits."""
        directions = directions_of(self.m)
        logps = [self.enumerated(t, v) for v in directions]
        row: dict[str, Any] = {}
        for split in SPLITS:
            p = self.lab.world.split(split)
            values = np.stack([self.values(own, split) for own in logps])
            kl = float(np.mean([exact.kl(own[p], self.ref_logps[p]).mean() for own in logps]))
            front = exact.compare_fronts(
                values, directions, kl, self.point, self.ref_logps[p], self.rewards[:, p]
            )
            row[split] = {
                "along": (values * directions).sum(1).tolist(),
                "values": values.tolist(),
                "kl_nats": kl,
                "hypervolume": float(hypervolume(values, self.point)),
                "ratio_at_equal_kl": front["hypervolume_ratio"],
            }
        return row

    def monotone(self, t: int) -> dict[str, list[float]]:
        """Kendall's tau of each objective's value along its arc, on both splits."""
        found: dict[str, list[float]] = {split: [] for split in SPLITS}
        for j in range(self.m):
            logps = [self.enumerated(t, v) for v in arc(self.m, j)]
            for split, taus in found.items():
                along = [self.values(own, split)[j] for own in logps]
                taus.append(float(kendalltau(np.arange(len(along)), along)[0]))
        return found

    def facts(self) -> dict[str, Any]:
        """All that the page tells."""
        return {
            "m": self.m,
            "seed": self.seed,
            "objectives": list(self.lab.objectives.names),
            "reference": {split: self.values(self.ref_logps, split).tolist() for split in SPLITS},
            "reward_model": self.reward_fit["r2"],
            "rounds": [self.round(t) for t in sorted(self.folders)],
            "tau": self.monotone(max(self.folders)),
            "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
            "platform": platform.platform(),
        }


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The report as Markdown."""
    ordered = sorted(rows.values(), key=lambda r: (r["m"], r["seed"]))
    lines = [
        "# Directional preference alignment on the lab, round after round",
        "",
        f"{CONFIG} as in methods.md: "
        + ", ".join(f"{n:,} steps (m = {m})" for m, n in STEPS.items())
        + " of 144 replies in all, reward model included. Values are exact, by the lab's true rewards; the method saw its own reward "
        "model only. Of every round the policy is told the axes, the diagonal, and the diagonal with each objective turned round in it; "
        "the least gain is that of v.r over these directions since the round before. Hypervolume is against the run's reference "
        "point; the ratio is to the exact optima at the same directions and the same mean KL. Of two numbers the second is on "
        "held-out prompts. Written by `python tests/bench/lab_dpa.py`.",
        "",
        "| m | seed | round | mean v.r | least gain | hypervolume | ratio at equal KL | KL, nats |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in ordered:
        gains = {s: np.diff([row[s]["along"] for row in r["rounds"]], axis=0) for s in SPLITS}
        for t, row in enumerate(r["rounds"]):
            a, b = (row[s] for s in SPLITS)
            least = " / ".join(f"{gains[s][t - 1].min():+.2f}" for s in SPLITS) if t else ""
            lines.append(
                f"| {r['m']} | {r['seed']} | {t} | {np.mean(a['along']):.2f} / {np.mean(b['along']):.2f} | {least} "
                f"| {a['hypervolume']:.4g} / {b['hypervolume']:.4g} "
                f"| {a['ratio_at_equal_kl']:.3f} / {b['ratio_at_equal_kl']:.3f} | {a['kl_nats']:.2f} |"
            )
    lines += [
        "",
        "## Do directions steer?",
        "",
        "Kendall's tau of an objective's value along 11 directions from the diagonal of the others to its axis, the smallest over "
        "objectives; and the value of an objective with a negative weight beside the reference's, the largest difference over objectives "
        "(below 0: away from all that it was told to avoid).",
        "",
        "| m | seed | tau | negative weight, against the reference | R^2 of the reward model, least |",
        "|---|---|---|---|---|",
    ]
    for r in ordered:
        m, last = r["m"], r["rounds"][-1]
        away = [max(last[s]["values"][m + 1 + j][j] - r["reference"][s][j] for j in range(m)) for s in SPLITS]
        lines.append(
            f"| {m} | {r['seed']} | {min(r['tau']['selection']):.2f} / {min(r['tau']['heldout']):.2f} "
            f"| {away[0]:+.2f} / {away[1]:+.2f} | {min(r['reward_model'].values()):.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the studies that are asked for and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/align_methods"))
    parser.add_argument("--only", nargs="+", choices=sorted(STUDIES), default=sorted(STUDIES))
    args = parser.parse_args()
    REPORT.mkdir(parents=True, exist_ok=True)
    path = REPORT / "dpa.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    for name in args.only:
        rows[name] = Rounds(name, args.out).facts()
        atomic.write_json(path, rows)
        atomic.write_text(REPORT / "dpa.md", table(rows))


if __name__ == "__main__":
    main()
