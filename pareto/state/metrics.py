"""Metric logs as JSON lines: a kill tears at most the last line, and a resumed run leaves no step twice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pareto.errors import ArtifactError
from pareto.state import atomic


class MetricLog:
    """An append-only log of flat records, each with an integer "step" that never falls.

    A run that resumes from a checkpoint repeats the steps after it. So the first record that a log object appends drops
    every record of the file with the same or a later step; `rewind` does the same at a step of the caller's choice.

    Args:
        path: the file; made when missing.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._last = -1

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; it reaches the operating system before this returns.

        Args:
            record: flat mapping with "step": an integer >= that of the record before. NaN and infinity become null.

        Raises:
            ArtifactError: no integer step, or one that falls.
        """
        plain = {key: _plain(value) for key, value in record.items()}
        step = plain.get("step")
        if isinstance(step, bool) or not isinstance(step, int):
            raise ArtifactError(
                f"a metric record needs an integer 'step' to survive a resume; got {dict(record)!r:.200}"
            )
        if step < self._last:
            raise ArtifactError(f"metric steps must not fall: {step} came after {self._last} in {self.path}")
        if self._file is None:
            self.rewind(step - 1)
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._last = step
        self._file.write(json.dumps(plain) + "\n")
        self._file.flush()

    def rewind(self, step: int) -> None:
        """Drop all records after a step, and a torn last line."""
        self.close()
        kept = [record for record in read_metrics(self.path) if record["step"] <= step]
        atomic.write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self._last = step

    def close(self) -> None:
        """Flush to the disk and close; appending opens the file again."""
        if self._file is not None:
            with self._file as file:
                self._file = None
                os.fsync(file.fileno())

    def __enter__(self) -> MetricLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """The whole records of a log; a torn last line is left out, a missing file holds none.

    Raises:
        ArtifactError: a broken line that is not the last, with its number.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn
        try:
            record = json.loads(line)
            if not isinstance(record["step"], int):
                raise TypeError("step is not an integer")
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{path}:{number}: expected a JSON record with an integer 'step'; {error}"
            ) from None
        records.append(record)
    return records


def _plain(value: Any) -> Any:
    """A figure as JSON holds it: numpy and torch scalars become Python's, what is not finite becomes null."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
