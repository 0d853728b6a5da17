"""The rows of offloading_study.py: which policies there are, and how each plays its preferences."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import yaml

import pareto
from envs.offloading import annealing, coarse, evolution, linucb, scored
from envs.offloading.heuristics import Greedy, Random, RoundRobin, Rule, ShortestQueue

SEED = 8_000_000  # of the held-out episodes
SEARCH_SEED = 7_900_000  # episodes that searched rules learn on; neither calibration's nor held-out ones
DELAY = np.linspace(0, 1, 101)
EVEN = np.column_stack([DELAY, 1 - DELAY])
PLACED = np.column_stack([DELAY**4, 1 - DELAY**4])
"""101 preferences in equal steps, and 101 that are denser where the front is long: the weight of delay to the fourth power."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        title: as it is shown.
        policies: P, how many.
        begin: makes, once it is needed, what makes a rule from the index of each copy's policy.
        preferences: [P, 2] that its policies stand for; None where they stand for none.
        wide: whether it looks at the histogram of residuals.
        home: system its run was scored on.
    """

    title: str
    policies: int
    begin: Callable[[], Callable[[np.ndarray], Rule]]
    preferences: np.ndarray | None = None
    wide: bool = False
    home: str = ""


class Dispatched(Rule):
    """A trained dispatcher at a preference of each copy."""

    def __init__(self, actor, preferences):
        self.actor, self.preferences = actor, preferences

    def act(self, observations):
        return self.actor.choose(observations, self.preferences)


class OneEach(Rule):
    """Trained policies, each playing its own copies."""

    def __init__(self, actors, which):
        self.actors, self.which, self.draw = actors, which, np.random.default_rng(0)

    def act(self, observations):
        chosen = np.zeros(len(observations), dtype=np.int64)
        for i in np.unique(self.which):
            rows = self.which == i
            chosen[rows] = self.actors[i].act(observations[rows], self.draw)
        return chosen


def rules(config, seed):
    """Name -> row of what needs no training, or little."""
    rows = {
        "random": Row("random", 101, lambda: lambda i: Random(EVEN[i, 0], seed)),
        "round-robin": Row("round robin", 1, lambda: lambda i: RoundRobin()),
        "shortest-queue": Row("shortest queue", 1, lambda: lambda i: ShortestQueue()),
        "nsga2": Row(
            "NSGA-II over scored rules",
            101,
            lambda: _by_index(scored.Scored, evolution.fit(config, seed=SEARCH_SEED)),
        ),
    }
    for name, w in (("", EVEN), ("-placed", PLACED)):
        rows |= {
            f"tables{name}": Row(
                "tables on coarse states",
                101,
                lambda w=w: _by_index(coarse.Table, coarse.fit(w, config, seed=SEARCH_SEED)),
                w,
            ),
            f"annealing{name}": Row(
                "annealed scored rules",
                101,
                lambda w=w: _by_index(scored.Scored, annealing.fit(w, config, seed=SEARCH_SEED)),
                w,
            ),
            f"linucb{name}": Row(
                "LinUCB",
                101,
                lambda w=w: _by_index(linucb.Linear, linucb.fit(w, config, seed=seed - 500_000)),
                w,
            ),
            f"greedy{name}": Row("greedy", 101, lambda w=w: lambda i: Greedy(w[i]), w),
        }
    return rows


def trained(run, scales):
    """Name -> row of a run folder: a dispatcher at any preference, or one policy per weight vector; for every seed."""
    policies, front = pareto.load(run), json.loads((run / "front.json").read_text())
    title = front["study"].removeprefix("offloading_")
    home = yaml.safe_load((run / "config.yaml").read_text())["task"]["options"]["config"]
    agents = [r for r in policies.records if r.kind == "agent"]
    seeds, rows = sorted({r.seed for r in agents}), {}
    for seed in seeds:
        records = [r for r in agents if r.seed == seed]
        actors = [policies.policy(r).actor for r in records]
        own = f"{title}, seed {seed}" if len(seeds) > 1 else title
        name = f"{title}-{records[0].id}"
        if hasattr(actors[0], "choose") and "scalarized" not in front["method"]:
            rows |= {
                f"{name}{suffix}": Row(
                    own,
                    101,
                    lambda w=w, actor=actors[0]: lambda i: Dispatched(actor, w[i]),
                    w,
                    wide=True,
                    home=home,
                )
                for suffix, w in (("", EVEN), ("-placed", PLACED))
            }
            continue
        stated = np.array([[r.weights[o] for o in ("delay", "energy")] for r in records])
        if not hasattr(actors[0], "choose"):
            stated = stated * scales / (stated * scales).sum(axis=1, keepdims=True)
        rows[name] = Row(
            own, len(actors), lambda actors=actors: lambda i: OneEach(actors, i), stated, wide=True, home=home
        )
    return rows


def _by_index(rule, table):
    return lambda i: rule(table[i])
