"""What a procedure is given, and what it is."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, SerializeAsAny, ValidationError

from pareto.config import Config
from pareto.core.loop import Hooks, TrainConfig, TrainResult
from pareto.core.objective import Objective
from pareto.core.procedures import PROCEDURES
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ShapeError


@dataclass(frozen=True)
class PairData:
    """Pairs of responses as one loss sees them.

    Args:
        table: prompts and responses.
        examples: [n, 2] int64, response indices of chosen and rejected.
        target: [n] float64 in [0, 1], probability that chosen is really better; None: all 1.
        gap: [n] float64 >= 0, by how much chosen is better, in any unit that orders the pairs; None where nobody knows.
        weight: [n] float64, of each pair in the loss; None: all 1.
    """

    table: ResponseTable
    examples: np.ndarray
    target: np.ndarray | None = None
    gap: np.ndarray | None = None
    weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.examples)
        if self.examples.shape != (n, 2):
            raise ShapeError(f"examples must be [n, 2] response indices; got {self.examples.shape}")
        for name, column in self.columns.items():
            if column.shape != (n,):
                raise ShapeError(f"{name} must be [{n}], one number a pair; got {column.shape}")

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns that are there: name -> [n]."""
        named = {"target": self.target, "gap": self.gap, "weight": self.weight}
        return {name: column for name, column in named.items() if column is not None}

    @property
    def prompt(self) -> np.ndarray:
        """[n] int64, the prompt of each pair."""
        return self.table.prompt_of[self.examples[:, 0]]

    def take(self, rows: np.ndarray) -> tuple[PairData, np.ndarray]:
        """Some of the pairs, with the responses that occur in them and no others.

        Args:
            rows: [k] int64, pairs in their new order.

        Returns:
            the pairs, and [tokens] int64: where each response token of theirs stands among those of the whole, so that
            `reference[tokens]` are the reference log-probabilities of the part.
        """
        used, examples = np.unique(self.examples[rows], return_inverse=True)
        whole = self.table.responses
        lengths = whole.lengths[used]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tokens = np.arange(offsets[-1]) + np.repeat(whole.offsets[used] - offsets[:-1], lengths)
        table = ResponseTable(
            self.table.prompts, Ragged(whole.flat[tokens], offsets), self.table.prompt_of[used]
        )
        part = PairData(
            table,
            examples.reshape(len(rows), 2).astype(np.int64),
            **{name: column[rows] for name, column in self.columns.items()},
        )
        return part, tokens


ObjectiveMaker = Callable[[PairData, np.ndarray], Objective]
"""(pairs, [total response tokens] float32 reference log-probabilities in nats) -> what the loop minimises."""


@dataclass(frozen=True)
class Job:
    """One model and all it is trained with.

    Args:
        model: a causal model on its device, trained in place; it starts as the reference.
        data: the pairs.
        reference: [total response tokens] float32, nats: log-probabilities of `data.table` under the model as it starts.
        objective: makes the loss of some pairs against some reference; asked anew in every round, so that learned parts of
            a loss begin anew too.
        training: of each round. `steps` are those of all rounds together, shared out evenly; `epochs` are passes over each
            round's own pairs. Warm-up and decay begin anew in each round.
        folder: of this job alone; survives a kill. Checkpoints, finished rounds and reference caches go here.
        seed: data order and every random number; a first round draws as plain training does.
        dtype: arithmetic of training and of reference passes.
        first_loss: known loss where policy and reference are the same, or None.
        hooks: progress, logging and callbacks; its checkpoints are not used.
        fresh: (round counted from 0) -> new pairs, sampled from the model as it is then and labelled; None where nobody
            can label.
    """

    model: Any
    data: PairData
    reference: np.ndarray
    objective: ObjectiveMaker
    training: TrainConfig
    folder: Path
    seed: int = 0
    dtype: str = "float32"
    first_loss: float | None = None
    hooks: Hooks = field(default_factory=Hooks)
    fresh: Callable[[int], PairData] | None = None

    def __post_init__(self) -> None:
        tokens = len(self.data.table.responses.flat)
        if self.reference.shape != (tokens,):
            raise ShapeError(
                f"reference must hold a log-probability for each of {tokens} response tokens; got {self.reference.shape}"
            )


class Procedure(Config, ABC):
    """A way to go about minimising a loss; a subclass is its own configuration, with a Literal field `kind`."""

    @abstractmethod
    def run(self, job: Job) -> TrainResult:
        """Train the job's model in place; rounds that are finished in the job's folder are not done again."""

    def strength(self) -> float | None:
        """How far this goes: the exact optimum is ref * exp(strength * r / beta), or None where no such law is known.

        r is the reward whose Bradley-Terry labels a loss of DPO's optimum, ref * exp(r / beta), is trained on.
        """
        return None


def build_procedure(value: Any) -> Procedure:
    """A procedure from ``{"kind": ..., its settings}`` or from its kind alone; a procedure passes.

    Raises:
        ValueError: no kind, an unknown one, or settings that the procedure does not take.
    """
    if isinstance(value, Procedure):
        return value
    value = {"kind": value} if isinstance(value, str) else value
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise ValueError(f"expected a mapping with the key 'kind'; got {value!r:.80}")
    found = PROCEDURES.get(value["kind"])
    try:
        return found.model_validate_json(json.dumps(dict(value)), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (value["kind"], *first["loc"])))
        raise ValueError(f"{where}: {first['msg']}; got {first['input']!r:.60}") from error


AnyProcedure = Annotated[SerializeAsAny[Procedure], PlainValidator(build_procedure)]
"""A procedure in a configuration, told by its `kind`."""
