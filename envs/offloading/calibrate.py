"""Measure what is then frozen: reward scales, and the reference points from the fronts of the rules.

Run from the root of the checkout: ``python -m envs.offloading.calibrate``. The seeds are a block of their own, used
neither for training nor for held-out scores. Scales are the standard deviations of the two rewards of a decision under
round robin, the blind rule that loads all servers evenly. A reference point is the componentwise worst of the
non-dominated points of random, greedy and LinUCB, plus 10 % of the range of all these points.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import moocore
import numpy as np

from . import linucb
from .config import SLOTS, SYSTEMS, TINY, TINY_SLOTS, OffloadingConfig
from .exact import best_values, grow, policy_value, supported_front
from .heuristics import Greedy, Random, RoundRobin, ShortestQueue
from .play import episode_costs, preference_costs
from .vector import OffloadingVector

SEED = 7_000_000
LINUCB_SEED = 7_500_000
PREFERENCES = np.column_stack([np.linspace(0, 1, 101), np.linspace(1, 0, 101)])
"""[101, 2] weights of (delay, energy): 0, .01, ..., 1."""
INNER = slice(10, 91)
"""Those from .1 to .9."""


def measured_scales(config: OffloadingConfig, episodes: int) -> tuple[float, float]:
    """Measure standard deviations of a decision's delay in s and energy in J under round robin, to 3 digits."""
    vector, rule = OffloadingVector(episodes, config=config), RoundRobin()
    observations, _ = vector.reset(seed=SEED)
    costs = []
    for _ in range(SLOTS):
        busy = observations[:, 0, 0] > 0
        observations, rewards, *_ = vector.step(rule.act(observations))
        costs.append(-rewards[busy])
    delay_s, energy_j = np.concatenate(costs).std(axis=0)
    return _rounded(delay_s, 3), _rounded(energy_j, 3)


def rule_costs(config: OffloadingConfig, scales: tuple[float, float], episodes: int) -> dict[str, np.ndarray]:
    """Play the rules that know preferences: name -> [101, K, 2]."""
    seeds = range(SEED, SEED + episodes)
    coefficients = linucb.fit(PREFERENCES, config, seed=LINUCB_SEED, scales=scales)
    rules = {
        "random": lambda i: Random(PREFERENCES[i, 0], SEED),
        "greedy": lambda i: Greedy(PREFERENCES[i], scales),
        "linucb": lambda i: linucb.Linear(coefficients[i]),
    }
    return {name: preference_costs(rule, len(PREFERENCES), config, seeds) for name, rule in rules.items()}


def front(costs: np.ndarray) -> np.ndarray:
    """The non-dominated rows of mean costs [P, 2], both to be minimised."""
    return costs[moocore.is_nondominated(costs)]


def worst_plus(fronts: Mapping[str, np.ndarray], share: float = 0.1) -> np.ndarray:
    """Componentwise worst [2] of fronts [k, 2] of costs, plus a share of their common range."""
    points = np.concatenate(list(fronts.values()))
    worst, best = points.max(axis=0), points.min(axis=0)
    return worst + share * (worst - best)


def ref_points(means: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Derive three reference points from mean costs [101, 2] per rule, to 4 digits.

    "rule" is the frozen one; "inner" the same over preferences from .1 to .9, where the trade-off is; "double" is twice
    "rule", a loose one.
    """
    rule = worst_plus({name: front(m) for name, m in means.items()})
    inner = worst_plus({name: front(m[INNER]) for name, m in means.items()})
    points = {"rule": rule, "inner": inner, "double": 2 * rule}
    return {name: [_rounded(v, 4) for v in point] for name, point in points.items()}


def calibrated(config: OffloadingConfig, scales: tuple[float, float], episodes: int) -> dict[str, Any]:
    """Everything measured on one system, as plain values."""
    lean = config.model_copy(update={"histogram_bins": 1})  # no rule looks at the histogram
    costs = rule_costs(lean, scales, episodes)
    means = {name: c.mean(axis=1) for name, c in costs.items()}
    seeds = range(SEED, SEED + episodes)
    single = {
        name: episode_costs(r, lean, seeds)
        for name, r in (("round_robin", RoundRobin()), ("shortest_queue", ShortestQueue()))
    }
    return {
        "config": config.model_dump(mode="json"),
        **_compared(means),
        "rules": {name: _row(c) for name, c in single.items()},
        "fronts": {
            name: [[float(w), *_row(c)] for w, c in zip(PREFERENCES[:, 0].round(2), costs[name])]
            for name in costs
        },
    }


def _compared(means: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Reference points and hypervolumes; `ideal` is the box that no front can leave, from its best corner."""
    points = ref_points(means)
    fronts = {name: front(m) for name, m in means.items()}
    best = np.concatenate(list(fronts.values())).min(axis=0)
    return {
        "ref_points": points,
        "hypervolume": {
            ref: {
                **{name: _rounded(moocore.hypervolume(f, ref=point), 6) for name, f in fronts.items()},
                "ideal": _rounded(float(np.prod(point - best)), 6),
            }
            for ref, point in points.items()
        },
        "share_of_greedy_range_at_weights_0.1_to_0.9": [
            _rounded(v, 3) for v in np.ptp(means["greedy"][INNER], axis=0) / np.ptp(fronts["greedy"], axis=0)
        ],
    }


def tiny(scales: tuple[float, float]) -> dict[str, Any]:
    """The instance that is solved exactly: the greedy rule and the optimum at each preference, and the exact front."""
    tree = grow(TINY, TINY_SLOTS)
    in_units = PREFERENCES / np.array(scales)
    means = {
        "greedy": np.array([-policy_value(tree, Greedy([w], scales).act) for w in PREFERENCES]),
        "exact": -best_values(tree, in_units / in_units.sum(axis=1, keepdims=True)),
    }
    corners = -supported_front(tree)
    return {
        "config": TINY.model_dump(mode="json"),
        "slots": TINY_SLOTS,
        "decisions": tree.n_decisions,
        **_compared(means),
        "fronts": {
            name: [
                [float(w), *(_rounded(v, 9) for v in m)]
                for w, m in zip(PREFERENCES[:, 0].round(2), means[name])
            ]
            for name in means
        },
        "corners": [[_rounded(v, 9) for v in point] for point in corners],
    }


def _row(costs: np.ndarray) -> list[float]:
    """Mean delay, mean energy and their standard errors from [K, 2]."""
    error = costs.std(axis=0, ddof=1) / np.sqrt(len(costs))
    return [_rounded(v, 6) for v in (*costs.mean(axis=0), *error)]


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def main() -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/agents/offloading/calibration.json"))
    parser.add_argument("--episodes", type=int, default=100, help="per preference and rule")
    options = parser.parse_args()
    scales = measured_scales(SYSTEMS["training-6"], options.episodes)
    report = {
        "format": 1,
        "command": f"python -m envs.offloading.calibrate --episodes {options.episodes}",
        "seeds": {
            "episodes": [SEED, SEED + options.episodes - 1],
            "linucb": LINUCB_SEED,
            "random_choices": SEED,
        },
        "scales": {
            "delay_s": scales[0],
            "energy_j": scales[1],
            "rule": "std of a decision's rewards, round robin",
        },
        "columns": [
            "weight_delay",
            "delay_s",
            "energy_j",
            "delay_standard_error_s",
            "energy_standard_error_j",
        ],
        "systems": {
            name: calibrated(c, scales, options.episodes) for name, c in SYSTEMS.items() if c != TINY
        },
        "tiny": tiny(scales),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
