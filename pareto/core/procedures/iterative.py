"""Iterative training: rounds whose reference is the policy of the round before."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pareto.core.loop import TrainResult
from pareto.core.procedures import PROCEDURES
from pareto.core.procedures.base import Job, Procedure
from pareto.core.procedures.rounds import RoundData, round_part, run_rounds


@PROCEDURES.register(
    "iterative", source="Yuan et al. (2024), Self-rewarding language models, arXiv 2401.10020"
)
class Iterative(Procedure):
    """Train in rounds, each against the policy that the round before ended with.

    pi_t = argmin L(pi; ref = pi_{t-1}), pi_0 the reference. With labels by Bradley-Terry on a reward r and a loss of DPO's
    optimum every round multiplies by exp(r / beta), so log pi_T / ref = T r / beta + const: T rounds at beta end where one
    round at beta / T ends. What rounds buy is fresh pairs, drawn where the policy is by then. Reference log-probabilities
    are computed once a round and kept.

    Args:
        rounds: T. Typical 2-3.
        data: "parts" gives every round prompts of its own, "same" all pairs again, "fresh" new pairs sampled from the
            present policy and labelled by the task's rewards, where it has them.

    Source: Yuan et al. (2024), arXiv 2401.10020, its rounds of DPO. Differences: labels come from the
    task's rewards, not from the policy as a judge.
    """

    kind: Literal["iterative"] = "iterative"
    rounds: int = Field(default=3, ge=1, le=1000)
    data: RoundData = "parts"

    def run(self, job: Job) -> TrainResult:
        """Round by round; see `Procedure.run`."""

        def part(i: int):
            return round_part(job, self.data, self.rounds, i)

        return run_rounds(job, self, self.rounds, part, reference="previous")

    def strength(self) -> float | None:
        """T where every round sees all prompts; on parts of the prompts no law is known."""
        return None if self.data == "parts" else float(self.rounds)
