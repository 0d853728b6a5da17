"""Several stored perceptrons as one policy: in every state it follows the one that is worth most from there on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from pareto.errors import ArtifactError, ConfigError, ShapeError
from pareto.models.actors import ACTORS, Actor
from pareto.models.actors.mlp import Deployed, MLPActor, read_tensors, write_tensors
from pareto.state import atomic


@ACTORS.register("composed", source="Barreto et al. (2017), theorem 1, over state values of given policies")
@final
class ComposedMLP(Actor):
    """Generalised policy improvement over K stored policies: k*(s) = argmax_k w.V_k(s), the action is that of policy k*.

    Where the values are exact, it is at every state at least as good for w as the best of the K policies there. Of
    policies that are equally good it follows the first.

    Args:
        policies: K >= 1, of the same observations [d] and actions, all deployed alike.
        values: [K] perceptrons over the same observations; the outputs of each are the value vectors [n, m] of its
            policy, in units of discounted returns, larger is better.
        weights: [m] it acts at.

    Raises:
        ConfigError: no policies, another number of values, or policies of different kinds of actions.
        ShapeError: widths that do not fit together.

    Source: Barreto et al. (2017), theorem 1; Alegre et al. (2023), GPI-LS. Difference: they take the action of
    argmax_a max_k w.Q_k(s, a); state values compare whole policies, which needs no maximum over continuous actions. The
    guarantee stays: to go on with policy k*(s) is worth max_k w.V_k(s), and to choose anew at later states only adds.
    """

    def __init__(self, policies: Sequence[MLPActor], values: Sequence[MLPActor], weights: np.ndarray) -> None:
        self.policies, self.values = tuple(policies), tuple(values)
        self.weights = np.asarray(weights, dtype=np.float64)
        if not self.policies or len(self.policies) != len(self.values):
            raise ConfigError(
                f"expected at least one policy and values for each; got {len(self.policies)} policies and "
                f"{len(self.values)} values"
            )
        if len({(p.actions, p.log_std is None) for p in self.policies}) > 1:
            raise ConfigError(
                "policies must act alike, all by mode or all by draws, all discrete or all continuous; got "
                + ", ".join(
                    f"{p.actions} {'discrete' if p.log_std is None else 'continuous'}" for p in self.policies
                )
            )
        d, n_actions = _widths(self.policies[0])
        _check("policies", self.policies, (d, n_actions))
        if self.weights.ndim != 1:
            raise ShapeError(f"weights must be a vector [m]; got shape {list(self.weights.shape)}")
        _check("values", self.values, (d, len(self.weights)))

    @property
    def actions(self) -> Deployed:
        """How every one of the policies acts."""
        return self.policies[0].actions

    def at(self, weights: np.ndarray) -> ComposedMLP:
        """The same policies and values at other weights [m]."""
        return ComposedMLP(self.policies, self.values, weights)

    def chosen(self, observations: np.ndarray) -> np.ndarray:
        """Which policy is followed at each observation [n, d]: int64 [n] from 0."""
        worth = np.stack([values.outputs(observations) @ self.weights for values in self.values])
        return worth.argmax(axis=0)

    def act(self, observations: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """One action per observation [n, d]; a policy computes nothing but the rows that follow it."""
        return self._followed(observations, lambda policy, rows: policy.act(rows, draw))

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """[n, A] logits or [n, a] means of the policies that are followed, float32."""
        return self._followed(observations, lambda policy, rows: policy.outputs(rows))

    def _followed(
        self, observations: np.ndarray, answer: Callable[[MLPActor, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """[n, ...] every observation's answer by the policy that it follows."""
        observations, followed = np.asarray(observations), self.chosen(observations)
        by_policy = np.concatenate(
            [answer(self.policies[k], observations[followed == k]) for k in np.unique(followed)]
            or [answer(self.policies[0], observations)]  # no rows at all
        )
        answers = np.empty_like(by_policy)
        answers[followed.argsort(kind="stable")] = by_policy
        return answers

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: files that are broken or do not fit together.
        """
        tensors = read_tensors(folder)
        try:
            policies = _stored(tensors, "policies", facts["actions"])
            return cls(policies, _stored(tensors, "values", "mode"), np.array(facts["weights"], np.float64))
        except (KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{folder} does not hold stored policies with values: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write policies, values and weights as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        tensors: dict[str, np.ndarray] = {}
        for k, (policy, values) in enumerate(zip(self.policies, self.values, strict=True)):
            tensors |= policy.tensors(f"policies.{k}.") | values.tensors(f"values.{k}.")
        write_tensors(folder, tensors)
        told = {"weights": self.weights.tolist(), "actions": self.actions}
        atomic.write_json(folder / "policy.json", {**facts, **told})


def _widths(network: MLPActor) -> tuple[int, int]:
    return len(network.offset), len(network.layers[-1][1])


def _check(name: str, networks: Sequence[MLPActor], wanted: tuple[int, int]) -> None:
    for k, network in enumerate(networks):
        if (widths := _widths(network)) != wanted:
            raise ShapeError(
                f"{name}[{k}] must take {wanted[0]} inputs and give {wanted[1]} outputs like the others; it takes "
                f"{widths[0]} and gives {widths[1]}"
            )


def _stored(tensors: Mapping[str, np.ndarray], name: str, actions: Deployed) -> list[MLPActor]:
    n = sum(key.startswith(f"{name}.") and key.endswith(".offset") for key in tensors)
    return [MLPActor.from_tensors(tensors, actions, f"{name}.{k}.") for k in range(n)]
