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
        values: a perceptron over the same observations; its outputs [n, K * m] are the value vectors of the policies side by
            side, in units of discounted returns, larger is better.
        weights: [m] it acts at.

    Raises:
        ConfigError: no policies, or policies of different kinds of actions.
        ShapeError: widths that do not fit together.

    Source: Barreto et al. (2017), theorem 1; Alegre et al. (2023), GPI-LS. Difference: they take the action of
    argmax_a max_k w.Q_k(s, a); state values compare whole policies, which needs no maximum over continuous actions. The
    guarantee stays: to go on with policy k*(s) is worth max_k w.V_k(s), and to choose anew at later states only adds.
    """

    def __init__(self, policies: Sequence[MLPActor], values: MLPActor, weights: np.ndarray) -> None:
        self.policies, self.values = tuple(policies), values
        self.weights = np.asarray(weights, dtype=np.float64)
        if not self.policies:
            raise ConfigError("expected at least one policy; got none")
        if len({(p.actions, p.log_std is None) for p in self.policies}) > 1:
            raise ConfigError(
                "policies must act alike, all by mode or all by draws, all discrete or all continuous; got "
                + ", ".join(
                    f"{p.actions} {'discrete' if p.log_std is None else 'continuous'}" for p in self.policies
                )
            )
        d, n_actions = _widths(self.policies[0])
        for k, policy in enumerate(self.policies):
            _check(f"policies[{k}]", policy, d, n_actions)
        if self.weights.ndim != 1:
            raise ShapeError(f"weights must be a vector [m]; got shape {list(self.weights.shape)}")
        _check("values", values, d, len(self.policies) * len(self.weights))

    @property
    def actions(self) -> Deployed:
        """How every one of the policies acts."""
        return self.policies[0].actions

    def at(self, weights: np.ndarray) -> ComposedMLP:
        """The same policies and values at other weights [m]."""
        return ComposedMLP(self.policies, self.values, weights)

    def chosen(self, observations: np.ndarray) -> np.ndarray:
        """Which policy is followed at each observation [n, d]: int64 [n] from 0."""
        worth = self.values.outputs(observations)
        return (worth.reshape(len(worth), len(self.policies), len(self.weights)) @ self.weights).argmax(
            axis=1
        )

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
        return follow(self.chosen(observations), observations, lambda k, rows: answer(self.policies[k], rows))

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: files that are broken or do not fit together.
        """
        tensors = read_tensors(folder)
        try:
            n = sum(key.startswith("policies.") and key.endswith(".offset") for key in tensors)
            policies = [MLPActor.from_tensors(tensors, facts["actions"], f"policies.{k}.") for k in range(n)]
            values = MLPActor.from_tensors(tensors, "mode", "values.")
            return cls(policies, values, np.array(facts["weights"], np.float64))
        except (KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{folder} does not hold stored policies with values: {error}") from error

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write policies, values and weights as a policy folder.

        Args:
            folder: made when missing.
            facts: what `agent_facts` says, and more where wanted.
        """
        tensors = self.values.tensors("values.")
        for k, policy in enumerate(self.policies):
            tensors |= policy.tensors(f"policies.{k}.")
        write_tensors(folder, tensors)
        told = {"weights": self.weights.tolist(), "actions": self.actions}
        atomic.write_json(folder / "policy.json", {**facts, **told})


def follow(
    followed: np.ndarray, observations: np.ndarray, answer: Callable[[int, np.ndarray], np.ndarray]
) -> np.ndarray:
    """[n, ...] every observation's answer by the policy that it follows.

    Args:
        followed: [n] policies from 0.
        observations: [n, d].
        answer: (policy, its observations) -> answers; without any observations the first is asked.
    """
    observations = np.asarray(observations)
    by_policy = np.concatenate(
        [answer(int(k), observations[followed == k]) for k in np.unique(followed)]
        or [answer(0, observations)]  # no rows at all
    )
    answers = np.empty_like(by_policy)
    answers[followed.argsort(kind="stable")] = by_policy
    return answers


def _widths(network: MLPActor) -> tuple[int, int]:
    return len(network.offset), len(network.layers[-1][1])


def _check(name: str, network: MLPActor, inputs: int, outputs: int) -> None:
    own = _widths(network)
    if own != (inputs, outputs):
        raise ShapeError(
            f"{name} must take {inputs} inputs and give {outputs} outputs; it takes {own[0]} and gives {own[1]}"
        )
