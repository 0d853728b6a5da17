"""TR-DPO: a reference that follows the policy while it trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from pareto.core.loop import TrainResult, train
from pareto.core.objective import LossFunction, Objective, ScoredExamples
from pareto.core.procedures import PROCEDURES
from pareto.core.procedures.base import Job, Procedure
from pareto.core.procedures.rounds import check_one_process, model_logps, trainable
from pareto.core.procedures.weight_space import Update, WeightSpace, weight_space
from pareto.errors import UsageError
from pareto.state.checkpoint import Checkpoints

NEGLIGIBLE = 1e-7
"""Share of the reference below which an old policy is left out of it: the rounding of float32."""


@PROCEDURES.register(
    "tr_dpo",
    source="Gorbatovski et al. (2024), Learn your reference model, arXiv 2404.09656; defaults as in TRL's sync_ref_model",
)
class TRDPO(Procedure):
    """Train once, and let the reference follow: every so many steps, ref = alpha * policy + (1 - alpha) * ref in weights.

    alpha = 1 is the hard update, ref = policy. Optimiser, schedule and data order run through; after every update the
    reference log-probabilities of all pairs are computed anew. Such a reference no longer holds the policy near where it
    began, so beta says how fast it may move, not how far.

    With LoRA the average is taken of the updates, not of their factors: the reference is an adapter whose factors stand
    side by side, exact up to the policies that weigh less than 1e-7. With all weights trained it keeps two more copies.

    Args:
        alpha: in (0, 1]. 0.6 as in TRL; 1 is the hard update.
        every: tau, optimiser steps between updates. 512 as in TRL.

    Source: Gorbatovski et al. (2024), arXiv 2404.09656; form and defaults, 0.6 and 512, of TRL's `sync_ref_model`. Differences: none; TRL
    refuses adapters here.
    """

    kind: Literal["tr_dpo"] = "tr_dpo"
    alpha: float = Field(default=0.6, gt=0, le=1)
    every: int = Field(default=512, ge=1)

    def run(self, job: Job) -> TrainResult:
        """One run of the loop with a moving reference; see `Procedure.run`.

        Raises:
            UsageError: several processes, or a loss with a learned part, whose state would begin anew with every reference.
        """
        check_one_process()
        moving = MovingReference(job, weight_space(job.model), self.alpha, self.every)
        hooks = replace(job.hooks, checkpoints=moving.checkpoints)  # type: ignore[arg-type]  # saves and reads as they do
        with after_every_step(list(trainable(job.model).values()), moving.step):
            return train(
                job.model,
                job.data.table,
                job.data.examples,
                moving.objective(),
                job.training,
                seed=job.seed,
                dtype=job.dtype,
                first_loss=job.first_loss,
                hooks=hooks,
            )


class MovingReference:
    """The reference of a run: which past policies it is made of, and its log-probabilities.

    Args:
        job: model, pairs, loss, folder.
        space: of the model.
        alpha: share of the present policy in an update.
        every: steps between updates.
    """

    def __init__(self, job: Job, space: WeightSpace, alpha: float, every: int) -> None:
        self._job, self._space, self._alpha, self._every = job, space, alpha, every
        self._longest = 1 if alpha == 1 else math.ceil(math.log(NEGLIGIBLE) / math.log(1 - alpha))
        self._steps = 0
        self._updates: list[Update] = []  # newest first, each with its share; the start has what is left
        self._loss: LossFunction = self._made(job.reference).loss
        self.checkpoints = _Beside(Checkpoints(job.folder / "steps"), self._tensors, self._restore)

    def step(self) -> None:
        """Count a step, and update the reference when its turn has come."""
        self._steps += 1
        if self._steps % self._every == 0:
            old = [self._space.scaled(u, 1 - self._alpha) for u in self._updates] if self._alpha < 1 else []
            newest = self._space.scaled(self._space.update(), self._alpha)
            self._move_to([newest, *old[: self._longest - 1]])

    def objective(self) -> Objective:
        """The job's objective against whatever the reference is by then."""
        made = self._made(self._job.reference)

        def loss(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
            return self._loss(scored)  # whatever it is by then

        return Objective(loss, made.coupled, made.extras)

    def _made(self, reference: np.ndarray) -> Objective:
        made = self._job.objective(self._job.data, reference)
        if made.module is not None:
            raise UsageError(
                "tr_dpo makes the loss anew with every reference, and this one has a learned part; use another procedure"
            )
        return made

    def _move_to(self, updates: Sequence[Update]) -> None:
        terms = self._space.total([(1.0, u) for u in updates])
        self._updates = [u for _, u in terms]
        with self._space.at(terms):
            reference = model_logps(self._job, self._job.data.table)
        _drop_all_but_newest(self._job.folder)
        self._loss = self._made(reference).loss

    def _tensors(self) -> dict[str, Tensor]:
        return {f"{i}/{name}": tensor for i, u in enumerate(self._updates) for name, tensor in u.items()}

    def _restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        self._steps = step
        count = len({name.partition("/")[0] for name in tensors})
        device = next(iter(trainable(self._job.model).values())).device
        updates = [
            {n.partition("/")[2]: t.to(device) for n, t in tensors.items() if n.startswith(f"{i}/")}
            for i in range(count)
        ]
        if updates:
            self._move_to(updates)


@contextmanager
def after_every_step(parameters: list[Tensor], act: Callable[[], None]) -> Iterator[None]:
    """Call a function after every step of whatever optimiser trains any of these parameters."""
    own = set(map(id, parameters))

    def hook(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
            act()

    handle = register_optimizer_step_post_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class _Beside:
    """Checkpoints that carry tensors of somebody else's beside the loop's."""

    PREFIX = "reference/"

    def __init__(
        self,
        inner: Checkpoints,
        tensors: Callable[[], Mapping[str, Tensor]],
        restore: Callable[[int, Mapping[str, Tensor]], None],
    ) -> None:
        self._inner, self._tensors, self._restore = inner, tensors, restore

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """As `Checkpoints.save`."""
        own = {f"{self.PREFIX}{name}": tensor for name, tensor in self._tensors().items()}
        self._inner.save(step, {**tensors, **own}, facts)

    def latest(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """As `Checkpoints.latest`; gives the others theirs."""
        found = self._inner.latest()
        if found is None:
            return None
        step, tensors, facts = found
        own = {n.removeprefix(self.PREFIX): t for n, t in tensors.items() if n.startswith(self.PREFIX)}
        self._restore(step, own)
        return step, {n: t for n, t in tensors.items() if not n.startswith(self.PREFIX)}, facts


def _drop_all_but_newest(folder: Path) -> None:
    """Delete the caches of references that nothing will come back to."""
    caches = sorted(folder.glob("logps-*.npy"), key=lambda path: path.stat().st_mtime_ns)
    for path in caches[:-1]:
        path.unlink(missing_ok=True)
