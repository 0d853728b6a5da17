"""Accelerated preference optimisation: rounds with Nesterov's extrapolation between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from pareto.core.loop import TrainResult
from pareto.core.procedures import PROCEDURES
from pareto.core.procedures.base import Job, Procedure
from pareto.core.procedures.rounds import RoundData, Rounds, round_part, round_reference
from pareto.core.procedures.weight_space import Terms, Update, weight_space


@PROCEDURES.register(
    "accelerated",
    source="He et al. (2024), Accelerated preference optimization, arXiv 2410.06293 (from memory)",
    status="unverified",
)
class Accelerated(Procedure):
    """Train in rounds, and go past each round's policy in the direction it moved before taking it as the reference.

    hat_{t+1} = argmin L(pi; ref = pi_t),  pi_{t+1} proportional to hat_{t+1} (hat_{t+1} / hat_t)^alpha,  hat_0 = pi_0 = ref,
    realised on weights as pi_{t+1} = hat_{t+1} + alpha (hat_{t+1} - hat_t). The result is hat_T. On a table of logits, with
    a loss of DPO's optimum,

        log hat_T / ref = (r / beta) sum_{t=1..T} (1 - alpha^t) / (1 - alpha) + const,

    which is T r / beta for alpha = 0 and grows by up to 1 / (1 - alpha) a round. With LoRA every round trains a fresh
    adapter of rank R above the frozen sum of those before; sums are adapters with their factors side by side, so the
    extrapolation is exact, and the result is one adapter of rank T R. With all weights trained it keeps T copies of them.

    Args:
        rounds: T. The paper has 3.
        alpha: in [0, 1), how far past. The paper has about 0.3.
        data: of each round; "parts" (prompts of its own) as in the paper.

    Source: He et al. (2024), Algorithm 1, from memory. Differences: none known.
    """

    kind: Literal["accelerated"] = "accelerated"
    rounds: int = Field(default=3, ge=1, le=100)
    alpha: float = Field(default=0.3, ge=0, lt=1)
    data: RoundData = "parts"

    def run(self, job: Job) -> TrainResult:
        """Round by round; see `Procedure.run`."""
        space, rounds = weight_space(job.model), Rounds(job, self, self.rounds)
        number, kept = rounds.finished()
        updates = _unpacked(kept, number)
        for i in range(number, self.rounds):
            space.begin_from(_terms(extrapolated(i, self.alpha), updates))
            part = round_part(job, self.data, self.rounds, i)
            rounds.train(i, part, round_reference(job, part, moved=i > 0), job.first_loss)
            updates.append(space.update())
            rounds.done(i + 1, _packed(updates))
        space.end_at(_terms(reached(self.rounds, self.alpha), updates))
        return rounds.result

    def strength(self) -> float | None:
        """Sum of (1 - alpha^t) / (1 - alpha) where every round sees all prompts; on parts of them no law is known."""
        return None if self.data == "parts" else sum(reached(self.rounds, self.alpha))


def reached(t: int, alpha: float) -> list[float]:
    """[t] coefficients of the rounds' updates in hat_t: 1 + alpha + ... + alpha^(t-1-s) for round s, (1 - alpha^(t-s)) / (1 - alpha).

    From hat_t = pi_{t-1} + update_{t-1} and `extrapolated`.
    """
    return [sum(alpha**k for k in range(t - s)) for s in range(t)]


def extrapolated(t: int, alpha: float) -> list[float]:
    """[t] coefficients of the rounds' updates in pi_t = hat_t + alpha (hat_t - hat_{t-1})."""
    now, before = reached(t, alpha), [*reached(t - 1, alpha), 0.0]
    return [n + alpha * (n - b) for n, b in zip(now, before)]


def _terms(coefficients: Sequence[float], updates: Sequence[Update]) -> Terms:
    return list(zip(coefficients, updates, strict=True))


def _packed(updates: Sequence[Update]) -> dict[str, Tensor]:
    return {f"{i}/{name}": tensor for i, update in enumerate(updates) for name, tensor in update.items()}


def _unpacked(tensors: Mapping[str, Tensor], count: int) -> list[Update]:
    """What `_packed` packed, round by round."""
    return [
        {name.removeprefix(f"{i}/"): t for name, t in tensors.items() if name.startswith(f"{i}/")}
        for i in range(count)
    ]
