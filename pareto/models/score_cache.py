"""Scores by content key, on disk, shared by processes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

VARIABLE = "PARETO_CACHE"
BUSY_S = 30.0


class ScoreCache:
    """Arrays of float64 under string keys, in one SQLite file.

    A cache never stands in the way: where the file cannot be written or read, scores are computed.

    Args:
        path: the file, or None for no cache.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @classmethod
    def default(cls) -> ScoreCache:
        """The cache in the folder named by PARETO_CACHE, else in the user's cache folder; empty PARETO_CACHE: none."""
        named = os.environ.get(VARIABLE)
        if named == "":
            return cls(None)
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = Path(named) if named else Path(base) / "pareto"
        return cls(folder.expanduser() / "scores.db")

    def get(self, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """[n] float64 under the key, computed and kept where it is not there."""
        found = self._read(key)
        if found is None:
            found = np.asarray(compute(), dtype=np.float64)
            self._write(key, found)
        return found

    def _read(self, key: str) -> np.ndarray | None:
        if self.path is None or not self.path.is_file():
            return None
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as db:
                row = db.execute("select value from scores where key = ?", (key,)).fetchone()
        except sqlite3.Error:
            return None  # broken or locked for long: compute instead
        return None if row is None else np.frombuffer(row[0], dtype="<f8").copy()

    def _write(self, key: str, value: np.ndarray) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=BUSY_S)) as db, db:
                db.execute("create table if not exists scores (key text primary key, value blob not null)")
                db.execute(
                    "insert or replace into scores values (?, ?)", (key, value.astype("<f8").tobytes())
                )
        except (OSError, sqlite3.Error):
            return  # a read-only or full disk costs time, not the run
