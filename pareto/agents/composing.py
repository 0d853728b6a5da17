"""The policies of an archive as one: in every state follow the one whose value there is best for the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pareto import rng
from pareto.agents.collecting import Scaler
from pareto.agents.evaluating import in_a_row
from pareto.agents.learning import Networked
from pareto.agents.networks import StackedMLP
from pareto.agents.population import Snapshots
from pareto.errors import ConfigError
from pareto.front import hypervolume_subset
from pareto.models.actors.composed import ComposedMLP
from pareto.models.actors.mlp import Deployed
from pareto.tasks.env.episodes import play

RIDGE = 1e-3
"""Penalty on the squares of a value's last layer, per state."""
STARTS = 256
"""Starts of episodes by which weights are compared before any is played."""


@dataclass(frozen=True)
class Composition:
    """K policies with values of their states, from which a policy for any weights is composed.

    At weights w it follows  argmax_k w.V_k(s)  in state s. Where the values are exact it is, from every state, at least as good
    for w as the best of its policies (generalised policy improvement), and where different starts favour different policies
    it is better: it does without a coin what a mixture of policies does with one.

    Args:
        networked: the task and the networks, perceptrons.
        policies: K of them; the last layers of their critics are fitted to the task's discount (`composition`).
        actions: how they act.

    Source: Barreto et al. (2017), successor features; Alegre et al. (2022, 2023) for several objectives. Differences: state
    values in place of action values, so that it switches between policies and never departs from all of them.
    """

    networked: Networked
    policies: Snapshots
    actions: Deployed

    def predicted(self, weights: np.ndarray, seed: int) -> np.ndarray:
        """[W, m] what the values say of the composed policies at [W, m] weights, over starts of episodes."""
        seeds = [rng.derive_seed("composed starts", seed, i) for i in range(STARTS)]
        with self.networked.task.open(STARTS) as envs:
            values = self._values(_raw(envs.reset(seeds)))
        best = np.einsum("knm,wm->wkn", values, weights).argmax(axis=1)
        return values[best, np.arange(STARTS)].mean(axis=1)

    def actor(self, weights: np.ndarray) -> ComposedMLP:
        """The composed policy at [m] weights, to be stored."""
        networks = self.networked.networks
        assert isinstance(networks, StackedMLP)  # `composition` sees to it
        pairs = [
            (
                networks.actor_of(self.policies.parameters[k], *affine, self.actions),
                networks.critic_of(self.policies.parameters[k], *affine, self.policies.scales.std[k].numpy()),
            )
            for k in range(len(self.policies))
            for affine in [self.policies.observed.affine(k)]
        ]
        return ComposedMLP([a for a, _ in pairs], [v for _, v in pairs], weights)

    @torch.no_grad()
    def _values(self, raw: Tensor) -> np.ndarray:
        """[K, n, m] of raw observations [1, n, d]."""
        networks, k = self.networked.networks, len(self.policies)
        seen = Scaler(self.policies.observed)(raw.expand(k, -1, -1))
        values = networks.critic(networks.views(self.policies.parameters), seen)
        return (values * self.policies.scales.std.float()[:, None]).numpy()


@dataclass(frozen=True)
class Watched:
    """Episodes of K policies, state by state.

    Args:
        states: [K] raw observations [n_k, d] that each policy saw.
        worth: [K] what followed them [n_k, m]: discounted returns to the end of the episode.
        returns: [K, n, m] of the episodes.
        steps: true environment steps.
    """

    states: list[Tensor]
    worth: list[Tensor]
    returns: np.ndarray
    steps: int


def watched(
    networked: Networked,
    policies: Snapshots,
    episodes: int,
    actions: Deployed,
    *,
    max_episode_steps: int | None,
    seed: int,
    label: str,
) -> Watched:
    """Play n episodes with each of K policies.

    Args:
        networked: the task and the networks.
        policies: K of them.
        episodes: n per policy.
        actions: how the policies act.
        max_episode_steps: time limit; None keeps the task's.
        seed: study seed.
        label: another label is other episodes; none of them is among those the task scores by.
    """
    networks, task, k, row = networked.networks, networked.task, len(policies), in_a_row(episodes)
    views, scaler = networks.views(policies.parameters), Scaler(policies.observed)
    draw = torch.Generator().manual_seed(rng.derive_seed("watched actions", label, seed))
    seen_of: list[Tensor] = []
    told_of: list[tuple[np.ndarray, ...]] = []

    @torch.no_grad()
    def act(seen: np.ndarray) -> np.ndarray:
        seen_of.append(_raw(seen).view(k, episodes // row, -1).clone())
        outputs, head = networks.actor(views, scaler(seen_of[-1])), networks.head
        chosen = head.mode(outputs) if actions == "mode" else head.sample(outputs, views, draw)
        return chosen.flatten(0, 1).numpy()

    def watch(_: np.ndarray, *told: np.ndarray) -> None:
        told_of.append(tuple(x.reshape(k, episodes // row, *x.shape[1:]).copy() for x in told))

    seeds = [rng.derive_seed("watched", label, seed, i) for i in range(episodes // row)] * k
    with task.open(len(seeds), max_episode_steps=max_episode_steps) as envs:
        played = play(envs, act, seeds, task.discount, in_a_row=row, watch=watch)
    rewards, playing, over = (np.stack(x) for x in zip(*told_of))
    worth, states = returns_to_go(rewards, over, task.discount), torch.stack(seen_of)
    return Watched(
        [states[:, i][torch.from_numpy(playing[:, i])] for i in range(k)],
        [torch.from_numpy(worth[:, i][playing[:, i]]) for i in range(k)],
        played.returns.reshape(k, episodes, -1),
        played.steps,
    )


def composition(
    networked: Networked, policies: Snapshots, seen: Sequence[Watched], actions: Deployed
) -> Composition:
    """Fit the last layers of K policies' critics to what their episodes were worth.

    The critics were fitted to actions that were drawn, and to whatever discount the policies learned with; their hidden
    layers are kept. The last layer is a ridge regression on the discounted returns from every state that was seen.

    Args:
        networked: the task and the networks.
        policies: K of them.
        seen: at least one set of episodes of theirs.
        actions: how the policies act.

    Raises:
        ConfigError: networks that are no perceptrons.
    """
    networks, k = networked.networks, len(policies)
    if not isinstance(networks, StackedMLP):
        raise ConfigError("method.composed needs perceptrons; leave out ppo.network, or set composed: 0")
    policies = policies.rows(range(k))
    views, scaler = networks.views(policies.parameters), Scaler(policies.observed)
    for i in range(k):
        raw, worth = (torch.cat([getattr(w, name)[i] for w in seen]) for name in ("states", "worth"))
        hidden = networks.critic_features(views, scaler(raw.expand(k, -1, -1)))[i]
        weight, bias = ridge(hidden.double(), worth)
        std = policies.scales.std[i]
        views["critic.weight"][i], views["critic.bias"][i] = (weight / std).float(), (bias / std).float()
    return Composition(networked, policies, actions)


def returns_to_go(rewards: np.ndarray, over: np.ndarray, gamma: float) -> np.ndarray:
    """[T, ..., m] discounted sums of rewards [T, ..., m] from every step to the end of its episode, over [T, ...]."""
    worth = np.zeros_like(rewards, dtype=np.float64)
    ahead = np.zeros(rewards.shape[1:])
    for t in reversed(range(len(rewards))):
        worth[t] = ahead = rewards[t] + gamma * np.where(over[t][..., None], 0.0, ahead)
    return worth


def ridge(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(W [h, m], b [m]) with least |x W + b - y|^2 / n + RIDGE |W|^2, for inputs [n, h] and targets [n, m]."""
    centre, mean = inputs.mean(dim=0), targets.mean(dim=0)
    x, n = inputs - centre, len(inputs)
    gram = x.T @ x / n + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(gram, x.T @ (targets - mean) / n)
    return weight, mean - centre @ weight


def weights_to_try(
    predict: Callable[[np.ndarray], np.ndarray],
    best: np.ndarray,
    ref_point: np.ndarray,
    most: int,
    seed: int,
    *,
    of: int = 512,
) -> np.ndarray:
    """[most, m] weights whose composed policies should have most hypervolume together, the best first.

    What is predicted is compared with predictions alone: these differ from what episodes give by more than from each other.

    Args:
        predict: weights [W, m] -> predicted returns [W, m].
        best: [m] the largest returns there are; they and the reference point set each objective's unit.
        ref_point: [m], larger is better.
        most: 0 to `of`.
        seed: of the weights that are looked at, uniform on the simplex in those units.
        of: how many are looked at.
    """
    reach = np.maximum(best - ref_point, 1e-12)
    tried = rng.generator("composed weights", seed).dirichlet(np.ones(len(reach)), size=of) / reach
    return tried[hypervolume_subset(predict(tried), ref_point, most)]


def _raw(seen: np.ndarray) -> Tensor:
    """[1, n, d] float32."""
    return torch.from_numpy(np.asarray(seen, dtype=np.float32)).flatten(1)[None]
