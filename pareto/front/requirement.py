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

    def broken(self, figures: Mapping[str, float | None]) -> str:
        """Say what is wrong with figures held to this; "" where it is kept.

        A figure's `<name>_error` counts against it, and a figure that is None, hence not known, keeps no bound.
        """
        figure = figures.get(self.name)
        if figure is None:
            return f"{self} is required; {self.name} is not known"
        error = figures.get(f"{self.name}_error") or 0.0
        if self.holds(figure, error):
            return ""
        give = f" +- {error:.2g}" if error else ""
        return f"{self} is required; {self.name} is {figure:.10g}{give}"

    def __str__(self) -> str:
        return f"{self.name}{self.relation}{self.bound:g}"


def check_requirements(figures: Mapping[str, float | None], requirements: Sequence[Requirement]) -> None:
    """Hold figures to what is required of them; where a figure has a `<name>_error`, that counts against it.

    Raises:
        UsageError: a requirement on a figure that is not there.
        RequirementError: not met; says which figure stands against which bound.
    """
    for requirement in requirements:
        if requirement.name not in figures:
            near = did_you_mean(requirement.name, figures)
            raise UsageError(
                f"no figure {requirement.name!r} to require{near}; known: {', '.join(figures) or 'none'}"
            )
    broken = [message for requirement in requirements if (message := requirement.broken(figures))]
    if broken:
        raise RequirementError("; ".join(broken))
