"""NSGA-II over the parametrised rule: a whole front of rules at once, judged by delay and energy without weights.

Source: Deb, Pratap, Agarwal, Meyarivan (2002), A fast and elitist multiobjective genetic algorithm, as pymoo has it
(Blank and Deb 2020). Yang et al. (2025) name NSGA-II among their baselines; what is bred here is ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.errors import MissingPackageError

from .config import SLOTS, OffloadingConfig
from .scored import N_PARAMETERS, greedy_theta, mean_costs


def fit(
    config: OffloadingConfig,
    *,
    seed: int,
    population: int = 101,
    generations: int = 60,
    episodes: int = 8,
    slots: int = SLOTS,
) -> np.ndarray:
    """Breed rules.

    Args:
        config: the system to learn in.
        seed: of the training episodes and of the breeding.
        population: rules alive at a time; the first are greedy ones at preferences denser near energy, every second one a
            little off.
        generations: how often they are renewed.
        episodes: K played by every rule.
        slots: decisions in an episode.

    Returns:
        [population, 4] theta of the last generation, for `scored.Scored`; not all need be undominated.

    Raises:
        MissingPackageError: pymoo is not installed.
    """
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.optimize import minimize
    except ImportError as error:
        raise MissingPackageError("pymoo", "adaptive", "NSGA-II over offloading rules") from error

    class Rules(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=N_PARAMETERS, n_obj=2, xl=-2.0, xu=2.0)

        def _evaluate(self, x: np.ndarray, out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = mean_costs(x, config, range(seed, seed + episodes), slots)

    delay = np.linspace(0, 1, population) ** 3
    first: Any = greedy_theta(np.column_stack([delay, 1 - delay]))
    first[1::2] += 0.1 * np.random.default_rng(seed).standard_normal(first[1::2].shape)
    result: Any = minimize(
        Rules(),
        NSGA2(pop_size=population, sampling=first),
        ("n_gen", generations),
        seed=seed,
        verbose=False,
    )
    return np.array(result.pop.get("X"))
