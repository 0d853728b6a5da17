"""What a study asks of a method, and the registry of all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pareto.cells import Cell, FitContext, Fitted
from pareto.registry import Registry


class Method(Protocol):
    """A way to make policies. A method is its own frozen configuration: `MODPO(beta=0.1)`.

    It may also say beforehand what its cells will cost (`pareto.pricing`).
    """

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> Sequence[Cell]:
        """All cells of a study, each after the cells it needs.

        Args:
            task: the study's task (`pareto.tasks.protocol.Task`); its own prerequisites come first in the plan.
            weights: objective -> number, one mapping per wanted policy. Corners that a method needs for itself and
                that are not asked for become prerequisite cells.
            seeds: study seeds; every weight vector is fitted once per seed.
        """
        ...

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Do one cell's work in `context.folder` and say which policies it made."""
        ...


METHODS: Registry[type[Method]] = Registry("method", "pareto.align", "pareto.agents")


FITTERS: Registry[Any] = Registry("way to fit objects in memory", "pareto.study.fitting")
"""What `method.fit(...)` reaches upward through: "text" for a model and its rows."""
