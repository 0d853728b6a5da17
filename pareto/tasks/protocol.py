"""What a study asks of a task, and what a preference method asks of a task with text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.data.pairs import PreferencePairs
from pareto.objectives import Objectives


@dataclass(frozen=True)
class Scores:
    """Measured values of one policy on one split.

    Args:
        values: [n, m] float64, one row per unit (prompt, instance, episode), in each objective's own direction.
        unit_ids: [n] names of the units; the same units for every policy, so that resampling is paired.
        split: "selection" (may be used to choose) or "heldout" (reported).
        facts: per-policy figures that are not objectives: kl_nats, kl_to_exact_nats, optimality,
            optimality_heldout, text (mapping), ... They go into the policy's record in front.json.
        cost: what scoring cost.
    """

    values: np.ndarray
    unit_ids: np.ndarray
    split: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)


class Task(Protocol):
    """What every task can do. A task is its own frozen configuration."""

    kind: str

    @property
    def objectives(self) -> Objectives:
        """The objectives, in order."""
        ...

    def prerequisites(self) -> Mapping[str, Cell]:
        """Cells the task itself must make before any method runs: {"reference": cell} for text tasks, {} for others."""
        ...

    def build(self, name: str, cell: Cell, context: FitContext) -> Fitted:
        """Make the prerequisite called `name` into `context.folder`."""
        ...

    def score(
        self,
        policy: Path,
        kind: str,
        weights: Mapping[str, float] | None,
        split: str,
        needs: Mapping[str, Path],
    ) -> Scores:
        """Measure the policy stored in a folder, on "selection" or "heldout" units."""
        ...

    def samples(
        self, policy: Path, kind: str, needs: Mapping[str, Path], n: int
    ) -> Sequence[Mapping[str, Any]]:
        """A few texts or trajectories of the policy on held-out units, for people to read."""
        ...

    def exact(
        self, policies: Sequence[Mapping[str, Any]], ref_point: np.ndarray, needs: Mapping[str, Path]
    ) -> Mapping[str, Any] | None:
        """The `exact` block of front.json, or None where truth is not known."""
        ...


@runtime_checkable
class PreferenceTask(Task, Protocol):
    """A task a preference method can train on: it has a reference model and labelled pairs."""

    def load_reference(self, folder: Path, device: str, dtype: str) -> tuple[Any, Any]:
        """(model, tokenizer) of the reference policy in the folder made by `build("reference", ...)`."""
        ...

    def load_pairs(self, folder: Path) -> PreferencePairs:
        """Training pairs, tokenised with the reference's tokenizer."""
        ...

    def load_rewards(self, folder: Path) -> np.ndarray:
        """[n_responses, m] float64 rewards of the pairs' responses, for methods that are given rewards; NaN where an objective has none."""
        ...
