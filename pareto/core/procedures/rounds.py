"""Rounds of training, each done once, whatever is killed in between.

A finished round leaves what the procedure needs to go on; an unfinished one leaves the loop's own checkpoints. Reference
log-probabilities of a moved reference are kept under the weights, tokens and arithmetic they come from, so that they are
computed when the reference changes and never otherwise.
"""

from __future__ import annotations

import hashlib
import io
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pareto import rng
from pareto.cells import digest
from pareto.core.logps import response_logps
from pareto.core.loop import TrainConfig, TrainResult, train
from pareto.core.procedures.base import Job, PairData, Procedure
from pareto.core.reference import cached_logps, logps_key
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ArtifactError, UsageError
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints

Part = tuple[PairData, "np.ndarray | None"]
"""Pairs of a round, and where their response tokens stand among the job's; None where they are new."""

RoundData = Literal["parts", "same", "fresh"]
"""What each round is trained on: a part of the prompts of its own, all pairs again, or new pairs of the present policy."""


class Rounds:
    """The rounds of one job.

    Args:
        job: model, pairs, loss, folder.
        procedure: whose rounds they are.
        count: how many.

    Raises:
        UsageError: several processes train together.
    """

    def __init__(self, job: Job, procedure: Procedure, count: int) -> None:
        check_one_process()
        self.job, self.count = job, count
        self.result = TrainResult(0, 0)
        self._checkpoints = Checkpoints(job.folder / "finished", keep=1)
        self._content = _content(job, procedure)

    def finished(self) -> tuple[int, Mapping[str, Tensor]]:
        """How many rounds are done, and what `done` kept after the last of them, on the CPU.

        Raises:
            ArtifactError: the folder holds finished rounds of other data, seed or settings.
        """
        found = self._checkpoints.latest()
        if found is None:
            return 0, {}
        number, tensors, facts = found
        if facts["content"] != self._content:
            raise ArtifactError(
                f"{self.job.folder} holds {number} finished rounds of another job (other pairs, seed or settings); "
                "give each job a folder of its own"
            )
        self.result = TrainResult(facts["steps"], facts["tokens"], facts["figures"])
        return number, tensors

    def train(self, number: int, part: Part, reference: np.ndarray, first_loss: float | None) -> None:
        """Minimise the loss of some pairs against a reference, from where the model stands.

        Args:
            number: of the round, from 0.
            part: its pairs.
            reference: [response tokens of the part] float32, nats.
            first_loss: known first loss, or None.
        """
        job, before, (data, _) = self.job, self.result, part
        result = train(
            job.model,
            data.table,
            data.examples,
            job.objective(data, reference),
            share_of_steps(job.training, number, self.count),
            seed=round_seed(job.seed, number),
            dtype=job.dtype,
            first_loss=first_loss,
            hooks=self._hooks(number),
        )
        self.result = replace(result, steps=before.steps + result.steps, tokens=before.tokens + result.tokens)

    def done(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep what the next rounds need; the checkpoints of this one go.

        Args:
            number: rounds that are finished now.
            tensors: name -> tensor.
        """
        facts = {
            "content": self._content,
            "steps": self.result.steps,
            "tokens": self.result.tokens,
            "figures": {k: v for k, v in self.result.figures.items() if math.isfinite(v)},
        }
        self._checkpoints.save(number, tensors, facts)
        shutil.rmtree(_round_folder(self.job.folder, number - 1), ignore_errors=True)

    def _hooks(self, number: int) -> Any:
        """The caller's hooks, told steps and tokens of all rounds together."""
        own, steps, tokens = self.job.hooks, self.result.steps, self.result.tokens

        def shifted(figures: Mapping[str, float]) -> dict[str, float]:
            moved = {**figures, "round": number}
            return moved | {k: moved[k] + v for k, v in (("step", steps), ("tokens", tokens)) if k in moved}

        def shift(tell: Callable[[Mapping[str, float]], Any]) -> Callable[[Mapping[str, float]], Any]:
            return lambda figures: tell(shifted(figures))

        return replace(
            own,
            progress=lambda done, total, figures: own.progress(
                number * total + done, self.count * total, shifted(figures)
            ),
            log=shift(own.log),
            callbacks=tuple(shift(callback) for callback in own.callbacks),
            checkpoints=Checkpoints(_round_folder(self.job.folder, number)),
        )


def run_rounds(
    job: Job,
    procedure: Procedure,
    count: int,
    part_of: Callable[[int], Part],
    *,
    reference: Literal["previous", "start"],
) -> TrainResult:
    """Train one model round by round; each goes on from the last.

    Args:
        job: what is trained.
        procedure: whose rounds they are.
        count: how many.
        part_of: round from 0 -> its pairs; called when the model stands where the round begins.
        reference: the model as it is when the round begins, or as the job began.
    """
    rounds = Rounds(job, procedure, count)
    number, kept = rounds.finished()
    put(job.model, kept)
    for i in range(number, count):
        part = part_of(i)
        moved = i > 0 and reference == "previous"
        # A reference is computed without dropout, so a moved one equals the policy only where there is none.
        known = i == 0 or (moved and not _drops(job.model))
        first_loss = job.first_loss if known else None
        rounds.train(i, part, round_reference(job, part, moved=moved), first_loss)
        rounds.done(i + 1, trainable(job.model))
    return rounds.result


def round_part(job: Job, kind: RoundData, count: int, number: int) -> Part:
    """The pairs of one round.

    Args:
        job: whose pairs or whose `fresh` they come from.
        kind: "parts" shuffles the prompts into `count` parts that share none; "same" gives all pairs; "fresh" asks the
            job for new ones and keeps them in its folder, so that a round killed half-way goes on with the same pairs.
        count: rounds in all.
        number: this round, from 0.

    Raises:
        UsageError: fewer prompts than rounds, or nobody who can make fresh pairs.
    """
    if kind == "fresh":
        if job.fresh is None:
            raise UsageError(
                "fresh pairs need somebody who samples and labels them, and this job has nobody; use data 'parts' or 'same'"
            )
        return _kept(job.folder / f"fresh-{number:03d}.npz", lambda fresh=job.fresh: fresh(number)), None
    if kind == "same":
        return job.data, np.arange(len(job.reference))
    prompts = np.unique(job.data.prompt)
    if len(prompts) < count:
        raise UsageError(f"{count} rounds on parts of their own need {count} prompts; got {len(prompts)}")
    own = rng.generator("parts", job.seed).permutation(prompts)[number::count]
    return job.data.take(np.flatnonzero(np.isin(job.data.prompt, own)))


def round_reference(job: Job, part: Part, *, moved: bool) -> np.ndarray:
    """[response tokens of the part] float32, nats: the job's reference, or the model's own where that has moved.

    Args:
        job: whose model and reference.
        part: pairs of the round.
        moved: the reference is the model as it stands now.
    """
    data, tokens = part
    return model_logps(job, data.table) if moved or tokens is None else job.reference[tokens]


def model_logps(job: Job, table: ResponseTable) -> np.ndarray:
    """[total response tokens] float32, nats, under the model as it stands, from the job's cache where it is there."""
    job.folder.mkdir(parents=True, exist_ok=True)
    key = logps_key(weights_sha256(job.model), table, job.dtype)
    return cached_logps(job.folder, key, lambda: response_logps(job.model, table, dtype=job.dtype))


def weights_sha256(model: torch.nn.Module) -> str:
    """Digest of all parameters of a model in memory, adapters included, by name."""
    h = hashlib.sha256()
    for name, parameter in model.named_parameters():
        h.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}".encode())
        h.update(parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return h.hexdigest()


def trainable(model: torch.nn.Module) -> dict[str, Tensor]:
    """Name -> parameter, of those that are trained."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def put(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into the parameters of their names."""
    own = dict(model.named_parameters())
    for name, tensor in tensors.items():
        own[name].copy_(tensor)


def check_one_process() -> None:
    """Refuse several processes: they would have to agree on what is finished.

    Raises:
        UsageError: there are several.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = torch.distributed.get_world_size()
        if count > 1:
            raise UsageError(
                f"a procedure of several rounds runs in one process; got {count}: use procedure 'plain' with several"
            )


def share_of_steps(training: TrainConfig, number: int, count: int) -> TrainConfig:
    """The training of one of `count` rounds: an even share of the steps, where steps are given.

    Raises:
        UsageError: fewer steps than rounds.
    """
    if training.steps is None:
        return training
    if training.steps < count:
        raise UsageError(
            f"training.steps must be at least one for each of {count} rounds; got {training.steps}"
        )
    more = number < training.steps % count
    return training.model_copy(update={"steps": training.steps // count + more})


def round_seed(seed: int, number: int) -> int:
    """Seed of a round; that of the first is the job's own, so that one round is plain training."""
    return seed if number == 0 else rng.derive_seed("round", seed, number) % 2**31


def _drops(model: torch.nn.Module) -> bool:
    return any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in model.modules())


def _round_folder(folder: Path, number: int) -> Path:
    return folder / f"round-{number:03d}"


def _content(job: Job, procedure: Procedure) -> str:
    """Digest of what finished rounds depend on and a job can tell of itself."""
    return digest(
        {
            "procedure": procedure.model_dump(mode="json"),
            "training": job.training.model_dump(mode="json", exclude={"log_every", "checkpoint_every"}),
            "table": job.data.table.sha256(),
            "examples": hashlib.sha256(job.data.examples.tobytes()).hexdigest(),
            "seed": job.seed,
            "dtype": job.dtype,
        }
    )


def _kept(path: Path, make: Callable[[], PairData]) -> PairData:
    """Pairs read from a file, or made and written there whole."""
    if not path.exists():
        data, buffer = make(), io.BytesIO()
        np.savez(
            buffer,
            prompts=data.table.prompts.flat,
            prompt_offsets=data.table.prompts.offsets,
            responses=data.table.responses.flat,
            response_offsets=data.table.responses.offsets,
            prompt_of=data.table.prompt_of,
            examples=data.examples,
            **data.columns,  # pyright: ignore[reportArgumentType]  # arrays by name
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, buffer.getvalue())
    with np.load(path, allow_pickle=False) as z:
        table = ResponseTable(
            Ragged(z["prompts"], z["prompt_offsets"]),
            Ragged(z["responses"], z["response_offsets"]),
            z["prompt_of"],
        )
        columns = {k: z[k] for k in ("target", "gap", "weight") if k in z}
        return PairData(table, z["examples"], **columns)
