"""An archive as one small network that sees weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pareto import rng, simplex
from pareto.agents.cmorl import CMORL
from pareto.agents.distilling import Student, Teachers
from pareto.agents.pgmorl import PGMORL
from pareto.agents.ppo_scalarized import ScalarizedPPO
from pareto.agents.seeds import PerSeed
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.errors import ArtifactError, ConfigError
from pareto.front import hypervolume
from pareto.methods import METHODS
from pareto.models.actors import agent_facts, load_actor
from pareto.models.actors.conditioned_mlp import ConditionedMLP
from pareto.pricing import fit_price
from pareto.state.checkpoint import Checkpoints
from pareto.state.random_state import capture_random_state, restore_random_state

COMPARED = 32
"""Weights at which the network is compared with the archive, about: the finest lattice with no more."""


@METHODS.register(
    "distilled", source="Rusu et al. (2016), policy distillation; Ross et al. (2011), DAgger, with weights"
)
class Distilled(PerSeed):
    """Train the teacher's archive first, then one network that does at weights w what the best policy for w does.

    The best policy for w is the one with the largest w.G among the archive's, by fresh episodes. The network learns from the
    states that those policies visit, then for some rounds from those it visits itself, told by the policy it should follow.
    The run holds it at the study's weights; each policy's record says what the archive reaches and what is lost.

    Args:
        teacher: the method that makes the archive, at the study's weights.
        hidden: widths of the network. 64-64 is about 20 kB.
        episodes: per policy and round.
        rounds: of learning from the network's own states.
        epochs: passes over all states in every round.
        batch: states per gradient step.
        lr: learning rate of Adam.
        max_episode_steps: time limit of the episodes. None keeps the task's.
        ref_point: [m] of the hypervolumes that are told, larger is better; needed where the environment states none.
    """

    name: Literal["distilled"] = "distilled"
    teacher: Annotated[CMORL | PGMORL | ScalarizedPPO, Field(discriminator="name")] = CMORL()
    hidden: tuple[int, ...] = (64, 64)
    episodes: int = Field(default=20, ge=1)
    rounds: int = Field(default=3, ge=0)
    epochs: int = Field(default=10, ge=1)
    batch: int = Field(default=256, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    max_episode_steps: int | None = Field(default=None, ge=1)
    ref_point: tuple[float, ...] | None = None

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The teacher's job and the network's, per seed."""
        cells = []
        for own in super().plan(task, weights, seeds):
            (teacher,) = self.teacher.plan(task, weights, [own.seed])
            teacher = replace(teacher, role="prerequisite")
            cells += [teacher, replace(own, needs={"teacher": teacher.id})]
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        """The teacher's own; or episodes of every policy, of the network's rounds, and of both when they are compared, at most."""
        if "teacher" not in cell.needs:
            return fit_price(cell, task, self.teacher, None)
        taught = getattr(self.teacher, "policies", len(cell.spec["weights"]))
        episode = self.episodes * (self.max_episode_steps or task.longest)
        return Cost(
            env_steps=(taught + self.rounds) * episode,
            selection_env_steps=(taught + COMPARED) * episode,
        )

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """The teacher's search, or the distillation of what it found."""
        if "teacher" not in cell.needs:
            return self.teacher.train(cell, task, context)
        if task.facts.ref_point is None and self.ref_point is None:
            raise ConfigError(f"{task.id} states no reference point; give method.ref_point")
        policies = [
            load_actor(path.parent) for path in sorted(context.needs["teacher"].glob("**/policy.json"))
        ]
        if not policies:
            raise ArtifactError(f"the teacher's job {cell.needs['teacher']} left no policies")
        student, steps = self._taught(policies, cell.seed, task, context)
        network, spent = student.stored(), 0
        at = simplex.das_dennis(len(task.objectives), simplex.divisions_for(len(task.objectives), COMPARED))
        seeds = self._seeds("loss", cell.seed)
        volumes = {}
        for name, actors in (
            ("archive", policies),
            ("network", [ConditionedMLP(network, w) for w in at]),
        ):
            found = Teachers.measured(task, actors, seeds, self.max_episode_steps)
            volumes[name], spent = self._volume(found.values, task), spent + found.steps
        told = {
            "archive_hypervolume": volumes["archive"],
            "network_hypervolume": volumes["network"],
            "lost": 1.0 - volumes["network"] / volumes["archive"] if volumes["archive"] > 0 else None,
            "weights_tried": len(at),
            "parameters_bytes": 4 * sum(w.size + b.size for w, b in network.layers),
        }
        facts = agent_facts("conditioned_mlp", task.facts.observations, task.facts.actions)
        made = []
        for i, named in enumerate(cell.spec["weights"]):
            folder = context.folder / f"{i:03d}"
            ConditionedMLP(network, np.asarray(task.objectives.vector(named))).save(folder, facts)
            extra = {"distilled": told}
            made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", folder, dict(named), extra=extra))
        return Fitted(tuple(made), Cost(env_steps=steps, selection_env_steps=spent))

    def _taught(
        self, policies: Sequence[Any], seed: int, task: Any, context: FitContext
    ) -> tuple[Student, int]:
        """The network after all rounds, and the environment steps they took; a checkpoint is one round."""
        draw = rng.generator("distilled", seed)
        checkpoints = Checkpoints(context.scratch)
        latest = checkpoints.latest()
        if latest is None:
            teachers = Teachers.measured(task, policies, self._seeds("values", seed), self.max_episode_steps)
            student, turn, steps = Student(task, teachers, self.hidden, seed), 0, teachers.steps
        else:
            turn, tensors, facts = latest
            known = {k.removeprefix("teachers."): v for k, v in tensors.items() if k.startswith("teachers.")}
            teachers, steps = Teachers.found(policies, known), facts["steps"]
            student = Student(task, teachers, self.hidden, seed)
            student.load(tensors, facts["student"])
            restore_random_state(tensors, facts["visits"], {"visits": draw})
        context.progress(turn, self.rounds + 1, {"env_steps": steps, "states": len(student)})
        while turn <= self.rounds:
            student.learn(self.epochs, self.batch, self.lr)
            if turn < self.rounds:
                seeds = self._seeds(f"round {turn}", seed)
                steps += student.visit(seeds, self.max_episode_steps, draw)
            turn += 1
            context.progress(turn, self.rounds + 1, {"env_steps": steps, "states": len(student)})
            own, told = student.state()
            tensors, visits = capture_random_state({"visits": draw})
            tensors |= {**own, **{f"teachers.{k}": v for k, v in teachers.state().items()}}
            checkpoints.save(turn, tensors, {"steps": steps, "student": told, "visits": visits})
        return student, steps

    def _seeds(self, purpose: str, seed: int) -> list[int]:
        return [rng.derive_seed("distilled", purpose, seed, i) for i in range(self.episodes)]

    def _volume(self, values: np.ndarray, task: Any) -> float:
        """Hypervolume of means [k, m] by the environment's own reference point; those not beyond it add nothing."""
        ref = np.array(task.facts.ref_point if task.facts.ref_point is not None else self.ref_point)
        inside = values[(values > ref).all(axis=1)]
        return float(hypervolume(inside, ref)) if len(inside) else 0.0
