"""A population in its environments, iteration by iteration, with everything a kill must not lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto import rng
from pareto.agents.aims import Aim
from pareto.agents.collecting import Collector, HardBudget
from pareto.agents.heads import make_head
from pareto.agents.networks import Networks, StackedMLP
from pareto.agents.normalise import Running
from pareto.agents.population import Population, Snapshots
from pareto.agents.ppo import PPOConfig
from pareto.agents.schedule import linear
from pareto.agents.stacked_modules import StackedModules
from pareto.errors import ConfigError, NumericsError
from pareto.models.actors import agent_facts
from pareto.models.actors.mlp import Deployed


@dataclass(frozen=True)
class Networked:
    """A task and the shape of the policies for it.

    Args:
        task: the environment (`pareto.tasks.env.EnvTask` or what has its `open`, `discount`, `objectives`, `facts`).
        networks: of one policy.
    """

    task: Any
    networks: Networks

    @classmethod
    def of(cls, task: Any, config: PPOConfig) -> Networked:
        """The configured network for a task: perceptrons, or one that is registered under a name.

        Raises:
            ConfigError: observations that are no vectors, and no network named.
            UnknownNameError: nobody registered the network.
        """
        shape, m = task.facts.observations.shape, len(task.objectives)
        head = make_head(task.facts.actions, config.std)
        if config.network is not None:
            return cls(task, StackedModules(config.network, shape, head, m))
        if len(shape) != 1:
            raise ConfigError(
                f"perceptrons see vectors; {task.id} has observations of shape {shape}; wrap the environment, or name a "
                "network for them (ppo.network: nature_cnn, or one of your own)"
            )
        networks = StackedMLP(shape[0], head, m, config.hidden)
        return cls(task, networks)


def first_policies(networked: Networked, n: int, seed: int) -> Snapshots:
    """N untrained policies."""
    draw = torch.Generator().manual_seed(rng.derive_seed("first policies", seed))
    d = int(np.prod(networked.task.facts.observations.shape))
    parameters = networked.networks.begin(n, draw)
    return Snapshots(parameters, Running.begin(n, d), Running.begin(n, networked.networks.m))


def constant_policies(networked: Networked, seed: int) -> Snapshots:
    """Untrained policies that take the same action in every state: each of the discrete ones, or 0 on all axes.

    Raises:
        ConfigError: networks that are no perceptrons.
    """
    networks = networked.networks
    if not isinstance(networks, StackedMLP):
        raise ConfigError(
            "method.constants needs perceptrons; leave out ppo.network, or set constants: false"
        )
    outputs = networks.head.constants()
    policies = first_policies(networked, len(outputs), seed)
    views = networks.views(policies.parameters)
    views["actor.weight"].zero_()
    views["actor.bias"].copy_(outputs)
    return policies


class Learning:
    """Policies that learn towards an aim for one stage.

    Args:
        networked: the task and the networks.
        start: the policies to start from.
        aim: what they strive for.
        config: how they are improved.
        max_episode_steps: time limit while training; None keeps the task's.
        window: finished episodes remembered per policy.
        seed: study seed.
        stage: name of the stage; stages draw different numbers.
        budget: hard budgets of the episodes, or None.
    """

    def __init__(
        self,
        networked: Networked,
        start: Snapshots,
        aim: Aim,
        config: PPOConfig,
        *,
        max_episode_steps: int | None,
        window: int,
        seed: int,
        stage: str,
        budget: HardBudget | None = None,
    ) -> None:
        self.networked, self.aim, self.config = networked, aim, config
        self._seed = (stage, seed)
        draw = torch.Generator().manual_seed(rng.derive_seed("learning", *self._seed))
        task, p = networked.task, len(start)
        self.population = Population(networked.networks, start, config, task.discount, draw)
        envs = task.open(p * config.envs, max_episode_steps=max_episode_steps)
        seed = rng.derive_seed("training", *self._seed)
        self.collector = Collector(envs, p, task.discount, window, len(task.objectives), seed, budget)
        self.done = 0

    @property
    def steps_each(self) -> int:
        """Environment steps of one iteration."""
        return len(self.population) * self.config.envs * self.config.steps

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.done * self.steps_each

    def iterations(self, steps: int) -> int:
        """How many iterations fit into a number of steps, at least one."""
        return max(1, steps // self.steps_each)

    def step(self, total: int) -> None:
        """One iteration of a stage of `total`.

        Raises:
            NumericsError: parameters that are no longer finite.
        """
        share, c = self.done / total, self.config
        self.population.iterate(
            self.collector,
            self.aim,
            lr=c.lr * linear(1.0, c.lr_end, share),
            entropy=linear(c.entropy, c.entropy_end, share),
        )
        self.done += 1
        if not bool(torch.isfinite(self.population.parameters).all()):
            raise NumericsError(
                f"parameters are not finite after iteration {self.done}; lower method.ppo.lr (now {c.lr})"
            )

    def figures(self) -> dict[str, float]:
        """The largest mean return of each objective among the policies."""
        means = self.collector.window.means()
        best = [float(np.nanmax(c)) if np.isfinite(c).any() else float("nan") for c in means.T]
        return {f"best_{name}": value for name, value in zip(self.networked.task.objectives.names, best)}

    def store(self, i: int, actions: Deployed, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write one policy as it is now."""
        offset, scale = self.population.scaler.running.affine(i)
        row = self.population.parameters[i].detach()
        networks, told = self.networked.networks, self.networked.task.facts
        common = agent_facts(networks.kind, told.observations, told.actions)
        networks.store(row, offset, scale, actions, folder, {**common, **facts})

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) that `load` takes back.

        Copies that cannot be stopped in the middle of an episode start new ones here, with or without a kill.
        """
        population, collector = self.population, self.collector
        tensors = {
            "parameters": population.parameters,
            "first": population.adam.first,
            "second": population.adam.second,
            "draw": population.draw.get_state(),
        }
        for name, running in (("observed", population.scaler.running), ("scales", population.scales)):
            tensors |= {f"{name}.{k}": getattr(running, k) for k in ("count", "mean", "var")}
        stopped = collector.envs.state_dict()
        if stopped is not None:
            tensors |= {f"env.{k}": torch.from_numpy(v) for k, v in stopped.items()}
        else:
            collector.begin(rng.derive_seed("training", *self._seed, self.done))
        tensors |= {f"episodes.{k}": torch.from_numpy(v.copy()) for k, v in _episodes(collector).items()}
        facts = {"done": self.done, "adam_steps": population.adam.steps, "aim": self.aim.state()}
        return tensors, facts

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state` of the same stage."""
        population, collector = self.population, self.collector
        self.done, population.adam.steps = int(facts["done"]), int(facts["adam_steps"])
        self.aim.load(facts["aim"])
        with torch.no_grad():
            population.parameters.copy_(tensors["parameters"])
            population.adam.first.copy_(tensors["first"])
            population.adam.second.copy_(tensors["second"])
        population.draw.set_state(tensors["draw"])
        for name, running in (("observed", population.scaler.running), ("scales", population.scales)):
            for k in ("count", "mean", "var"):
                setattr(running, k, tensors[f"{name}.{k}"].clone())
        population.scaler.refresh()
        saved = {k.removeprefix("env."): v.numpy() for k, v in tensors.items() if k.startswith("env.")}
        if saved:
            collector.resume(collector.envs.load_state_dict(saved))
        else:
            collector.begin(rng.derive_seed("training", *self._seed, self.done))
        for name, array in _episodes(collector).items():
            array[...] = tensors[f"episodes.{name}"].numpy()


@final
class Course:
    """A stage of learning that is a whole job.

    Args:
        learning: at its beginning.
        steps: environment steps it may take; at least one iteration is done.
    """

    def __init__(self, learning: Learning, steps: int) -> None:
        self.learning, self.total = learning, learning.iterations(steps)

    @property
    def finished(self) -> bool:
        """Whether all iterations are done."""
        return self.learning.done >= self.total

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.learning.steps

    def step(self) -> None:
        """One iteration."""
        self.learning.step(self.total)

    def figures(self) -> dict[str, float]:
        """What the learning tells."""
        return self.learning.figures()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Of the learning."""
        return self.learning.state()

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.learning.load(tensors, facts)


def _episodes(collector: Collector) -> dict[str, np.ndarray]:
    """The collector's own arrays, by name."""
    return {
        "returns": collector.returns,
        "discount": collector.discount,
        "lengths": collector.lengths,
        "window.returns": collector.window.returns,
        "window.lengths": collector.window.lengths,
        "window.count": collector.window.count,
    }
