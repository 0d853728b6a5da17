"""What a report says, as plain data: the tree that is embedded in the page and written to report.json.

`run_tree` holds what is said of one run, `comparison_tree` what is said of several.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pareto.errors import ArtifactError
from pareto.report.comparison_tree import AttainmentDifference, Comparison, Contender, Pairing
from pareto.report.run_tree import (
    Exact,
    Growth,
    Held,
    Interval,
    ObjectiveInfo,
    PartialVector,
    PolicyRow,
    Reply,
    RoundRow,
    RunReport,
    SampleRow,
    SeedRow,
    Seeds,
    Steering,
    StepRow,
    Surface,
    TradeOffRow,
    Vector,
    Verdict,
)

__all__ = [
    "AttainmentDifference",
    "Comparison",
    "Contender",
    "Exact",
    "FORMAT",
    "Growth",
    "Held",
    "Interval",
    "ObjectiveInfo",
    "Pairing",
    "PartialVector",
    "PolicyRow",
    "Reply",
    "Report",
    "RoundRow",
    "RunReport",
    "SampleRow",
    "SeedRow",
    "Seeds",
    "Steering",
    "StepRow",
    "Surface",
    "TradeOffRow",
    "Vector",
    "Verdict",
]

FORMAT = 1
"""Version of report.json."""


@dataclass(frozen=True)
class Report:
    """The whole report; `render` is a function of this alone."""

    title: str
    runs: list[RunReport]
    comparison: Comparison | None = None
    notes: list[str] = field(default_factory=list)
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return dataclasses.asdict(self)

    def dumps(self, indent: int | None = 1) -> str:
        """The report as JSON text.

        Raises:
            ValueError: NaN or infinity inside; `build` lets none through.
        """
        return json.dumps(self.to_json(), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], source: str = "report.json") -> Report:
        """Read what `to_json` gave, checking every type.

        Args:
            data: plain JSON values.
            source: where they come from, for messages.

        Raises:
            ArtifactError: another format, or not a report; names the place.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise ArtifactError(
                f"{source}: expected a report of format {FORMAT}; got {found!r}; build it again"
            )
        try:
            return TypeAdapter(cls).validate_python(dict(data))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(f"{source}: {where}: {first['msg']}; got {first['input']!r:.80}") from error
