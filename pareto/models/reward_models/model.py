"""A trained reward model: what it says of steps and replies, how it is stored, how it is loaded again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import nn

from pareto.config import Config
from pareto.core.reference import model_sha256
from pareto.data.encode import encode_prompts, encode_responses
from pareto.data.pairs import Ragged, ResponseTable
from pareto.data.texts import Text
from pareto.errors import ArtifactError, ShapeError
from pareto.models.adapters import load_backbone, save_policy
from pareto.models.reward_models.heads import AnyHead, MLPHead, build_head, numbers
from pareto.models.reward_models.reading import StepTable, all_states
from pareto.models.reward_models.steps import AfterText, AnySteps
from pareto.state import atomic

FACTS, TENSORS = "reward_model.json", "reward_head.safetensors"
Output = Literal["value", "probability", "score"]
"""What a number is: an expected return, the probability that a step is good, or a Bradley-Terry score in log-odds."""


class RewardForm(Config):
    """What has to be known of a reward model besides its weights.

    Args:
        objectives: names of the numbers, larger is better.
        output: what the numbers are.
        steps: where it is read.
        head: form of the head.
    """

    objectives: tuple[str, ...] = Field(min_length=1)
    output: Output = "value"
    steps: AnySteps = AfterText()
    head: AnyHead = MLPHead()


@final
@dataclass(frozen=True, eq=False)
class RewardModel:
    """A backbone with a head that gives m numbers at the end of every step.

    Args:
        model: a causal model on its device.
        tokenizer: its tokenizer.
        head: [n, d] -> [n, m].
        form: what the numbers are and where they are read.
        trained: whether the backbone differs from the model it started from.
    """

    model: Any
    tokenizer: Any
    head: nn.Module
    form: RewardForm
    trained: bool = False

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return self.form.objectives

    def steps(self, table: ResponseTable) -> StepTable:
        """Replies, each with its end token, and where they are read."""
        return StepTable.of(table, self.tokenizer, self.form.steps)

    def at_reads(self, steps: StepTable) -> np.ndarray:
        """[n_reads, m] float64 numbers at every read."""
        with torch.no_grad():
            found = numbers(self.head, all_states(self.model, steps)).double()
            return (found.sigmoid() if self.form.output == "probability" else found).cpu().numpy()

    def of_table(self, table: ResponseTable) -> np.ndarray:
        """[n_responses, m] numbers at the end of every reply; each ends with its end token."""
        # Only the end is read, whatever the steps are: the state there is the same.
        return self.at_reads(ends_only(table))

    def of_steps(self, prompts: Sequence[Text], replies: Sequence[Text]) -> list[np.ndarray]:
        """[n_steps, m] numbers of every reply's steps."""
        steps = self.steps(self._table(prompts, replies))
        return np.split(self.at_reads(steps), steps.offsets[1:-1])

    def of_replies(self, prompts: Sequence[Text], replies: Sequence[Text]) -> np.ndarray:
        """[B, m] numbers at the end of every reply, finished or not."""
        return self.of_table(self._table(prompts, replies))

    def save(self, folder: Path, *, base: str) -> None:
        """Write the head, what is known of it, and the backbone where it was trained.

        Args:
            folder: exists.
            base: digest of the model the backbone started from (`pareto.core.reference.model_sha256`).
        """
        from safetensors.torch import save

        if self.trained:
            save_policy(self.model, folder)
        tensors = {n: t.detach().cpu().float().contiguous() for n, t in self.head.state_dict().items()}
        atomic.write_bytes(folder / TENSORS, save(tensors))
        facts = {"format": 1, "base": base, "backbone": "trained" if self.trained else "base"}
        atomic.write_json(folder / FACTS, {**facts, **self.form.model_dump(mode="json")})

    def _table(self, prompts: Sequence[Text], replies: Sequence[Text]) -> ResponseTable:
        if len(prompts) != len(replies):
            raise ShapeError(f"a prompt is needed for each reply; got {len(prompts)} and {len(replies)}")
        ids = encode_prompts(self.tokenizer, prompts)
        own, _ = encode_responses(self.tokenizer, prompts, replies, ids)
        return ResponseTable(Ragged.of(ids), Ragged.of(own), np.arange(len(ids)))


def ends_only(table: ResponseTable) -> StepTable:
    """Replies read once each, at their end."""
    reads = np.zeros(len(table.responses.flat), dtype=bool)
    reads[table.responses.offsets[1:] - 1] = True
    return StepTable(table, reads, np.arange(len(table.responses) + 1))


def load_reward_model(folder: Path, base: Path, *, device: str = "cpu") -> RewardModel:
    """Load what `RewardModel.save` wrote.

    Args:
        folder: of the reward model.
        base: folder of the model that its backbone is or started from; also gives the tokenizer.
        device: where to compute.

    Raises:
        ArtifactError: it is incomplete, of another format or of another base.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from pareto.models.causal import load_causal_lm

    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
        known = {name: facts[name] for name in RewardForm.model_fields}
        form = RewardForm.model_validate_json(json.dumps(known), strict=True)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, ValidationError) as error:
        raise ArtifactError(f"{folder} holds no readable reward model: {error}") from error
    if facts.get("format") != 1:
        raise ArtifactError(f"{folder / FACTS}: expected format 1; got {facts.get('format')!r}")
    if facts["base"] != model_sha256(base):
        raise ArtifactError(
            f"the reward model {folder} stands on another model than {base}; give the folder it was trained on"
        )
    model, tokenizer = load_causal_lm(base)
    trained = facts["backbone"] == "trained"
    if trained:
        model = load_backbone(model, folder)
    model = model.to(device).eval().requires_grad_(False)
    try:
        head = build_head(form.head, tensors["0.weight"].shape[1], len(form.objectives), seed=0)
        head.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise ArtifactError(f"{folder / TENSORS} does not fit its own description: {error}") from error
    return RewardModel(model, tokenizer, head.to(device).eval(), form, trained)
