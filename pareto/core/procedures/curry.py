"""Curriculum: easy pairs first, hard ones last."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from pareto.core.loop import TrainResult
from pareto.core.procedures import PROCEDURES
from pareto.core.procedures.base import Job, Procedure
from pareto.core.procedures.rounds import run_rounds
from pareto.errors import DataError


@PROCEDURES.register(
    "curry",
    source="Pattnaik et al. (2024), Curry-DPO, arXiv 2403.07230 (from memory)",
    status="unverified",
)
class Curry(Procedure):
    """Train in stages from pairs that are far apart to pairs that are close.

    Pairs are ordered by the gap of their scores; the largest gaps, where chosen is plainly better, come first. With K
    ranked responses R1 > ... > RK to a prompt the paper pairs the best with each other one: (R1, RK), ..., (R1, R2).

    Args:
        stages: how many. The paper has K - 1 = 3.
        within: "data" cuts all pairs, ordered by gap, into stages of equal size; "prompt" orders the pairs of each prompt
            among themselves, so that every stage sees every prompt with enough pairs, as in the paper.
        reference: "previous" takes the model after the stage before, and computes its log-probabilities once; "start" keeps
            the first one.

    Source: Pattnaik et al. (2024), from memory. Differences: pairs of any origin that carry a gap, not only those with the
    best response.
    """

    kind: Literal["curry"] = "curry"
    stages: int = Field(default=3, ge=1, le=1000)
    within: Literal["data", "prompt"] = "data"
    reference: Literal["previous", "start"] = "previous"

    def run(self, job: Job) -> TrainResult:
        """Stage by stage; see `Procedure.run`.

        Raises:
            DataError: pairs without a gap, all of the same, or too few for the stages.
        """
        gap = job.data.gap
        if gap is None or (self.stages > 1 and len(gap) and gap.min() == gap.max()):
            raise DataError(
                "a curriculum needs pairs with gaps that differ (scored responses, rewards, or graded labels); "
                f"got {'none' if gap is None else f'the gap {gap[0]} {len(gap)} times'}"
            )
        prompt = job.data.prompt if self.within == "prompt" else None
        stages = curriculum(gap, self.stages, prompt)
        empty = [i for i, rows in enumerate(stages) if not len(rows)]
        if empty:
            raise DataError(
                f"every stage needs pairs; stage {empty[0]} of {self.stages} has none of {len(gap)}: take fewer stages"
            )
        return run_rounds(
            job, self, self.stages, lambda i: job.data.take(stages[i]), reference=self.reference
        )


def curriculum(gap: np.ndarray, stages: int, prompt: np.ndarray | None = None) -> list[np.ndarray]:
    """Cut pairs into stages, largest gap first; equal gaps keep their order.

    Args:
        gap: [n], by how much chosen is better.
        stages: >= 1.
        prompt: [n], orders pairs within their prompt: the j-th easiest of a prompt's k pairs goes to stage
            floor(j * stages / k); None orders all pairs together.

    Returns:
        `stages` arrays of pair indices; together a permutation of 0..n-1.
    """
    easy_first = np.argsort(-gap, kind="stable")
    if prompt is None:
        return np.array_split(easy_first, stages)
    grouped = easy_first[np.argsort(prompt[easy_first], kind="stable")]
    _, starts, counts = np.unique(prompt[grouped], return_index=True, return_counts=True)
    place = np.arange(len(grouped)) - np.repeat(starts, counts)
    stage = place * stages // np.repeat(counts, counts)
    return [grouped[stage == s] for s in range(stages)]
