"""PGMORL's evolution as a machine that can be stopped after any iteration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pareto import simplex
from pareto.agents.aims import Weighted
from pareto.agents.archive import Archive, lower_bounds
from pareto.agents.evaluating import evaluate
from pareto.agents.keeping import archive_from, archive_tensors, best_together
from pareto.agents.learning import Learning, Networked, first_policies
from pareto.agents.population import Snapshots
from pareto.agents.prediction import Moves, predict
from pareto.agents.selecting import volume
from pareto.cells import Cost
from pareto.front import non_dominated

if TYPE_CHECKING:
    from pareto.agents.pgmorl import PGMORL


@dataclass(frozen=True)
class Pool:
    """Policies from which tasks start, with the returns and the weights they last had.

    Args:
        held: the policies and their returns.
        weights: [K, m].
    """

    held: Archive
    weights: np.ndarray

    def spread(self, ref_point: np.ndarray, directions: np.ndarray, depth: int) -> Pool:
        """Of the policies nearest to each direction from the reference point, the `depth` farthest out.

        Args:
            ref_point: [m].
            directions: [B, m] unit vectors.
            depth: >= 1.

        Source: Xu et al. (2020), performance buffer.
        """
        beyond = np.maximum(self.held.means - ref_point, 0.0)
        distance = np.linalg.norm(beyond, axis=1)
        nearest = (beyond @ directions.T).argmax(axis=1)
        _, first = np.unique(self.held.means, axis=0, return_index=True)  # equals teach nothing
        order = first[np.argsort(-distance[first], kind="stable")]
        kept = [b for k in np.unique(nearest) for b in order[nearest[order] == k][:depth]]
        return self.take(np.sort(np.array(kept)))

    def take(self, places: np.ndarray) -> Pool:
        """Some of them."""
        return Pool(self.held.take(places), self.weights[places])

    def joined(self, policies: Snapshots, means: np.ndarray, weights: np.ndarray) -> Pool:
        """With those of further policies whose returns are known."""
        sound = np.flatnonzero(np.isfinite(means).all(axis=1))
        if not len(sound):
            return self
        new = policies.rows(sound)
        pooled = new if self.held.policies is None else Snapshots.joined([self.held.policies, new])
        all_means = np.concatenate([self.held.means, means[sound]])
        held = replace(self.held, policies=pooled, means=all_means, lows=all_means)
        return Pool(held, np.concatenate([self.weights, weights[sound]]))


class Generations:
    """The state of the evolution and its moves.

    Args:
        config: the method.
        networked: the task and the networks.
        weights: [P, m] of the warm-up.
        seed: study seed.
    """

    def __init__(self, config: PGMORL, networked: Networked, weights: np.ndarray, seed: int) -> None:
        self.config, self.networked, self.seed = config, networked, seed
        m = weights.shape[1]
        self.candidates = Archive.empty(m, 100)
        self.pool = Pool(Archive.empty(m, 10**6), np.zeros((0, m)))
        self.moves = Moves.none(m)
        self.generation, self.training, self.selection = 0, 0, 0
        self.weights, self.before = weights, np.full(weights.shape, np.nan)
        self.learning = self._learn(first_policies(networked, len(weights), seed))
        divisions = round(1 / config.delta)
        self._lattice = simplex.das_dennis(m, divisions)
        fine = simplex.das_dennis(m, 99 if m == 2 else 12 if m == 3 else 4)[: config.directions]
        self._directions = fine / np.linalg.norm(fine, axis=1, keepdims=True)

    @property
    def steps(self) -> int:
        """True environment steps so far."""
        return self.training + self.selection

    @property
    def cost(self) -> Cost:
        """What was spent."""
        return Cost(env_steps=self.training, selection_env_steps=self.selection)

    def figures(self) -> dict[str, Any]:
        """Where it stands."""
        return {"generation": self.generation}

    @property
    def finished(self) -> bool:
        """Whether another iteration would leave too little for the final selection."""
        limit = self.config.max_episode_steps or 0
        reserve = self.config.verified * self.config.episodes * limit
        return self.steps + self.learning.steps_each + reserve > self.config.total_steps

    def step(self) -> None:
        """One iteration of learning, and a new choice of tasks after the last of a generation."""
        length = self.config.warmup if self.generation == 0 else self.config.generation
        self.learning.step(length)
        self.training += self.learning.steps_each
        policies, window = self.learning.population.snapshots(), self.learning.collector.window
        means = window.means()
        lows = means.copy()
        for p in range(len(policies)):
            if len(window.episodes(p)) > 1:
                lows[p] = lower_bounds(window.episodes(p)[None], self.config.z)[0]
        self.candidates = self.candidates.offer(policies, means, lows)
        if self.learning.done == length:
            self._choose(policies, means)

    def verified(self) -> Archive:
        """The policies worth keeping, by fresh episodes of the most promising candidates."""
        promising = best_together(self.candidates, self._stated_ref, self.config.verified)
        assert promising.policies is not None
        c = self.config
        returns, steps = evaluate(
            self.networked,
            promising.policies,
            c.episodes,
            c.actions,
            max_episode_steps=c.max_episode_steps,
            seed=self.seed,
            label="final",
        )
        self.selection += steps
        empty = Archive.empty(returns.shape[2], len(promising))
        archive = empty.offer(promising.policies, returns.mean(axis=1), lower_bounds(returns, c.z))
        return best_together(archive, self._stated_ref, c.policies)

    # ------------------------------------------------------------------------------------------- moves

    def _choose(self, policies: Snapshots, means: np.ndarray) -> None:
        """Take in what a generation did, and give the next one its policies and weights."""
        self.moves = self.moves.joined(Moves(self.weights, self.before, means))
        pool = self.pool.joined(policies, means, self.weights)
        if len(pool.held):
            self.pool = pool.spread(self._ref_point(pool), self._directions, self.config.depth)
            pairs = self._tasks()
        else:  # no episode has finished yet: go on as before
            pairs = []
        self.generation += 1
        if pairs:
            places, weights = zip(*pairs)
            started = self.pool.take(np.array(places))
            assert started.held.policies is not None
            policies, self.before, self.weights = started.held.policies, started.held.means, np.array(weights)
        else:
            self.before = means
        self.learning = self._learn(policies)

    def _tasks(self) -> list[tuple[int, np.ndarray]]:
        """(place in the pool, weights) pairs, chosen greedily by what they are predicted to add."""
        points, ref = self.pool.held.means, self._ref_point(self.pool)
        spans = np.maximum(np.ptp(points, axis=0), 1e-3 * np.abs(points.max(axis=0) - ref) + 1e-9)
        options: list[tuple[int, np.ndarray]] = []
        hoped: list[np.ndarray] = []
        for place, point in enumerate(points):
            near = np.argsort(np.linalg.norm(self._lattice - self.pool.weights[place], axis=1), kind="stable")
            tried = self._lattice[near[: self.config.nearest]]
            if len(self.moves.before):
                hoped.extend(predict(self.moves, point, tried, spans, self.config.f_scale))
            else:
                hoped.extend(point + 0.1 * spans * tried)
            options.extend((place, w) for w in tried)
        front = points
        chosen = []
        for _ in range(len(self.weights)):
            worth = [self._worth(np.vstack([front, h]), ref, spans) for h in hoped]
            best = int(np.argmax(worth))
            chosen.append(options[best])
            front = np.vstack([front, hoped[best]])
            hoped[best] = np.full(len(ref), -np.inf)
        return chosen

    def _worth(self, points: np.ndarray, ref: np.ndarray, spans: np.ndarray) -> float:
        """Hypervolume + `sparsity` x sparsity of the front, in units of the spans."""
        sound = points[np.isfinite(points).all(axis=1)]
        if len(sound) < len(points):
            return -np.inf
        scaled = np.sort((sound[non_dominated(sound)] - ref) / spans, axis=0)
        gaps = float(
            (np.diff(scaled, axis=0) ** 2).sum() / max(len(scaled) - 1, 1)
        )  # `pareto.front.sparsity`, unchecked
        return volume((sound - ref) / spans, np.zeros(len(ref))) + self.config.sparsity * gaps

    @property
    def _stated_ref(self) -> np.ndarray | None:
        stated = self.networked.task.facts.ref_point
        return None if stated is None else np.array(stated)

    def _ref_point(self, pool: Pool) -> np.ndarray:
        if self._stated_ref is not None:
            return self._stated_ref
        points = pool.held.means
        return points.min(axis=0) - 0.1 * np.maximum(np.ptp(points, axis=0), 1e-9)

    def _learn(self, start: Snapshots) -> Learning:
        return Learning(
            self.networked,
            start,
            Weighted(self.weights),
            self.config.ppo,
            max_episode_steps=self.config.max_episode_steps,
            window=self.config.window,
            seed=self.seed,
            stage=f"generation {self.generation}",
        )

    # ------------------------------------------------------------------------------------------- survival

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) of the whole evolution."""
        tensors, facts = self.learning.state()
        tensors |= archive_tensors("candidates", self.candidates) | archive_tensors("pool", self.pool.held)
        lists = {"weights": self.weights, "before": self.before, "pool_weights": self.pool.weights}
        return tensors, {
            "learning": facts,
            "generation": self.generation,
            "training": self.training,
            "moves": [part.tolist() for part in self.moves.arrays],
            **{name: np.nan_to_num(array, nan=1e300).tolist() for name, array in lists.items()},
        }

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        m = self.weights.shape[1]
        self.generation, self.training = facts["generation"], facts["training"]
        self.moves = Moves(*(np.array(part).reshape(-1, m) for part in facts["moves"]))
        found = {k: np.array(facts[k]).reshape(-1, m) for k in ("weights", "before", "pool_weights")}
        self.weights = found["weights"]
        self.before = np.where(found["before"] == 1e300, np.nan, found["before"])
        self.candidates = archive_from("candidates", tensors, self.candidates)
        self.pool = Pool(archive_from("pool", tensors, self.pool.held), found["pool_weights"])
        self.learning = self._learn(first_policies(self.networked, len(self.weights), self.seed))
        self.learning.load(tensors, facts["learning"])
