"""One table over all trainers on the lab at equal training tokens: optimality, hypervolume ratios, KL and cost.

Every row is an ordinary sweep of the method's own config under configs/, with the number of objectives, the seeds and the length
of training set from here, so that all methods train on about the same tokens: `STEPS` optimiser steps of 128 pairs in all,
shared out over the trainings that a method needs. Sweeps resume; rows that are not done are left out of the table.

    python tests/bench/align_methods.py --out runs/align_methods                 # everything, hours
    python tests/bench/align_methods.py --only modpo soup --m 2 --seeds 1        # a part of it
    python tests/bench/align_methods.py --report                                 # only write reports/align/methods.md
"""

from __future__ import annotations

import argparse
import itertools
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

import pareto
from pareto.errors import ParetoError
from pareto.state import atomic
from pareto.study.config import load_study

REPORT = Path("reports/align")
OBJECTIVES = ("helpful", "brief", "harmless", "honest", "formal")
BATCH = 128
WEIGHTS = {2: (5, 20), 3: (6, 6), 5: (10, 3)}
"""Objectives -> (weight vectors of methods that train one policy each, divisions of those that serve any weights)."""
STEPS = {2: 4000, 3: 4500, 5: 4500}
"""Objectives -> optimiser steps in all, for every method: 800, 750 and 450 for each policy of MODPO."""
LR, ANCHOR = 4e-3, 0.05
"""For short trainings; the configs, which train longer, are slower and hold the mass more firmly (reports/log.md)."""

Steps = Callable[[int, int], dict[str, int]]
"""(objectives, optimiser steps in all) -> the method's own counts of steps."""


def _shared(trainings: Callable[[int], int]) -> Steps:
    """All of the steps, shared out over trainings of one kind."""
    return lambda m, steps: {"training.steps": steps // trainings(m)}


def _dpa(m: int, steps: int) -> dict[str, int]:
    """A seventh for the reward model, the rest in four rounds."""
    return {"reward.training.steps": steps // 7, "iterations": 4, "training.steps": (steps - steps // 7) // 4}


def _in_context(m: int, steps: int) -> dict[str, int]:
    """A seventh for the reward model, half of the rest offline, half in two rounds online."""
    rest = steps - steps // 7
    return {
        "reward.training.steps": steps // 7,
        "training.steps": rest // 2,
        "rounds": 2,
        "online_training.steps": rest // 4,
    }


def _policies(m: int) -> int:
    return WEIGHTS[m][0]


METHODS: Mapping[str, tuple[str, Steps, str]] = {
    "modpo": ("lab_modpo", _shared(_policies), "cells"),
    "scalarized_dpo": ("lab_scalarized_dpo", _shared(_policies), "cells"),
    "soup": ("lab_soup", _shared(lambda m: m), "any"),
    "mod": ("lab_mod", _shared(lambda m: m), "any"),
    "mah_dpo": ("lab_mah_dpo", _shared(lambda m: 1), "any"),
    "modpo_conditioned": ("lab_modpo_conditioned", _shared(lambda m: 1), "any"),
    "dpa": ("lab_dpa", _dpa, "directions"),
    "rewards_in_context": ("lab_rewards_in_context", _in_context, "any"),
}
"""Method -> (config, steps, weights). `maxmin` and `orchestrator` answer other questions and have pages of their own."""


REPLIES = {"dpa", "rewards_in_context"}
"""Methods that learn from single replies, each behind a prompt of its own: nine of them have the tokens of about eight pairs."""


def settings(name: str, m: int, seeds: int) -> list[str]:
    """What is set over the method's config."""
    (_, share, kind), steps = METHODS[name], STEPS[m]
    pairs = name not in REPLIES
    n, divisions = WEIGHTS[m]
    weights = {
        "cells": f"{{kind: cells, n: {n}}}",
        "any": f"{{kind: das_dennis, divisions: {divisions}}}",
        "directions": f"{{kind: directions, n: {comb(divisions + m - 1, m - 1)}}}",
    }[kind]
    if name == "scalarized_dpo":
        anchor = [f"method.loss=[{{name: dpo, beta: 1.0}}, {{name: mass_anchor, weight: {ANCHOR}}}]"]
    else:
        anchor = [f"method.mass_anchor={ANCHOR}"] if pairs else []
    return [
        f"study=align-m{m}",
        "task.pairs=300000",
        f"task.objectives=[{', '.join(OBJECTIVES[:m])}]",
        *anchor,
        *(f"method.{part}.lr={LR}" for part in _trainings(share(m, steps)) if pairs),
        *(f"method.{key}={value}" for key, value in share(m, steps).items()),
        *(
            f"method.{part}.batch_size={BATCH if pairs else 9 * BATCH // 8}"
            for part in _trainings(share(m, steps))
        ),
        f"weights={weights}",
        f"seeds=[{', '.join(map(str, range(seeds)))}]",
    ]


def _trainings(counts: Mapping[str, int]) -> list[str]:
    return [key.removesuffix(".steps") for key in counts if key.endswith(".steps")]


def folder_of(out: Path, name: str, m: int) -> Path:
    """One folder for all methods of as many objectives: the reference, and corners of the same training, are made once."""
    return out / (f"m{m}-{name}" if name == "dpa" else f"m{m}")  # directions stand in no folder with weights


def trained(name: str, m: int, seeds: int, out: Path) -> Any:
    """The run of one method at m objectives; what is missing of it is trained."""
    folder = folder_of(out, name, m)
    try:
        run = pareto.load(folder).of_method(name)
        if {r.seed for r in run} >= set(range(seeds)):
            return run
    except ParetoError:
        pass  # nothing of it is there yet
    config = Path("configs") / f"{METHODS[name][0]}.yaml"
    return pareto.sweep(config, out=folder, set=settings(name, m, seeds), workers=1).of_method(name)


def row(name: str, m: int, run: Any, lab: Any) -> dict[str, Any]:
    """What one study reached: means over its policies; of fronts, means over seeds, each of which has one of its own."""
    known = [r for r in run if r.facts.get("kl_nats") is not None]
    aimed = all(r.facts.get("optimality") is not None for r in known)
    seeds = sorted({r.seed for r in known})
    needs = {"reference": run.folder / known[0].facts["needs"]["reference"]}
    point = np.asarray(run.ref_point)
    own = [
        [{**r.facts, "weights": r.weights, "values": r.values} for r in known if r.seed == s] for s in seeds
    ]
    told = [lab.exact(policies, point, needs) for policies in own]
    by_seed = [block["optimality"] for block in told] if aimed else []
    cost = run.content["cost"]

    def mean(what: str) -> float | None:
        found = [block[what] for block in told if block.get(what) is not None]
        return float(np.mean(found)) if found else None

    return {
        "method": name,
        "m": m,
        "policies": len(known) // len(seeds),
        "seeds": len(seeds),
        "optimality": mean("optimality"),
        "optimality_range": [min(by_seed), max(by_seed)] if by_seed else None,
        "optimality_heldout": mean("optimality_heldout"),
        "kl_to_exact_nats": mean("kl_to_exact_nats"),
        "kl_nats": float(np.mean([r.facts["kl_nats"] for r in known])),
        "hypervolume_ratio": mean("hypervolume_ratio"),
        "coverage": mean("coverage"),
        "mixture_ratio": mean("mixture_ratio"),
        "train_tokens": cost["train_tokens"] / len(seeds),
        "wall_s": cost["wall_s"],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown."""

    def number(x: float | None, form: str = ".3f") -> str:
        return "-" if x is None else format(x, form)

    lines = [
        "# Trainers on the lab at equal training tokens",
        "",
        "Lab seed 0, full fine-tuning, beta 1, from labels of pairs (dpa and rewards_in_context: from scored replies). Optimiser steps of "
        f"{BATCH} pairs or {9 * BATCH // 8} single replies in all: "
        + ", ".join(f"{n} (m = {m})" for m, n in STEPS.items())
        + f"; of methods that learn from pairs the "
        f"learning rate is {LR:g} and the mass anchor {ANCHOR}. Optimality is the share of the achievable regularised utility (1 is "
        "the exact optimum), on prompts trained on; a mean over policies and seeds, in brackets the seeds' range. Ratios are to the exact "
        "front at the same mean divergence, seed by seed. Methods that aim at no optimum of one beta have no optimality. Tokens are "
        "those of one seed, with its share of the reference's; wall time is that of all cells, on a machine with other work.",
        "",
        "| m | method | policies | seeds | optimality | held-out | KL to exact | KL to reference | hypervolume ratio | coverage "
        "| mixture ratio | tokens, M | wall, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(rows, key=lambda r: (r["m"], -(r["optimality"] or 0.0))):
        span = "" if r["optimality_range"] is None else " [{:.3f}, {:.3f}]".format(*r["optimality_range"])
        lines.append(
            f"| {r['m']} | {r['method']} | {r['policies']} | {r['seeds']} | {number(r['optimality'])}{span} "
            f"| {number(r['optimality_heldout'])} | {number(r['kl_to_exact_nats'])} | {r['kl_nats']:.2f} "
            f"| {number(r['hypervolume_ratio'])} | {number(r['coverage'])} | {number(r['mixture_ratio'])} "
            f"| {r['train_tokens'] / 1e6:.1f} | {r['wall_s']:.0f} |"
        )
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformers", "peft", "numpy"))
    return "\n".join(
        [
            *lines,
            "",
            f"Written by `python tests/bench/align_methods.py`; python {platform.python_version()}, {versions}.",
            "",
        ]
    )


def main() -> None:
    """Run what is missing and write the table of what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/align_methods"))
    parser.add_argument("--only", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--m", type=int, nargs="+", choices=sorted(WEIGHTS), default=list(WEIGHTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="processes; as many as the configs say where left out")
    parser.add_argument("--report", action="store_true", help="only write the table")
    args = parser.parse_args()
    rows = []
    for m, name in itertools.product(args.m, args.only):
        folder = folder_of(args.out, name, m)
        config = Path("configs") / f"{METHODS[name][0]}.yaml"
        if not args.report:
            pareto.sweep(config, out=folder, set=settings(name, m, args.seeds), workers=args.workers)
        try:
            lab: Any = load_study(config, settings(name, m, args.seeds)).task
            rows.append(row(name, m, pareto.load(folder).of_method(name), lab))
        except ParetoError as error:
            print(f"{name}, m = {m}: not done ({error})")
    if rows:
        REPORT.mkdir(parents=True, exist_ok=True)
        atomic.write_text(REPORT / "methods.md", table(rows))
        atomic.write_json(REPORT / "methods.json", {"rows": rows})
        print(table(rows))


if __name__ == "__main__":
    main()
