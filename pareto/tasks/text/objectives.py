"""The objectives of a text task: what each is called, where its labels come from, what scores it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema, model_validator

from pareto.config import Config
from pareto.data.preferences import Band
from pareto.models.rewards import RewardSpec, build_reward
from pareto.objectives import Objective, Objectives


class ObjectiveSpec(Config):
    """One objective.

    Args:
        name: what it is called in the study.
        label: what its labels or scores are called in the data; None: `name`. Not together with `derive`.
        derive: a reward that labels the pairs in place of the data: the better-scored response wins.
        tie: two scores (of the data or derived) within this distance are a tie.
        tie_share: and so are two scores within this share of the larger one.
        scale: > 0; methods that are given rewards see scores divided by it.
        reward: what scores generated replies; give one to every objective, or to none to score held-out pairs.
        direction: of the reward, where it is not the reward's own.
    """

    name: str
    label: str | None = None
    derive: RewardSpec | None = None
    tie: float = Field(default=0.0, ge=0)
    tie_share: float = Field(default=0.0, ge=0, lt=1)
    scale: float = Field(default=1.0, gt=0)
    reward: RewardSpec | None = None
    direction: Literal["max", "min"] | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> ObjectiveSpec:
        if self.label is not None and self.derive is not None:
            raise ValueError(
                f"objective {self.name!r} is labelled by the data (label) or derived (derive), not both"
            )
        if self.direction is not None and self.reward is None:
            raise ValueError(
                f"objective {self.name!r}: direction belongs to a reward; the accuracy on pairs is always maximised"
            )
        return self

    @property
    def column(self) -> str | None:
        """What the data call it, or None where it is derived."""
        return None if self.derive is not None else (self.label or self.name)

    @property
    def band(self) -> Band:
        """How far apart two scores must lie for one response to win."""
        return Band(self.tie, self.tie_share)

    def objective(self) -> Objective:
        """What is measured: the reward of generated replies, or the accuracy on held-out pairs."""
        if self.reward is None:
            return Objective(self.name, "max", "accuracy")
        scorer = build_reward(self.reward)
        return Objective(self.name, self.direction or scorer.direction, scorer.unit)


class TextObjectives(Objectives):
    """Objectives that know where their labels and scores come from."""

    def __init__(self, specs: Iterable[ObjectiveSpec]) -> None:
        self.specs = tuple(specs)
        super().__init__(spec.objective() for spec in self.specs)


def _read(value: Any) -> TextObjectives:
    if isinstance(value, TextObjectives):
        return value
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise ValueError(
            f"expected a list of objectives, each a name or a mapping with 'name'; got {value!r:.80}"
        )
    objectives = TextObjectives(_spec(v) for v in value)
    scored = [s.reward is not None for s in objectives.specs]
    if any(scored) and not all(scored):
        missing = next(s.name for s, has in zip(objectives.specs, scored) if not has)
        raise ValueError(f"give every objective a reward, or none; objective {missing!r} has none")
    return objectives


def _spec(value: Any) -> ObjectiveSpec:
    if isinstance(value, ObjectiveSpec):
        return value
    try:
        return ObjectiveSpec.model_validate({"name": value} if isinstance(value, str) else value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "objective"
        raise ValueError(
            f"{where}: {first['msg'].removeprefix('Value error, ')}; in {value!r:.120}"
        ) from None


def _write(objectives: TextObjectives) -> list[dict[str, Any]]:
    return [spec.model_dump(mode="json") for spec in objectives.specs]


TextObjectivesField = Annotated[
    TextObjectives,
    PlainValidator(_read),
    PlainSerializer(_write),
    WithJsonSchema({"type": "array", "items": {"type": ["string", "object"]}, "minItems": 1}),
]
"""A list of names or mappings in a config, `TextObjectives` in code."""
