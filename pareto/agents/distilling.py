"""Teachers whose values are known, and a network that learns to do what the best of them does for given weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pareto import rng
from pareto.models.actors import Actor
from pareto.models.actors.conditioned_mlp import ConditionedMLP
from pareto.models.actors.mlp import MLPActor
from pareto.state.random_state import capture_random_state, restore_random_state
from pareto.tasks.env.episodes import play


@dataclass(frozen=True)
class Teachers:
    """Policies with what they reach and the states they see.

    Args:
        actors: K of them; those that give outputs (perceptrons).
        values: [K, m] mean returns, larger is better.
        states: per policy the encoded observations [n, d] of its episodes.
        steps: true environment steps it took.
    """

    actors: Sequence[Any]
    values: np.ndarray
    states: Sequence[np.ndarray]
    steps: int

    @classmethod
    def measured(
        cls, task: Any, actors: Sequence[Actor], seeds: Sequence[int], max_episode_steps: int | None
    ) -> Teachers:
        """Play every policy on the same episodes."""
        values, states, steps = [], [], 0
        for actor in actors:
            seen, played = _watched(task, actor, seeds, max_episode_steps, rng.generator("teacher", *seeds))
            values.append(played.returns.mean(axis=0))
            states.append(seen)
            steps += played.steps
        return cls(actors, np.array(values), states, steps)

    def state(self) -> dict[str, Tensor]:
        """What playing them found, for `found`."""
        return {
            "values": torch.from_numpy(self.values),
            "states": torch.from_numpy(np.concatenate(list(self.states))),
            "sizes": torch.tensor([len(seen) for seen in self.states]),
            "steps": torch.tensor(self.steps),
        }

    @classmethod
    def found(cls, actors: Sequence[Any], tensors: Mapping[str, Tensor]) -> Teachers:
        """The same actors with what playing them had found."""
        states = np.split(tensors["states"].numpy(), tensors["sizes"].numpy().cumsum()[:-1])
        return cls(actors, tensors["values"].numpy(), states, int(tensors["steps"]))

    def best(self, weights: np.ndarray) -> np.ndarray:
        """[n] which policy has the largest w.G, for weights [n, m]."""
        return (weights @ self.values.T).argmax(axis=1)


class Student:
    """A tanh perceptron over (observation, weights) and the states it is taught on.

    Args:
        task: the environment.
        teachers: K policies.
        hidden: widths.
        seed: of parameters and draws.
    """

    def __init__(self, task: Any, teachers: Teachers, hidden: tuple[int, ...], seed: int) -> None:
        self.task, self.teachers = task, teachers
        self._draw = torch.Generator().manual_seed(rng.derive_seed("student", seed))
        self._numbers = rng.generator("student weights", seed)
        m = teachers.values.shape[1]
        useful = np.unique(teachers.best(self._numbers.dirichlet(np.ones(m), size=4096)))
        self._states, self._weights, self._follows = np.zeros((0, 0)), np.zeros((0, m)), np.zeros(0, int)
        for k in useful:
            self._add(teachers.states[k], self._weights_for(int(k), len(teachers.states[k])), int(k))
        d, width = self._states.shape[1], task.facts.actions.size
        widths = (d + m, *hidden, width)
        self._offset = np.append(self._states.mean(axis=0), np.zeros(m)).astype(np.float32)
        scale = 1.0 / np.maximum(self._states.std(axis=0), 1e-4)
        self._scale = np.append(scale, np.ones(m)).astype(np.float32)
        layers: list[nn.Module] = []
        for i in range(len(widths) - 1):
            linear = nn.Linear(widths[i], widths[i + 1])
            nn.init.orthogonal_(linear.weight, generator=self._draw)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.Tanh()]
        self._net = nn.Sequential(*layers[:-1])

    def __len__(self) -> int:
        return len(self._states)

    def learn(self, epochs: int, batch: int, lr: float) -> None:
        """Cross-entropy to the actions of the policies to follow, or squared distance to them where actions are numbers."""
        inputs = torch.from_numpy(np.concatenate([self._states, self._weights], axis=1).astype(np.float32))
        inputs = ((inputs - torch.from_numpy(self._offset)) * torch.from_numpy(self._scale)).clamp(-10, 10)
        answers = self._answers()
        adam = torch.optim.Adam(self._net.parameters(), lr=lr)
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs), generator=self._draw).split(batch):
                found = self._net(inputs[rows])
                if self.task.facts.actions.discrete:
                    loss = nn.functional.cross_entropy(found, answers[rows])
                else:
                    loss = nn.functional.mse_loss(found, answers[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()

    def visit(self, seeds: Sequence[int], max_episode_steps: int | None, draw: np.random.Generator) -> int:
        """Take in the states that the network itself sees at some weights; returns the environment steps."""
        m, steps = self.teachers.values.shape[1], 0
        network = self.stored()
        for weights in (*np.eye(m), *self._numbers.dirichlet(np.ones(m), size=3 * m)):
            actor = ConditionedMLP(network, weights)
            seen, played = _watched(self.task, actor, seeds, max_episode_steps, draw)
            k = int(self.teachers.best(weights[None])[0])
            self._add(seen, self._weights_for(k, len(seen), near=weights), k)
            steps += played.steps
        return steps

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) that `load` takes back."""
        tensors, facts = capture_random_state({"torch": self._draw, "numpy": self._numbers})
        tensors |= {f"network.{name}": value for name, value in self._net.state_dict().items()}
        told = {"states": self._states, "weights": self._weights, "follows": self._follows}
        return {**tensors, **{name: torch.from_numpy(rows) for name, rows in told.items()}}, facts

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state` of a student of the same teachers."""
        restore_random_state(tensors, facts, {"torch": self._draw, "numpy": self._numbers})
        names = [name for name in tensors if name.startswith("network.")]
        self._net.load_state_dict({name.removeprefix("network."): tensors[name] for name in names})
        self._states, self._weights, self._follows = (
            tensors[name].numpy() for name in ("states", "weights", "follows")
        )

    def stored(self) -> MLPActor:
        """The network as numpy arrays."""
        layers = [
            (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
            for layer in self._net
            if isinstance(layer, nn.Linear)
        ]
        discrete = self.task.facts.actions.discrete
        log_std = None if discrete else np.zeros(self.task.facts.actions.size, dtype=np.float32)
        return MLPActor(layers, self._offset, self._scale, "mode", log_std)

    def _add(self, states: np.ndarray, weights: np.ndarray, k: int) -> None:
        old = self._states if len(self._states) else np.zeros((0, states.shape[1]))
        self._states = np.concatenate([old, states])
        self._weights = np.concatenate([self._weights, weights])
        self._follows = np.concatenate([self._follows, np.full(len(states), k)])

    def _weights_for(self, k: int, n: int, near: np.ndarray | None = None) -> np.ndarray:
        """[n, m] weights for which policy k is the best; half of them `near` where that is given."""
        m = self.teachers.values.shape[1]
        pool = self._numbers.dirichlet(np.ones(m), size=8192)
        own = pool[self.teachers.best(pool) == k]
        if not len(own):
            own = np.eye(m) if near is None else near[None]
        chosen = own[self._numbers.integers(len(own), size=n)]
        if near is not None:
            chosen[::2] = near
        return chosen

    def _answers(self) -> Tensor:
        """[n] actions or [n, a] means of the policies to follow, at every state."""
        rows = np.zeros((len(self._states), self.task.facts.actions.size), dtype=np.float32)
        for k in np.unique(self._follows):
            own = self._follows == k
            rows[own] = self.teachers.actors[k].outputs(self._states[own])
        return torch.from_numpy(rows.argmax(axis=1) if self.task.facts.actions.discrete else rows)


def _watched(
    task: Any, actor: Actor, seeds: Sequence[int], max_episode_steps: int | None, draw: np.random.Generator
) -> tuple[np.ndarray, Any]:
    """(encoded observations that the episodes' copies showed, the episodes)."""
    seen: list[np.ndarray] = []

    def act(observations: np.ndarray) -> np.ndarray:
        seen.append(observations.copy())
        return actor.act(observations, draw)

    with task.open(len(seeds), max_episode_steps=max_episode_steps) as envs:
        played = play(envs, act, seeds, task.discount)
    within = np.arange(len(seen))[:, None] < played.lengths[None]
    return np.stack(seen)[within], played
