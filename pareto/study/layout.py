"""Where everything lies in a run folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pareto.errors import ArtifactError

UNLISTED = (
    "sweep.db",
    "sweep.db-wal",
    "sweep.db-shm",
    "sweep.db-journal",
    "sweep.lock",
    "scratch",
    "trackers",
    "report.html",
    "report.json",
)
"""What the run folder's manifest does not cover: the store (its rows carry digests), work in progress, what trackers
write, the report."""

_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of one run.

    Args:
        root: the run folder.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The resolved study, reloadable."""
        return self.root / "config.yaml"

    @property
    def front(self) -> Path:
        """The hub that every other command reads."""
        return self.root / "front.json"

    @property
    def table(self) -> Path:
        """The front as a table."""
        return self.root / "front.csv"

    @property
    def store(self) -> Path:
        """The SQLite store."""
        return self.root / "sweep.db"

    @property
    def lock(self) -> Path:
        """Locked by the one sweep that works in this folder."""
        return self.root / "sweep.lock"

    @property
    def manifest(self) -> Path:
        """Written last: its presence says that the run is complete."""
        return self.root / "manifest.json"

    def policy(self, policy_id: str) -> Path:
        """Folder of a policy's files."""
        return self.root / "policies" / check_id(policy_id)

    def scores(self, policy_id: str) -> Path:
        """A policy's values per unit."""
        return self.root / "scores" / f"{check_id(policy_id)}.npz"

    def samples(self, policy_id: str) -> Path:
        """A policy's texts or trajectories."""
        return self.root / "samples" / f"{check_id(policy_id)}.jsonl"

    def metrics(self, cell_id: str) -> Path:
        """Metric log of a cell's training."""
        return self.root / "metrics" / f"{check_id(cell_id)}.jsonl"

    def prerequisite(self, cell_id: str) -> Path:
        """Folder of a cell that others need."""
        return self.root / "prerequisites" / check_id(cell_id)

    @property
    def trackers(self) -> Path:
        """Files of trackers such as TensorBoard."""
        return self.root / "trackers"

    def scratch(self, cell_id: str) -> Path:
        """Work in progress of a cell: survives a kill, goes when the cell is committed."""
        return self.root / "scratch" / check_id(cell_id)


def check_id(name: str) -> str:
    """Return an id that is safe as a file name everywhere.

    Raises:
        ArtifactError: anything but letters, digits, dot, dash and underscore, or longer than 100.
    """
    if not _ID.match(name):
        raise ArtifactError(
            f"an id must match {_ID.pattern}, because it becomes a file name; got {name[:120]!r}"
        )
    return name
