"""The policies of an archive as one: in every state follow the one whose value there is best for the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pareto import rng
from pareto.agents.learning import Networked
from pareto.agents.networks import StackedMLP
from pareto.agents.population import Snapshots
from pareto.errors import ConfigError
from pareto.front import hypervolume_subset
from pareto.models.actors.composed import ComposedMLP
from pareto.models.actors.mlp import Deployed, MLPActor

STARTS = 256
"""Starts of episodes by which weights are compared before any is played."""


@dataclass(frozen=True)
class Composition:
    """K policies with values of their states, from which a policy for any weights is composed.

    At weights w it follows  argmax_k w.V_k(s)  in state s. Where the values are exact it is, from every state, at least as good
    for w as the best of its policies (generalised policy improvement), and where different starts favour different policies
    it is better: it does without a coin what a mixture of policies does with one.

    Args:
        networked: the task and the networks.
        policies: [K] as they are stored.
        values: their value vectors side by side: observations [n, d] -> [n, K * m] (`pareto.agents.state_values`).

    Source: Barreto et al. (2017), successor features; Alegre et al. (2022, 2023) for several objectives. Differences: state
    values in place of action values, so that it switches between policies and never departs from all of them.
    """

    networked: Networked
    policies: Sequence[MLPActor]
    values: MLPActor

    def predicted(self, weights: np.ndarray, seed: int) -> np.ndarray:
        """[W, m] what the values say of the composed policies at [W, m] weights, over starts of episodes."""
        seeds = [rng.derive_seed("composed starts", seed, i) for i in range(STARTS)]
        with self.networked.task.open(STARTS) as envs:
            seen = envs.reset(seeds)
        values = self.values.outputs(seen).reshape(STARTS, len(self.policies), -1)
        best = np.einsum("nkm,wm->wnk", values, weights).argmax(axis=2)
        return values[np.arange(STARTS), best].mean(axis=1)

    def actor(self, weights: np.ndarray) -> ComposedMLP:
        """The composed policy at [m] weights, to be stored."""
        return ComposedMLP(self.policies, self.values, weights)


def actors_of(networked: Networked, policies: Snapshots, actions: Deployed) -> list[MLPActor]:
    """Policies as they are stored.

    Raises:
        ConfigError: networks that are no perceptrons.
    """
    networks = networked.networks
    if not isinstance(networks, StackedMLP):
        raise ConfigError("method.composed needs perceptrons; leave out ppo.network, or set composed: 0")
    return [
        networks.actor_of(policies.parameters[k], *policies.observed.affine(k), actions)
        for k in range(len(policies))
    ]


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
