"""Stated requirements on figures, such as 'hypervolume>=3.0'."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pareto.errors import RequirementError, UsageError, did_you_mean

_FORM = re.compile(r"^\s*([A-Za-z_]\w*)\s*(>=|<=|>|<)\s*(\S+)\s*$")
_HOLDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Requirement:
    """One figure and the bound it must keep."""

    name: str
    relation: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read "hypervolume>=3.0"; the relation is one of >= <= > <.

        Raises:
            UsageError: another form, or a bound that is not a finite number.
        """
        found = _FORM.match(text)
        if found is None:
            raise UsageError(f"a requirement looks like 'hypervolume>=3.0' (>=, <=, > or <); got {text!r}")
        name, relation, bound = found.groups()
        try:
            number = float(bound)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"the bound of a requirement must be a finite number; got {bound!r} in {text!r}")
        return cls(name, relation, number)

    def holds(self, figure: float, error: float = 0.0) -> bool:
        """Whether a figure keeps the bound wherever within its error it lies."""
        worst = figure - error if self.relation.startswith(">") else figure + error
        return bool(_HOLDS[self.relation](worst, self.bound))

    def __str__(self) -> str:
        return f"{self.name}{self.relation}{self.bound:g}"


def check_requirements(figures: Mapping[str, float], requirements: Sequence[Requirement]) -> None:
    """Hold figures to what is required of them; where a figure has a `<name>_error`, that counts against it.

    Raises:
        UsageError: a requirement on a figure that is not there.
        RequirementError: not met; says which figure stands against which bound.
    """
    broken = []
    for requirement in requirements:
        name = requirement.name
        if name not in figures:
            raise UsageError(
                f"no figure {name!r} to require{did_you_mean(name, figures)}; known: {', '.join(figures)}"
            )
        error = figures.get(f"{name}_error", 0.0)
        if not requirement.holds(figures[name], error):
            give = f" +- {error:.2g}" if error else ""
            broken.append(f"{requirement} is required; {name} is {figures[name]:.10g}{give}")
    if broken:
        raise RequirementError("; ".join(broken))
