"""What happens to a row that cannot be read: stop with its line number, or skip it and count, up to a share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pareto.errors import DataError, printable

OnBad = Literal["stop", "skip"]
KEPT_EXAMPLES = 5
"""How many bad rows are remembered word for word; the rest are only counted."""


class RowError(ValueError):
    """A row is wrong; the message is the reason, without the place."""


@dataclass
class BadRows:
    """Counts rows that could not be read, and decides when that is too many.

    Args:
        on_bad: "stop" raises at the first bad row; "skip" leaves it out.
        max_bad: with "skip", the largest share of bad rows in 0..1 that is accepted when a file has been read.
    """

    on_bad: OnBad = "stop"
    max_bad: float = 0.001
    n: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, path: Path, line: int, reason: str) -> None:
        """Report one bad row.

        Raises:
            DataError: `on_bad` is "stop"; the message has file, line and reason.
        """
        reason = printable(reason)
        text = f"{path}:{line}: {reason}"
        if self.on_bad == "stop":
            raise DataError(f"{text}; correct the row, or leave bad rows out with --on-bad skip")
        self.n += 1
        self.reasons[reason.partition(";")[0].partition(":")[0]] += 1
        if len(self.examples) < KEPT_EXAMPLES:
            self.examples.append(text)

    def check(self, n_rows: int) -> None:
        """Refuse a read in which too many rows were bad.

        Args:
            n_rows: rows seen, good and bad.

        Raises:
            DataError: the share of bad rows is above `max_bad`.
        """
        if self.n > self.max_bad * max(n_rows, 1):
            raise DataError(
                f"{self.n} of {n_rows} rows are bad ({self.n / max(n_rows, 1):.2%}), at most {self.max_bad:.2%} are "
                f"accepted (--max-bad); the first: {' | '.join(self.examples)}"
            )
