"""What a soak has done so far, one JSON line an event: a soak that is stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ledger:
    """A file of JSON lines.

    Args:
        path: made when missing; a torn last line is left out when it is read and ended when it is written to.
    """

    path: Path

    def add(self, event: str, **facts: Any) -> None:
        """Append one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps({"event": event, **facts}) + "\n")

    def events(self, event: str) -> Iterator[Mapping[str, Any]]:
        """The facts of all lines of one kind, in order."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if found["event"] == event:
                yield found
