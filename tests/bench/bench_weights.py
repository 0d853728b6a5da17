"""Which way of choosing weights finds the larger front? `python tests/bench/bench_weights.py [--quick]`.

Closed-form problems, so that only the choice of weights differs: optimal policies of the lab under a KL penalty, and fronts
of known shape. Values are measured with noise; scored is the true hypervolume of the weights that were run, as a share of
the dense front's. "best found" chooses from the true front (greedy, then swaps), corners included: no search can count on
more. Written to reports/weights/, cell by cell; what is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pareto import rng, simplex
from pareto.front.engines import volume
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.rounds import scaled, unscaled
from pareto.study.weights import WEIGHTS
from pareto.study.weights.search import Known
from pareto.tasks.lab import Lab, exact

REPORT = Path("reports/weights")
NAMES = ("helpful", "brief", "harmless")
NOISE = 0.02
"""Standard deviation of a measured value, as a share of the objective's range over the corners."""
DENSE = 25

Value = Callable[[np.ndarray], tuple[np.ndarray, float]]
"""[3] weights -> ([3] values of the best policy, what it maximises beside weights . values)."""


def lab(seed: int, beta: float, conflict: float) -> Value:
    """Optimal policies of the lab, on its training prompts."""
    world = Lab(seed=seed, objectives=NAMES, conflict=conflict).world
    prompts = world.split("selection")
    ref = world.corpus_logps(prompts)
    ref = ref - np.logaddexp.reduce(ref, axis=-1, keepdims=True)
    rewards = world.rewards()[:, prompts]

    def value(weights: np.ndarray) -> tuple[np.ndarray, float]:
        best = exact.optimum(ref, rewards, weights, beta)
        return exact.values(best, rewards).mean(axis=0), -beta * float(exact.kl(best, ref).mean())

    return value


def sphere(seed: int, units: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Value:
    """The positive unit sphere, its axes in different units."""
    scale = np.array(units)

    def value(weights: np.ndarray) -> tuple[np.ndarray, float]:
        pull = weights * scale
        return scale * pull / np.linalg.norm(pull), 0.0

    return value


SCENARIOS: dict[str, Callable[[int], Value]] = {
    "lab, strong conflict, beta 0.3": lambda seed: lab(seed, 0.3, 1.0),
    "lab, strong conflict, beta 1": lambda seed: lab(seed, 1.0, 1.0),
    "lab, beta 0.3": lambda seed: lab(seed, 0.3, 0.3),
    "lab, beta 1": lambda seed: lab(seed, 1.0, 0.3),
    "sphere": sphere,
    "sphere, units 1 : 3 : 10": lambda seed: sphere(seed, (1.0, 3.0, 10.0)),
}
ARMS: dict[str, dict[str, Any]] = {
    "cells, 21": {"kind": "cells", "divisions": 5, "corners": False},
    "cells, 28": {"kind": "cells", "divisions": 6, "corners": False},
    "das_dennis, 21": {"kind": "das_dennis", "divisions": 5},
    "random, 21": {"kind": "random", "n": 21},
    "energy, 21": {"kind": "energy", "n": 21},
    "cells, 21, scale ranges": {"kind": "cells", "divisions": 5, "corners": True, "scale": "ranges"},
    "linear_support": {"kind": "linear_support", "n": 20},
    "qlognehvi, model independent": {"kind": "qlognehvi", "n": 15, "model": "independent"},
    "qlognehvi": {"kind": "qlognehvi", "n": 20},
    "best found, 15": {"best": 15},
    "best found, 20": {"best": 20},
}
SIZES = (15, 20)
"""Kinds that look at results are scored on the way, after so many policies."""


class Problem:
    """A front, its dense hypervolume, and noisy measurements of it."""

    def __init__(self, scenario: str, seed: int) -> None:
        value = SCENARIOS[scenario](seed)
        self.value = cache(lambda key: value(np.array(key)))
        corners = self.values(np.eye(3))
        self.ranges = np.ptp(corners, axis=0)
        self.point = corners.min(axis=0) - 0.1 * self.ranges
        self.dense = np.vstack([np.eye(3), simplex.cell_centres(3, DENSE)])
        self.whole = volume(self.values(self.dense), self.point)
        self.seed = seed

    def values(self, weights: np.ndarray) -> np.ndarray:
        return np.array([self.value(tuple(w.round(10)))[0] for w in weights])

    def offsets(self, weights: np.ndarray) -> np.ndarray:
        return np.array([self.value(tuple(w.round(10)))[1] for w in weights])

    def measured(self, weights: np.ndarray) -> np.ndarray:
        """The same noise for the same weights, whoever asks."""
        draws = [rng.generator("bench", self.seed, *w.round(10).tolist()).normal(size=3) for w in weights]
        return self.values(weights) + NOISE * self.ranges * np.array(draws)

    def share(self, weights: np.ndarray) -> float:
        return float(volume(self.values(weights), self.point) / self.whole)


def weights_of(arm: dict[str, Any], problem: Problem) -> np.ndarray:
    """The weights that an arm runs."""
    if "best" in arm:
        return best_found(problem, arm["best"])
    config = WeightsConfig.model_validate({**arm, "seed": problem.seed})
    kind: Any = WEIGHTS.get(config.kind)
    objectives = Objectives(NAMES)
    ranged = config.scale == "ranges"
    ranges = np.ptp(problem.measured(np.eye(3)), axis=0)
    if not isinstance(kind, type):
        rows = kind(objectives, config)
        inner = rows[rows.max(axis=1) < 1]
        return scaled(inner, ranges) if ranged else rows
    search, rows = kind(), np.eye(3)
    for step in range(1, 100):
        known = Known(
            unscaled(rows, ranges) if ranged else rows,
            problem.measured(rows),
            np.tile((NOISE * problem.ranges) ** 2, (len(rows), 1)),
            problem.offsets(rows),
            problem.point,
            unscaled(rows, ranges) if ranged else rows,
            step,
        )
        more = search.propose(known, config, config.batch).weights
        more = (scaled(more, ranges) if ranged and len(more) else more)[: config.n - len(rows)]
        if not len(more):
            break
        rows = np.vstack([rows, more])
    return rows


def best_found(problem: Problem, n: int) -> np.ndarray:
    """[n, 3]: the corners and what adds most to them, greedily and then by swaps until none helps."""
    values = problem.values(problem.dense)
    chosen = [0, 1, 2]

    def best(rest: list[int]) -> tuple[float, int]:
        gains = [volume(values[[*rest, i]], problem.point) for i in range(len(values))]
        return max(gains), int(np.argmax(gains))

    while len(chosen) < n:
        chosen.append(best(chosen)[1])
    reached, moved = volume(values[chosen], problem.point), True
    while moved:
        moved = False
        for place in range(3, n):
            rest = chosen[:place] + chosen[place + 1 :]
            found, i = best(rest)
            if found > reached * (1 + 1e-9):
                chosen, reached, moved = [*rest, i], found, True
    return problem.dense[chosen]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, without independent processes")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    REPORT.mkdir(parents=True, exist_ok=True)
    path = REPORT / "weights.json"
    done: dict[str, Any] = json.loads(path.read_text())["cells"] if path.exists() else {}
    for scenario in SCENARIOS:
        for seed in args.seeds[:1] if args.quick else args.seeds:
            problem = None
            for arm, settings in ARMS.items():
                search = settings.get("kind") in ("linear_support", "qlognehvi")
                sizes = [n for n in SIZES if n <= settings["n"]] if search else [None]
                keys = {n: f"{scenario} | {arm}{f', {n}' if n else ''} | {seed}" for n in sizes}
                if all(key in done for key in keys.values()) or (args.quick and "model" in settings):
                    continue
                problem = problem or Problem(scenario, seed)
                start = time.process_time()
                weights = weights_of(settings, problem)
                seconds = round(time.process_time() - start, 2)
                for n, key in keys.items():
                    share = problem.share(weights[:n])
                    done[key] = {"share": share, "n": len(weights[:n]), "cpu_s": seconds}
                    print(f"{key}: {100 * share:.1f} %", flush=True)
                _write(path, done)
    _table(done)


def _write(path: Path, cells: dict[str, Any]) -> None:
    facts = {"python": platform.python_version(), "numpy": np.__version__, "noise": NOISE, "dense": DENSE}
    path.write_text(json.dumps({"settings": facts, "cells": cells}, indent=1) + "\n")


def _table(cells: dict[str, Any]) -> None:
    rows = []
    for arm in dict.fromkeys(key.split(" | ")[1] for key in cells):
        row = [arm]
        for scenario in SCENARIOS:
            shares = [100 * c["share"] for k, c in cells.items() if k.startswith(f"{scenario} | {arm} | ")]
            row.append(f"{np.mean(shares):.1f} ({min(shares):.1f}-{max(shares):.1f})" if shares else "-")
        rows.append(row)
    header = ["weights", *SCENARIOS]
    lines = [
        "# Choosing weights on closed-form fronts, three objectives",
        "",
        "True hypervolume of the weights that were run, % of the dense front's: mean over problems (smallest-largest).",
        f"Values are measured with noise of {100 * NOISE:.0f} % of each objective's range over the corners. Numbers after the",
        "kind are policies; kinds that look at results count the corners among them and choose two weights at a time.",
        '"best found" chooses from the true front, corners included. Written by `python tests/bench/bench_weights.py`.',
        "",
        *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)),
        "",
    ]
    (REPORT / "weights.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
