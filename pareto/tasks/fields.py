"""Fields that several tasks' configurations share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from pareto.objectives import Objective, Objectives


def _read(value: Any) -> Objectives:
    if isinstance(value, Objectives):
        return value
    if (
        isinstance(value, str)
        or not isinstance(value, list | tuple)
        or not all(isinstance(v, str) for v in value)
    ):
        raise ValueError(f"expected a list of objective names, each 'name' or 'name:min'; got {value!r:.80}")
    return Objectives(_objective(v) for v in value)


def _objective(text: str) -> Objective:
    return Objectives.parse(text)[0]


def _write(objectives: Objectives) -> list[str]:
    return [o.name if o.direction == "max" else f"{o.name}:{o.direction}" for o in objectives]


ObjectiveNames = Annotated[
    Objectives,
    PlainValidator(_read),
    PlainSerializer(_write),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}),
]
"""A list of names in a config, `Objectives` in code; "fuel:min" is minimised."""
