"""A population of policies that learn at once: parameters, optimiser, scales, and one iteration of collecting and improving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pareto.agents.adam import Adam
from pareto.agents.aims import Aim
from pareto.agents.collecting import Collector, Rollout, Scaler
from pareto.agents.networks import Networks
from pareto.agents.normalise import Running
from pareto.agents.ppo import Batch, Learner, PPOConfig
from pareto.agents.returns import advantages


@dataclass(frozen=True)
class Snapshots:
    """K policies at rest: everything that acting and further learning need.

    Args:
        parameters: [K, n].
        observed: running statistics of their observations, [K, d].
        scales: running statistics of their returns, [K, m].
    """

    parameters: Tensor
    observed: Running
    scales: Running

    def rows(self, which: Any) -> Snapshots:
        """Copies of some of them."""
        index = torch.as_tensor(which, dtype=torch.int64)
        return Snapshots(self.parameters[index].clone(), self.observed.rows(index), self.scales.rows(index))

    def __len__(self) -> int:
        return len(self.parameters)

    @classmethod
    def joined(cls, several: list[Snapshots]) -> Snapshots:
        """All of several, in order."""

        def running(parts: list[Running]) -> Running:
            return Running(*(torch.cat([getattr(x, k) for x in parts]) for k in ("count", "mean", "var")))

        return cls(
            torch.cat([s.parameters for s in several]),
            running([s.observed for s in several]),
            running([s.scales for s in several]),
        )


class Population:
    """P policies that learn together.

    Args:
        networks: their shape.
        start: where they start from; fresh or stored policies.
        config: how they learn.
        gamma: the task's discount, of its returns; also of values and advantages where the config names no other.
        draw: of actions and minibatches.
    """

    def __init__(
        self,
        networks: Networks,
        start: Snapshots,
        config: PPOConfig,
        gamma: float,
        draw: torch.Generator,
    ) -> None:
        self.networks, self.config, self.gamma, self.draw = networks, config, gamma, draw
        self._sight = gamma if config.gamma is None else config.gamma
        self.parameters = start.parameters.clone()
        self.adam = Adam.begin(self.parameters)
        self.scales = start.scales
        self.scaler = Scaler(start.observed)
        self.views = networks.views(self.parameters)
        for view in self.views.values():
            view.requires_grad_()
        self.learner = Learner(networks, self.views, self.parameters, self.adam, config, draw)

    def __len__(self) -> int:
        return len(self.parameters)

    def snapshots(self) -> Snapshots:
        """The policies as they are now."""
        whole = Snapshots(self.parameters.detach(), self.scaler.running, self.scales)
        return whole.rows(range(len(self)))

    def iterate(self, collector: Collector, aim: Aim, *, lr: float, entropy: float) -> None:
        """Collect one rollout and improve on it."""
        rollout = collector.collect(self.networks, self.views, self.scaler, self.config.steps, self.draw)
        aim.measured(collector.window.means(), collector.window.horizon(self.gamma))
        self.learner.lr, self.learner.entropy = lr, entropy
        aim.improve(self.learner, self._batch(rollout, aim))

    @torch.no_grad()
    def _batch(self, rollout: Rollout, aim: Aim) -> Batch:
        """Advantages, log-probabilities and targets of a rollout, samples [P, T E, ...]."""
        t, p, e, d = rollout.observations.shape
        scale = self.scales.std.float()[None, :, None]
        seen = rollout.observations.permute(1, 0, 2, 3).reshape(p, t * e, d)
        outputs, normal = self.networks.both(self.views, torch.cat([seen, rollout.last], dim=1))
        values = normal.view(p, t + 1, e, -1).transpose(0, 1) * scale
        following = values[1:].clone()
        following[rollout.ended] = 0.0
        if len(rollout.cut_observations):
            following[rollout.cut] = self._values_of(rollout.cut_observations, rollout.cut[1])
        found = advantages(
            rollout.rewards, values[:-1], following, rollout.ended, self._sight, self.config.gae_lambda
        )
        returns = (found + values[:-1]).permute(1, 0, 2, 3).reshape(p, t * e, -1)
        self.scales.add(returns)
        actions = rollout.actions.transpose(0, 1).reshape(p, t * e, *rollout.actions.shape[3:])
        logps, _ = self.networks.head.logps(outputs[:, : t * e], self.views, actions)
        return Batch(
            seen,
            actions,
            logps,
            aim.weigh(found.permute(1, 0, 2, 3).reshape(p, t * e, -1)),
            returns / scale[0],
        )

    def _values_of(self, observations: Tensor, policy: np.ndarray) -> Tensor:
        """[k, m] values of single observations, each by the critic of its own policy."""
        which = torch.from_numpy(policy)
        most = int(np.bincount(policy).max())
        grid = torch.zeros(len(self), most, observations.shape[-1])
        place = np.zeros(len(policy), dtype=np.int64)
        for q in range(len(self)):
            own = policy == q
            place[own] = np.arange(own.sum())
        at = torch.from_numpy(place)
        grid[which, at] = observations
        values = self.networks.critic(self.views, grid)[which, at]
        return values * self.scales.std.float()[which]
