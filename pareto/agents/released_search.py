"""The released C-MORL code's two stages as a machine that can be stopped after any update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pareto.agents.aims import Weighted
from pareto.agents.archive import Archive, crowding
from pareto.agents.evaluating import evaluate
from pareto.agents.keeping import archive_from, archive_tensors
from pareto.agents.learning import Learning, Networked, first_policies
from pareto.agents.population import Snapshots
from pareto.agents.ppo import PPOConfig
from pareto.cells import Cost

if TYPE_CHECKING:
    from pareto.agents.cmorl_released import ReleasedCMORL


class ReleasedSearch:
    """The state of a search and its moves.

    Args:
        config: the method.
        networked: the task and the networks.
        weights: [M, m] of the first stage.
        seed: study seed.
    """

    def __init__(self, config: ReleasedCMORL, networked: Networked, weights: np.ndarray, seed: int) -> None:
        self.config, self.networked, self.seed = config, networked, seed
        self.m = weights.shape[1]
        self.archive = Archive.empty(self.m, config.buffer)
        self.selected: list[list[float]] = []
        self.climbed: list[int] = []
        self.rounds, self.training, self.selection = 0, 0, 0
        self.learning = self._learn(first_policies(networked, len(weights), seed), weights, config.ppo)
        self.planned = self.first = self.learning.iterations(config.initial_steps)

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
        return {"round": self.rounds}

    @property
    def finished(self) -> bool:
        """Whether another update and its evaluation could go beyond the budget."""
        c = self.config
        evaluation = len(self.learning.population) * c.episodes * (c.max_episode_steps or 0)
        return self.steps + self.learning.steps_each + evaluation > c.total_steps

    def step(self) -> None:
        """One update, its evaluation where one is due, and the next round after the last of a stage."""
        self.learning.step(self.planned)
        self.training += self.learning.steps_each
        every = self.config.evaluate_every if self.rounds == 0 else 1
        last = self.learning.done == self.planned
        if last or self.learning.done % every == 0:
            self._evaluate()
        if last and len(self.archive):
            self._next_round()

    def kept(self) -> Archive:
        """The members of largest crowding distance."""
        if not len(self.archive):
            self._evaluate()
        order = np.argsort(-crowding(self.archive.means), kind="stable")
        return self.archive.take(np.sort(order[: self.config.policies]))

    def _evaluate(self) -> None:
        """Offer the present policies by their means over the episodes that are always the same."""
        policies = self.learning.population.snapshots()
        returns, steps = evaluate(
            self.networked,
            policies,
            self.config.episodes,
            "mode",
            max_episode_steps=self.config.max_episode_steps,
            seed=self.seed,
            label="always the same",
        )
        self.selection += steps
        means = returns.mean(axis=1)
        self.archive = self.archive.offer(policies, means, means)

    def _next_round(self) -> None:
        """Copy the selected policies once per objective."""
        order = np.argsort(-crowding(self.archive.means), kind="stable")
        fresh = [int(i) for i in order if self.archive.means[i].tolist() not in self.selected]
        places = (fresh or [int(i) for i in order])[: self.config.n]
        self.selected += [self.archive.means[i].tolist() for i in places]
        chosen = self.archive.take(np.repeat(places, self.m))
        assert chosen.policies is not None
        self.climbed = list(range(self.m)) * len(places)
        self.rounds += 1
        self._climb(chosen.policies)

    def _climb(self, start: Snapshots) -> None:
        last = self.config.ppo.lr / self.first  # what the first stage's linear fall ended with
        ppo = self.config.ppo.model_copy(update={"lr": last, "lr_end": 1.0})
        self.learning = self._learn(start, np.eye(self.m)[self.climbed], ppo)
        self.planned = self.config.update_iter

    def _learn(self, start: Snapshots, weights: np.ndarray, ppo: PPOConfig) -> Learning:
        return Learning(
            self.networked,
            start,
            Weighted(weights),
            ppo,
            max_episode_steps=self.config.max_episode_steps,
            window=self.config.window,
            seed=self.seed,
            stage=f"released {self.rounds}",
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) of the whole search."""
        tensors, facts = self.learning.state()
        return tensors | archive_tensors("archive", self.archive), {
            "learning": facts,
            "training": self.training,
            "selection": self.selection,
            "rounds": self.rounds,
            "selected": self.selected,
            "climbed": self.climbed,
        }

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.training, self.selection = facts["training"], facts["selection"]
        self.rounds, self.selected, self.climbed = facts["rounds"], facts["selected"], facts["climbed"]
        self.archive = archive_from("archive", tensors, self.archive)
        if self.rounds:
            self._climb(first_policies(self.networked, len(self.climbed), self.seed))
        self.learning.load(tensors, facts["learning"])
