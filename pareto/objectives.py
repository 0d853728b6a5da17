"""Objectives: a name, a direction, a unit. The only place where directions are turned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pareto.errors import ObjectiveError, ShapeError, did_you_mean

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Objective:
    """One thing to be maximised or minimised.

    Args:
        name: identifier, unique within a study.
        direction: ``"max"`` or ``"min"``, in the objective's own unit.
        unit: what one unit of it is (``"reward"``, ``"tokens"``, ``"s"``).
        scale: > 0, a typical range in that unit; used to compare objectives, never to change values.

    Raises:
        ObjectiveError: empty name, unknown direction, scale not positive.
    """

    name: str
    direction: Direction = "max"
    unit: str = "reward"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or any(c in self.name for c in ",="):
            raise ObjectiveError(
                f"an objective needs a name without commas, equal signs or control characters; got {self.name!r}"
            )
        if self.direction not in ("max", "min"):
            raise ObjectiveError(
                f"direction of objective {self.name!r} must be 'max' or 'min'; got {self.direction!r}"
            )
        if not self.scale > 0:
            raise ObjectiveError(f"scale of objective {self.name!r} must be > 0; got {self.scale!r}")


class Objectives(Sequence[Objective]):
    """An ordered set of objectives with unique names.

    Args:
        objectives: objectives, or names (maximised).

    Raises:
        ObjectiveError: none given, or a name twice.
    """

    def __init__(self, objectives: Iterable[Objective | str]) -> None:
        self._items = tuple(o if isinstance(o, Objective) else Objective(o) for o in objectives)
        if not self._items:
            raise ObjectiveError("at least one objective is needed; got none")
        doubled = sorted({n for n in self.names if self.names.count(n) > 1})
        if doubled:
            raise ObjectiveError(f"objective names must be unique; doubled: {', '.join(doubled)}")

    @classmethod
    def parse(cls, text: str) -> Objectives:
        """Read ``"ore:max,fuel:min"``; a name without a direction is maximised."""
        parts = [p.strip() for p in text.split(",") if p.strip()]
        return cls(
            Objective(name.strip(), direction.strip() or "max")  # type: ignore[arg-type]  # Objective checks it
            for name, _, direction in (p.partition(":") for p in parts)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(o.name for o in self._items)

    @property
    def signs(self) -> np.ndarray:
        """[m] float64: +1 for maximised objectives, -1 for minimised ones."""
        return np.array([1.0 if o.direction == "max" else -1.0 for o in self._items])

    def index(self, name: Any, *_: Any) -> int:
        """Position of the objective called ``name``.

        Raises:
            ObjectiveError: there is none, with the nearest name.
        """
        if name not in self.names:
            raise ObjectiveError(
                f"unknown objective {name!r}{did_you_mean(str(name), self.names)}; known: {', '.join(self.names)}"
            )
        return self.names.index(name)

    def orient(self, values: Any) -> np.ndarray:
        """Turn values [..., m] so that larger is better in every column. Applying it twice gives the values back."""
        array = np.asarray(values, dtype=np.float64)
        if array.shape[-1:] != (len(self),):
            raise ShapeError(
                f"expected values with last axis {len(self)} ({', '.join(self.names)}); got shape {array.shape}"
            )
        return array * self.signs

    def vector(self, named: Mapping[str, float]) -> np.ndarray:
        """[m] float64 from a mapping objective -> number that names every objective exactly once."""
        for name in named:
            self.index(name)
        missing = [n for n in self.names if n not in named]
        if missing:
            raise ObjectiveError(f"a number is needed for every objective; missing: {', '.join(missing)}")
        return np.array([float(named[n]) for n in self.names])

    def named(self, vector: Iterable[float]) -> dict[str, float]:
        """Mapping objective -> number from [m]."""
        numbers = [float(v) for v in vector]
        if len(numbers) != len(self):
            raise ShapeError(f"expected {len(self)} numbers ({', '.join(self.names)}); got {len(numbers)}")
        return dict(zip(self.names, numbers))

    def to_json(self) -> list[dict[str, str]]:
        """The form written to front.json."""
        return [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in self._items]

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]]) -> Objectives:
        """Read the form written to front.json."""
        return cls(
            Objective(str(r["name"]), r.get("direction", "max"), str(r.get("unit", "reward"))) for r in rows
        )

    def __getitem__(self, i: Any) -> Any:
        return self._items[i]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Objective]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objectives) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Objectives({', '.join(f'{o.name}:{o.direction}' for o in self._items)})"
