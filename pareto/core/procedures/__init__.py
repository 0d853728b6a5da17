"""Procedures around a loss: in which rounds, on which pairs and against which reference it is minimised.

One file each, found by walking this folder. A procedure is its own frozen configuration, `{kind: curry, stages: 3}` in a
config, and works on a `Job` of objects in memory: `Curry(stages=3).run(job)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pareto.registry import Registry

if TYPE_CHECKING:
    from pareto.core.procedures.base import Procedure

PROCEDURES: Registry[type[Procedure]] = Registry("procedure", "pareto.core.procedures")
