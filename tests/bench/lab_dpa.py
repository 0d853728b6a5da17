"""Directional preference alignment on the lab, round after round: exact values of each round's policy at 21 directions.

Reads the run of configs/lab_dpa.yaml (trains what is missing of it) and writes reports/align/dpa.*:
`python tests/bench/lab_dpa.py [--out runs/lab_dpa]`.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

import pareto
from pareto.front import hypervolume, hypervolume_with_mixtures
from pareto.models.prompt_policy import load_told
from pareto.state import atomic
from pareto.study.config import load_study
from pareto.study.plan import plan_study
from pareto.tasks.lab import exact, language

CONFIG = Path("configs/lab_dpa.yaml")
REPORT = Path("reports/align")


def measure(out: Path) -> dict[str, Any]:
    """Hypervolume, KL and utility of every round on both splits."""
    run = pareto.load(out) if (out / "front.json").exists() else pareto.sweep(CONFIG, out=out)
    study = load_study(CONFIG)
    lab, plan = study.task, plan_study(study)
    objectives = lab.objectives
    names = {cell.spec["round"]: cell.id for cell, _ in plan.cells if "round" in cell.spec}
    reward = next(cell.id for cell, _ in plan.cells if cell.spec.get("part") == "reward")
    reference = out / "prerequisites" / plan.task_needs["reference"]
    with np.load(reference / "enumerated.npz") as z:
        ref_logps = z["ref_logps"]
    rewards, point = lab.world.rewards(), np.asarray(run.ref_point)
    directions = np.array([objectives.vector(w) for w in plan.weights])
    order = np.argsort(np.arctan2(directions[:, 1], directions[:, 0]))
    directions = directions[order][::5]  # five of 21, axes and ends among them, show a front move
    rounds = []
    for t, name in sorted(names.items()):
        kept = out.with_name(f"{out.name}_rounds") / f"{name}.json"
        if not kept.exists():
            folder = out / "prerequisites" / name
            logps = [_enumerate(lab, reference, folder, objectives.named(v)) for v in directions]
            kept.parent.mkdir(exist_ok=True)
            row = {"round": t, **_standing(lab, logps, directions, ref_logps, rewards, point)}
            atomic.write_json(kept, row)
        row = json.loads(kept.read_text())
        for split in ("selection", "heldout"):
            reached = np.array(row[split]["values"])
            row[split]["hypervolume_with_mixtures"] = float(hypervolume_with_mixtures(reached, point))
            row[split]["along_directions"] = (reached * directions).sum(1).tolist()
        rounds.append(row)
    start = {
        split: exact.values(ref_logps[p], rewards[:, p]).mean(0).tolist()
        for split in ("selection", "heldout")
        for p in [lab.world.split(split)]
    }
    angles = np.degrees(np.arctan2(run.weights[:, 1], run.weights[:, 0]))
    between = (angles > -1e-6) & (angles < 90 + 1e-6)
    fit = json.loads((out / "prerequisites" / reward / "reward_fit.json").read_text())
    return {
        "objectives": list(objectives.names),
        "directions": directions.tolist(),
        "reference": start,
        "rounds": rounds,
        "between_axes": int(between.sum()),
        "tau_between_axes": [float(kendalltau(angles[between], v)[0]) for v in run.values[between].T],
        "reward_model": fit,
        "cost": dict(run.content["cost"]),
        "config": str(CONFIG),
        "seeds": list(study.seeds),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "platform": platform.platform(),
    }


def _standing(
    lab: Any,
    logps: list[np.ndarray],
    directions: np.ndarray,
    ref_logps: np.ndarray,
    rewards: np.ndarray,
    point: np.ndarray,
) -> dict[str, Any]:
    """One round's policies on both splits."""
    row = {}
    for split in ("selection", "heldout"):
        p = lab.world.split(split)
        values = np.stack([exact.values(own[p], rewards[:, p]).mean(0) for own in logps])
        kl = float(np.mean([exact.kl(own[p], ref_logps[p]).mean() for own in logps]))
        front = exact.compare_fronts(values, directions, kl, point, ref_logps[p], rewards[:, p])
        row[split] = {
            "hypervolume": float(hypervolume(values, point)),
            "ratio_at_equal_kl": front["hypervolume_ratio"],
            "kl_nats": kl,
            "utility": float((values * directions).sum(1).mean()),
            "tau": [float(kendalltau(directions[:, j], values[:, j])[0]) for j in range(values.shape[1])],
            "values": values.tolist(),
        }
    return row


def _enumerate(lab: Any, reference: Path, folder: Path, weights: dict[str, float]) -> np.ndarray:
    model, _ = lab.load_reference(reference, "cpu", "float32")
    told = load_told(model, folder, weights)
    return lab.enumerate(told, np.arange(lab.prompts), language.make_tokenizer(lab.world))[0]


def table(facts: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "# Directional preference alignment on the lab, round after round",
        "",
        f"{facts['config']}, seed {facts['seeds'][0]}; exact values at {len(facts['directions'])} directions from -45 to 135 "
        "degrees, by the lab's true rewards; the method saw its own reward model only (R^2 on prompts kept from it: "
        + ", ".join(f"{k} {v:.3f}" for k, v in facts["reward_model"]["r2"].items())
        + "). Hypervolume is against the run's reference point, with mixtures of neighbours and of the five points alone; "
        "the least gain is that of v.r over the five directions since the round before; the ratio is to the exact optima at "
        "the same directions and the same mean KL. Written by `python tests/bench/lab_dpa.py`.",
        "",
        "| round | hypervolume with mixtures | held-out | five points alone | held-out | mean v.r | held-out | least gain | held-out | ratio at equal KL | held-out | KL, nats |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    gains = {
        split: np.diff([row[split]["along_directions"] for row in facts["rounds"]], axis=0)
        for split in ("selection", "heldout")
    }
    for t, row in enumerate(facts["rounds"]):
        a, b = row["selection"], row["heldout"]
        least = [f"{gains[s][t - 1].min():+.2f}" if t else "" for s in ("selection", "heldout")]
        lines.append(
            f"| {row['round']} | {a['hypervolume_with_mixtures']:.2f} | {b['hypervolume_with_mixtures']:.2f} "
            f"| {a['hypervolume']:.2f} | {b['hypervolume']:.2f} "
            f"| {a['utility']:.2f} | {b['utility']:.2f} | {' | '.join(least)} "
            f"| {a['ratio_at_equal_kl']:.3f} | {b['ratio_at_equal_kl']:.3f} | {a['kl_nats']:.2f} |"
        )
    outward = all((g > 0).all() for g in gains.values())
    taus = ", ".join(f"{n} {t:.2f}" for n, t in zip(facts["objectives"], facts["tau_between_axes"]))
    alone = [row["heldout"]["hypervolume"] for row in facts["rounds"]]
    verdict = (
        "rises in every round at every direction" if outward else "falls in some round at some direction"
    )
    lines += [
        "",
        f"What is asked for, v.r, {verdict}, on both splits. The five points alone "
        + ("cover more in every round" if (np.diff(alone) > 0).all() else "do not cover more in every round")
        + " on held-out prompts: the policies at the axes go on giving up the other objective, and five points are few.",
        "",
        f"Kendall's tau between the angle of a direction and each objective's held-out value over the run's "
        f"{facts['between_axes']} directions from one axis to the other: {taus}.",
        "",
        "Negative weights, last round, held-out prompts; the reference is at "
        + ", ".join(f"{n} {v:.2f}" for n, v in zip(facts["objectives"], facts["reference"]["heldout"]))
        + ":",
        "",
        "| direction | " + " | ".join(facts["objectives"]) + " |",
        "|---|" + "---|" * len(facts["objectives"]),
    ]
    last = facts["rounds"][-1]["heldout"]["values"]
    for v, value in zip(facts["directions"], last):
        if min(v) < 0:
            lines.append(f"| {', '.join(f'{x:.2f}' for x in v)} | {' | '.join(f'{x:.2f}' for x in value)} |")
    cost = facts["cost"]
    lines += [
        "",
        f"Cost of the whole study: {cost['train_tokens']:,} trained and {cost['generated_tokens']:,} generated tokens, "
        f"{cost['wall_s']:.0f} s of work.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/lab_dpa"))
    facts = measure(parser.parse_args().out)
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "dpa.json").write_text(json.dumps(facts, indent=1) + "\n")
    (REPORT / "dpa.md").write_text(table(facts))


if __name__ == "__main__":
    main()
