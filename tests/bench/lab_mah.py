"""MAH-DPO's must-haves on the lab: optimality and KL to the exact optima over weights, and whether steering is monotone.

The heads are those of the table over all trainers (`align_methods.py`, which trains what is missing of them). They are mixed at
21 values of each objective's weight, the others in equal parts, and enumerated. Writes reports/align/mah_dpo.*:
`python tests/bench/lab_mah.py [--out runs/align_methods] [--only m2-seed0 ...]`. Studies that were not asked for are taken
from the report.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from align_methods import STEPS, folder_of, settings, trained
from scipy.stats import kendalltau

from pareto.models.adapters import load_backbone
from pareto.models.mixed_heads import mix_heads
from pareto.study.config import load_study
from pareto.tasks.lab import exact, language

CONFIG = Path("configs/lab_mah_dpo.yaml")
REPORT = Path("reports/align")
SEEDS = 3
STUDIES = {f"m{m}-seed{seed}": (m, seed) for m in STEPS for seed in range(SEEDS)}
DIVISIONS = 20


def lines_of(m: int) -> list[np.ndarray]:
    """For each objective [21, m]: its weight from 0 to 1, the others in equal parts."""
    found = []
    for j in range(m):
        w = np.zeros((DIVISIONS + 1, m))
        w[:, j] = np.arange(DIVISIONS + 1) / DIVISIONS
        others = [k for k in range(m) if k != j]
        w[:, others] = (1 - w[:, [j]]) / len(others)
        found.append(w)
    return found


def steps_of(logps: np.ndarray, choices: int) -> list[np.ndarray]:
    """[S] arrays [P, C^s, C]: log-probabilities of every next phrase after every beginning, of replies [P, C^S] in lexicographic order."""
    found = []
    while logps.shape[1] > 1:
        logps = logps.reshape(len(logps), -1, choices)
        total = np.logaddexp.reduce(logps, axis=2, keepdims=True)
        found.append(logps - total)
        logps = total[..., 0]
    return found[::-1]


def mixed_exactly(heads: list[list[np.ndarray]], w: np.ndarray) -> np.ndarray:
    """[P, C^S] log-probabilities where exact policies are mixed phrase by phrase: what heads without any error of training come to."""
    total = np.zeros((len(heads[0][0]), 1))
    for phrases in zip(*heads):
        mixed = sum(x * own for x, own in zip(w, phrases))
        mixed = mixed - np.logaddexp.reduce(mixed, axis=2, keepdims=True)
        total = (total[..., None] + mixed).reshape(len(total), -1)
    return total


def measure(name: str, out: Path) -> dict[str, Any]:
    """Train one study's heads where they are missing, and enumerate their mixtures."""
    m, seed = STUDIES[name]
    folder = folder_of(out, "mah_dpo", m)
    run = trained("mah_dpo", m, SEEDS, out)
    study = load_study(CONFIG, settings("mah_dpo", m, SEEDS))
    lab: Any = study.task
    beta = study.method.beta  # type: ignore[attr-defined]
    record = next(r for r in run if r.seed == seed)
    reference = folder / record.facts["needs"]["reference"]
    heads = folder / "policies" / record.id
    tokenizer = language.make_tokenizer(lab.world)
    backbone = load_backbone(lab.load_reference(reference, "cpu", "float32")[0], heads)
    with np.load(reference / "enumerated.npz") as z:
        ref_logps = z["ref_logps"]
    rewards = lab.world.rewards()
    trained_on, choices = lab.world.split("selection"), language.choice_ids(lab.world, tokenizer).shape[1]
    exact_heads = [steps_of(exact.optimum(ref_logps, rewards, np.eye(m)[j], beta), choices) for j in range(m)]
    limit = [
        exact.standing(
            mixed_exactly(exact_heads, w)[trained_on], ref_logps[trained_on], rewards[:, trained_on], w, beta
        )
        for w in np.concatenate(lines_of(m))
    ]
    kl, optimality, taus = [], {"selection": [], "heldout": []}, {"selection": [], "heldout": []}
    seen: dict[tuple[float, ...], np.ndarray] = {}
    for j, weights in enumerate(lines_of(m)):
        values: dict[str, list[np.ndarray]] = {"selection": [], "heldout": []}
        for w in weights:
            key = tuple(np.round(w, 9).tolist())  # lines cross, and of two objectives they are one line
            if key not in seen:
                mixed = mix_heads(backbone, heads, w)
                seen[key] = lab.enumerate(mixed, np.arange(lab.prompts), tokenizer)[0]
            logps = seen[key]
            for split in values:
                p = lab.world.split(split)
                standing = exact.standing(logps[p], ref_logps[p], rewards[:, p], w, beta)
                optimality[split].append(standing.optimality)
                if split == "selection":
                    kl.append(standing.kl_to_exact_nats)
                values[split].append(exact.values(logps[p], rewards[:, p]).mean(0))
        for split, own in values.items():
            taus[split].append(float(kendalltau(weights[:, j], np.array(own)[:, j])[0]))
    return {
        "m": m,
        "seed": seed,
        "weights": len(kl),
        "kl_to_exact_nats": float(np.mean(kl)),
        "optimality": float(np.mean(optimality["selection"])),
        "optimality_heldout": float(np.mean(optimality["heldout"])),
        "limit_kl_to_exact_nats": float(np.mean([x.kl_to_exact_nats for x in limit])),
        "limit_optimality": float(np.mean([x.optimality for x in limit])),
        "tau": taus["selection"],
        "tau_heldout": taus["heldout"],
        "versions": {n: version(n) for n in ("torch", "transformers", "numpy")},
        "platform": platform.platform(),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The report as Markdown."""
    lines = [
        "# Action heads on the lab: how near the optima, and whether steering is monotone",
        "",
        f"{CONFIG} as in methods.md: one job for each number of objectives and seed, "
        + ", ".join(f"{n:,} steps (m = {m})" for m, n in STEPS.items())
        + " of 128 pairs in all, low-rank heads of rank 16 on a backbone that is trained with them. One objective's weight takes "
        f"{DIVISIONS + 1} values from 0 to 1, the others share the rest equally; KL and optimality are means over all those "
        "mixtures, tau is Kendall's between the weight and the objective's value, the smallest over objectives. Exact heads: the "
        "corners' optima mixed phrase by phrase, which is what heads without any error of training come to. Written by "
        "`python tests/bench/lab_mah.py`.",
        "",
        "| objectives | seed | mixtures | KL to exact, nats | optimality | held-out | exact heads: KL | optimality | tau | held-out |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(rows.values(), key=lambda r: (r["m"], r["seed"])):
        lines.append(
            f"| {r['m']} | {r['seed']} | {r['weights']} | {r['kl_to_exact_nats']:.3f} | {r['optimality']:.3f} "
            f"| {r['optimality_heldout']:.3f} "
            f"| {r['limit_kl_to_exact_nats']:.3f} | {r['limit_optimality']:.3f} | {min(r['tau']):.2f} | {min(r['tau_heldout']):.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the studies that are asked for and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/align_methods"))
    parser.add_argument("--only", nargs="+", choices=sorted(STUDIES), default=sorted(STUDIES))
    args = parser.parse_args()
    REPORT.mkdir(parents=True, exist_ok=True)
    path = REPORT / "mah_dpo.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    for name in args.only:
        rows[name] = measure(name, args.out)
        path.write_text(json.dumps(rows, indent=1) + "\n")
        (REPORT / "mah_dpo.md").write_text(table(rows))


if __name__ == "__main__":
    main()
