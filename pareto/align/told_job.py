"""Policies that are told numbers before the prompt: drawing their replies, fine-tuning them, storing them.

Not a method: methods that condition by prompt compose these functions.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pareto import rng
from pareto.align.mah_dpo import share_files
from pareto.align.preference_job import Reference
from pareto.cells import Cell, FitContext, Fitted, PolicyFiles, WeightsKind
from pareto.core.loop import Hooks, TrainConfig, TrainResult, train
from pareto.core.objective import Objective, ScoredExamples
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import DataError
from pareto.models.adapters import FullFineTuning, LoRA, attach, reattach, save_policy
from pareto.models.conditioning import (
    Conditioning,
    Said,
    extend,
    first_rows,
    load_conditioning,
    release,
    save_conditioning,
)
from pareto.models.generate import Sampling, end_ids, generate_ids
from pareto.models.heads import base_of
from pareto.models.prompt_policy import load_conditioned
from pareto.models.reward_models.model import RewardModel
from pareto.models.tokenizers import load_tokenizer
from pareto.pricing import TextSizes
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints

Told = tuple[Any, Conditioning]
"""A model with what it can be told."""


def begin_told(reference: Reference, said: Said, adapter: LoRA | FullFineTuning, cell: Cell) -> Told:
    """A model to train, told nothing yet: the reference, or the policy that the cell needs as "before"."""
    before = reference.context.needs.get("before")
    if before is not None:
        conditioning, rows = load_conditioning(before)
        model = reattach(reference.model(), before)
        extend(model, rows)
        return model, conditioning.model_copy(update={"said": said})
    plain, tokenizer = reference.task.load_reference(
        reference.folder, reference.context.device, reference.context.dtype
    )
    names = reference.pairs.objectives.names
    vocabulary = len(base_of(plain).get_input_embeddings().weight)
    rows = first_rows(plain, tokenizer, names, seed=cell.seed)
    model = attach(plain, adapter, seed=rng.derive_seed("adapter", cell.seed) % 2**31)
    extend(model, rows)
    return model, Conditioning(objectives=names, said=said, vocabulary=vocabulary)


def told_before(reference: Reference) -> Told:
    """The policy that the cell needs as "before", ready to draw from."""
    return load_conditioned(reference.model(), reference.context.needs["before"])


def drawn_replies(
    told: Told, reference: Reference, prompts: np.ndarray, units: np.ndarray, sampling: Sampling, seed: int
) -> tuple[ResponseTable, np.ndarray, int]:
    """One reply to each prompt under each row of numbers.

    Args:
        told: the policy.
        reference: whose prompts they are.
        prompts: [n] int64, prompts of the reference's pairs.
        units: [n, m] whole numbers that are said before each.
        sampling: how to draw.
        seed: of the draws.

    Returns:
        prompts and replies, each reply with an end token; [n] bool, whether the reply ended by itself; tokens drawn.
    """
    model, conditioning = told
    tokenizer = load_tokenizer(str(reference.folder))
    table = reference.pairs.table
    said = conditioning.ids(units).tolist()
    ids = [own + table.prompts[p].tolist() for own, p in zip(said, prompts)]
    ends = end_ids(model, tokenizer)
    rows = generate_ids(model, ids, sampling, ends=ends, pad=tokenizer.pad_token_id or 0, seed=seed)
    ended = np.array([bool(r) and r[-1] in ends for r in rows])
    whole = [r if e else [*r, tokenizer.eos_token_id] for r, e in zip(rows, ended)]
    own_prompts = table.prompts.take(prompts)
    return (
        ResponseTable(own_prompts, Ragged.of(whole), np.arange(len(ids))),
        ended,
        int(sum(map(len, rows))),
    )


def numbers_of(rewards: RewardModel, replies: ResponseTable) -> np.ndarray:
    """[n_replies, m] numbers of a reward model, every distinct reply to a prompt read once."""
    keys = [
        (replies.prompts[p].tobytes(), replies.responses[i].tobytes())
        for i, p in enumerate(replies.prompt_of)
    ]
    first: dict[Any, int] = {}
    where = np.array([first.setdefault(key, len(first)) for key in keys])
    _, once = np.unique(where, return_index=True)
    table = ResponseTable(replies.prompts, replies.responses.take(once), replies.prompt_of[once])
    return rewards.of_table(table)[where]


def said_table(
    conditioning: Conditioning, replies: ResponseTable, units: np.ndarray, rows: np.ndarray
) -> ResponseTable:
    """Some replies, each behind its prompt and what is said before it.

    Args:
        conditioning: how numbers are said.
        replies: prompts and replies.
        units: [n, m] whole numbers of the chosen rows.
        rows: [n] int64, which replies.
    """
    said = conditioning.ids(units).tolist()
    prompts = [own + replies.prompts[p].tolist() for own, p in zip(said, replies.prompt_of[rows].tolist())]
    return ResponseTable(Ragged.of(prompts), replies.responses.take(rows), np.arange(len(rows)))


def fine_tune_told(
    told: Told, table: ResponseTable, config: TrainConfig, reference: Reference, seed: int
) -> TrainResult:
    """Raise the likelihood of replies behind what is said and their prompts, every token counting alike.

    Raises:
        DataError: no reply.
    """
    if not len(table.responses):
        raise DataError(
            "no reply to train on: none of those drawn ended by itself; raise method.sampling.max_new_tokens"
        )
    tokens = float(table.responses.lengths.mean())

    def negative_log_likelihood(
        scored: ScoredExamples,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        return -scored.logps[:, 0] / tokens, {}

    context = reference.context
    return train(
        told[0],
        table,
        np.arange(len(table.responses))[:, None],
        Objective(negative_log_likelihood),
        config,
        seed=seed,
        dtype=context.dtype,
        hooks=Hooks(context.progress, context.log, checkpoints=Checkpoints(context.scratch)),
    )


def store_told(told: Told, folder: Path) -> None:
    """Write a policy that is told nothing yet."""
    model, conditioning = told
    rows = base_of(model).get_input_embeddings().rows
    release(model)
    save_policy(model, folder)
    save_conditioning(conditioning, rows, folder)


def serve_told(cell: Cell, context: FitContext, weights_kind: WeightsKind) -> Fitted:
    """The policy that the cell needs as "told", under the cell's weights; nothing is trained."""
    weights = dict(cell.weights or {})
    share_files(context.needs["told"], context.folder)
    atomic.write_json(
        context.folder / "policy.json", {"kind": "prompt", "weights": weights, "weights_kind": weights_kind}
    )
    return Fitted((PolicyFiles(cell.id, "prompt", context.folder, weights, weights_kind),))


def told_tokens(sizes: TextSizes, task: Any, n: int) -> int:
    """Tokens of n replies behind their prompts and what is said before them, a token per objective."""
    return sizes.of_replies(n) + n * len(task.objectives)


def kept(folder: Path, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that a job made before it was killed, or made and kept now, so that it does not draw its replies twice."""
    path = folder / "drawn.npz"
    if not path.exists():
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **compute())
        atomic.write_bytes(path, buffer.getvalue())
    with np.load(path, allow_pickle=False) as z:
        return {name: z[name] for name in z.files}


def table_arrays(table: ResponseTable) -> dict[str, np.ndarray]:
    """A table as arrays that `table_of` reads."""
    return {
        "prompts": table.prompts.flat,
        "prompt_offsets": table.prompts.offsets,
        "responses": table.responses.flat,
        "response_offsets": table.responses.offsets,
        "prompt_of": table.prompt_of,
    }


def table_of(arrays: Mapping[str, np.ndarray]) -> ResponseTable:
    """What `table_arrays` wrote."""
    return ResponseTable(
        Ragged(arrays["prompts"], arrays["prompt_offsets"]),
        Ragged(arrays["responses"], arrays["response_offsets"]),
        arrays["prompt_of"],
    )
