"""One SQLite file with a write-ahead log: opened, flushed, and its errors turned into this project's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pareto.errors import ArtifactError, MachineError
from pareto.study import sql


class Database:
    """An open store's file.

    Args:
        path: of the file.
        create: make it when missing.
        synchronous: SQLite's setting for changes that are flushed.

    Raises:
        MachineError: the file cannot be opened for writing, or holds no write-ahead log where it lies.
        ArtifactError: there is none, or it is no store, or one of another version.
    """

    def __init__(self, path: Path, create: bool, synchronous: str) -> None:
        self.path, self._synchronous, self._level = path, synchronous, ""
        if not create and not path.is_file():
            raise ArtifactError(f"expected a sweep's store at {path}; there is none")
        with self.guard():
            # Where nothing can be written, SQLite reads only what it takes for unchanging.
            frozen = not create and not os.access(path.parent, os.W_OK)
            where = f"{path.absolute().as_uri()}?immutable=1" if frozen else path
            self._db = sqlite3.connect(where, timeout=30.0, isolation_level=None, uri=frozen)
            self._db.row_factory = sqlite3.Row
            try:
                self._check_version() if frozen else self._open(create)
            except BaseException:
                self._db.close()
                raise

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        """Run one statement; within `guard` or `transaction`."""
        return self._db.execute(statement, values)

    def executemany(self, statement: str, values: Any) -> sqlite3.Cursor:
        """Run one statement for each of several values; within `guard` or `transaction`."""
        return self._db.executemany(statement, values)

    def flush(self, flushed: bool) -> None:
        """Have the next change flushed, with all before it, or not."""
        level = self._synchronous if flushed or self._synchronous != "FULL" else "NORMAL"
        if level != self._level:
            self._db.execute(f"PRAGMA synchronous = {level}")
            self._level = level

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes of the block, flushed, or none of them."""
        with self.guard():
            self.flush(True)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn SQLite's errors into this project's."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise MachineError(
                f"the store {self.path} cannot be used: {error}; is the folder writable, the disk full, the file system local?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise ArtifactError(f"{self.path} is not a sweep's store, or it is broken: {error}") from error

    def close(self) -> None:
        """Fold the write-ahead log into the file and close."""
        self._db.close()

    def _open(self, create: bool) -> None:
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise MachineError(
                f"{self.path} lies on a file system that cannot hold a write-ahead log; choose a local folder with --out"
            )
        with self.transaction():
            if create and self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in sql.SCHEMA:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {sql.SCHEMA_VERSION}")
            self._check_version()

    def _check_version(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != sql.SCHEMA_VERSION:
            raise ArtifactError(
                f"{self.path} is a store of version {version}; this program reads version {sql.SCHEMA_VERSION}"
            )
