"""Plain training: one pass of the loop against the model as it began."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pareto.core.loop import TrainResult, train
from pareto.core.procedures import PROCEDURES
from pareto.core.procedures.base import Job, Procedure
from pareto.state.checkpoint import Checkpoints


@PROCEDURES.register("plain", source="Rafailov et al. (2023), arXiv 2305.18290")
class Plain(Procedure):
    """Minimise the loss once, all pairs together, against the fixed reference.

    Source: Rafailov et al. (2023); differences: none.
    """

    kind: Literal["plain"] = "plain"

    def run(self, job: Job) -> TrainResult:
        """One run of the loop; see `Procedure.run`."""
        return train(
            job.model,
            job.data.table,
            job.data.examples,
            job.objective(job.data, job.reference),
            job.training,
            seed=job.seed,
            dtype=job.dtype,
            first_loss=job.first_loss,
            hooks=replace(job.hooks, checkpoints=Checkpoints(job.folder / "steps")),
        )

    def strength(self) -> float:
        """1: the optimum of the loss itself."""
        return 1.0
