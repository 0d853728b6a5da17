"""Pareto Q-learning: one table of sets of value vectors, one policy for every vector that nothing dominates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pareto import rng
from pareto.agents.schedule import linear
from pareto.agents.seeds import AgentMethod
from pareto.agents.value_sets import Key, ValueSets
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.errors import ConfigError
from pareto.front import hypervolume
from pareto.methods import METHODS
from pareto.models.actors import agent_facts
from pareto.models.actors.table import TableActor
from pareto.state.checkpoint import Checkpoints
from pareto.state.random_state import capture_random_state, restore_random_state

Worths = dict[tuple[Key, int], tuple[np.ndarray | None, float]]
"""(state, action) -> the set that followed when its hypervolume was worked out, and that hypervolume."""


@METHODS.register(
    "pareto_q", source="Van Moffaert and Nowe (2014), JMLR 15, with hypervolume action selection"
)
class ParetoQ(AgentMethod):
    """Learn all trade-offs of a small deterministic environment at once, those inside dents of the front included.

    Every state and action keeps a mean reward and the undominated value vectors of what follows; actions are chosen
    epsilon-greedily by the hypervolume of their sets. At the end the sets are worked out from all that was seen, and every
    vector of the first state becomes a policy. Weights of the study play no part. An environment with chance in it, or with
    several first states, is refused: a set of vectors per state cannot follow several futures.

    Args:
        total_steps: environment steps of a job.
        copies: of the environment, which all feed one table.
        epsilon: share of random actions at the start; it falls linearly to `epsilon_end`.
        epsilon_end: see above. 0.1 is from memory, as is the linear fall.
        ref_point: [m] of the hypervolumes, larger is better; None takes the environment's own.
        checkpoint_every: steps of every copy between checkpoints.
    """

    name: Literal["pareto_q"] = "pareto_q"
    total_steps: int = Field(default=100_000, ge=1)
    copies: int = Field(default=8, ge=1)
    epsilon: float = Field(default=1.0, ge=0, le=1)
    epsilon_end: float = Field(default=0.1, ge=0, le=1)
    ref_point: tuple[float, ...] | None = None
    checkpoint_every: int = Field(default=5_000, ge=1)

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per seed."""
        spec = {"method": self.model_dump(mode="json"), "task": task.model_dump(mode="json")}
        return [Cell("policy", "method", spec, seed=seed) for seed in seeds]

    def price(self, cell: Cell, task: Any) -> Cost:
        """Whole rounds of all copies, one at least."""
        return Cost(env_steps=max(1, self.total_steps // self.copies) * self.copies)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Fill the table and store a policy per vector.

        Raises:
            ConfigError: actions that are not discrete, no reference point, chance, or several first states.
        """
        actions = task.facts.actions
        ref_point = self.ref_point if self.ref_point is not None else task.facts.ref_point
        if not actions.discrete or ref_point is None:
            raise ConfigError(
                f"pareto_q needs discrete actions and a reference point; {task.id} has {actions.space} and "
                f"{ref_point}; give method.ref_point or take another method"
            )
        sets = ValueSets(actions.size, len(task.objectives), task.discount)
        start, steps = self._explore(sets, task, np.array(ref_point), cell.seed, context)
        sets.solve(horizon=10_000)
        made = []
        for i, value in enumerate(sets.sets[start]):
            folder = context.folder / f"{i:03d}"
            policy = sets.policy(start, value)
            rows = np.stack([sets.observations[state] for state in policy])
            facts = agent_facts("table", task.facts.observations, actions)
            TableActor(rows, np.array(list(policy.values()))).save(folder, facts)
            made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", folder, None))
        return Fitted(tuple(made), Cost(env_steps=steps))

    def _explore(
        self, sets: ValueSets, task: Any, ref_point: np.ndarray, seed: int, context: FitContext
    ) -> tuple[Key, int]:
        """Fill the table; returns the first state and the environment steps taken."""
        draw = rng.generator("pareto_q", seed)
        rounds = max(1, self.total_steps // self.copies)
        checkpoints = Checkpoints(context.scratch)
        latest, begin = checkpoints.latest(), 0
        with task.open(self.copies) as envs:
            seen = envs.reset([rng.derive_seed("training", seed, i) for i in range(self.copies)])
            start = _key(sets, seen[0])
            worths: Worths = {}  # each follows from the sets, so that no checkpoint holds them
            if latest is not None:
                begin, seen = latest[0], _resume(sets, envs, draw, *latest, seed)
            context.progress(begin, rounds, {"env_steps": begin * self.copies})
            for t in range(begin, rounds):
                epsilon = linear(self.epsilon, self.epsilon_end, t / rounds)
                states = [_key(sets, row) for row in seen]
                chosen = np.array([self._choose(sets, s, ref_point, epsilon, draw, worths) for s in states])
                step = envs.step(chosen)
                for i, state in enumerate(states):
                    over = bool(step.terminated[i])
                    after = None if over else _key(sets, step.final_observations[i])
                    _check_sure(sets, state, int(chosen[i]), step.rewards[i], after, task.id)
                    sets.learn(state, int(chosen[i]), step.rewards[i], after)
                ended = np.flatnonzero(step.terminated | step.truncated)
                if any(_key(sets, step.observations[i]) != start for i in ended):
                    raise ConfigError(f"pareto_q needs one first state; {task.id} begins in several")
                seen = step.observations
                if t % 256 == 0 or t == rounds - 1:
                    front = sets.sets.get(start, np.zeros((0, sets.m)))
                    context.progress(
                        t + 1, rounds, {"env_steps": (t + 1) * self.copies, "vectors": len(front)}
                    )
                if (t + 1) % self.checkpoint_every == 0 and t + 1 < rounds:
                    tensors, facts = _state(sets, envs, draw)
                    checkpoints.save(t + 1, tensors, facts)
                    if envs.state_dict() is None:  # these start new episodes here, with or without a kill
                        seen = _begin(envs, seed, t + 1)
        return start, rounds * self.copies

    def _choose(
        self,
        sets: ValueSets,
        state: Key,
        ref_point: np.ndarray,
        epsilon: float,
        draw: np.random.Generator,
        worths: Worths,
    ) -> int:
        untried = [a for a in range(sets.n_actions) if (state, a) not in sets.rewards]
        if untried:
            return int(draw.choice(untried))
        if draw.random() < epsilon:
            return int(draw.integers(sets.n_actions))
        worth = [self._worth(sets, state, a, ref_point, worths) for a in range(sets.n_actions)]
        best = np.flatnonzero(np.isclose(worth, max(worth)))
        return int(draw.choice(best))

    def _worth(
        self, sets: ValueSets, state: Key, action: int, ref_point: np.ndarray, worths: Worths
    ) -> float:
        """Hypervolume of Q(state, action), worked out anew only where what follows has changed."""
        following = sets.after[state, action]
        after = None if following is None else sets.sets.get(following)
        known = worths.get((state, action))
        if known is None or known[0] is not after:
            values = sets.q(state, action)
            inside = values[(values > ref_point).all(axis=1)]
            known = (after, float(hypervolume(inside, ref_point)) if len(inside) else 0.0)
            worths[state, action] = known
        return known[1]


def _begin(envs: Any, seed: int, done: int) -> np.ndarray:
    """New episodes after so many steps of every copy."""
    return envs.reset([rng.derive_seed("training", seed, done, i) for i in range(envs.copies)])


def _state(sets: ValueSets, envs: Any, draw: np.random.Generator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, facts) of a checkpoint."""
    stopped = envs.state_dict() or {}
    tensors, facts = capture_random_state({"draw": draw})
    tensors |= {f"sets.{k}": v for k, v in sets.state().items()}
    tensors |= {f"env.{k}": torch.from_numpy(v) for k, v in stopped.items()}
    return tensors, {"random": facts}


def _resume(
    sets: ValueSets,
    envs: Any,
    draw: np.random.Generator,
    step: int,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    seed: int,
) -> np.ndarray:
    """Put back a checkpoint; returns what the copies show there."""
    restore_random_state(tensors, facts["random"], {"draw": draw})
    sets.load({k.removeprefix("sets."): v for k, v in tensors.items() if k.startswith("sets.")})
    stopped = {k.removeprefix("env."): v.numpy() for k, v in tensors.items() if k.startswith("env.")}
    return envs.load_state_dict(stopped) if stopped else _begin(envs, seed, step)


def _key(sets: ValueSets, observation: np.ndarray) -> Key:
    key = observation.tobytes()
    if key not in sets.observations:
        sets.observations[key] = observation.copy()
    return key


def _check_sure(
    sets: ValueSets, state: Key, action: int, reward: np.ndarray, after: Key | None, env_id: str
) -> None:
    known = sets.rewards.get((state, action))
    if known is not None and (
        sets.after[state, action] != after or not np.allclose(known[0], reward, rtol=1e-4, atol=1e-6)
    ):
        raise ConfigError(
            f"pareto_q needs a deterministic environment; in {env_id} action {action} at {sets.observations[state]} had "
            "two outcomes; take another method"
        )
