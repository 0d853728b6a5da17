"""The store: one SQLite file that knows every cell, who works on it, what it cost and what came out.

A state change is one transaction, flushed to the disk before it counts. Only claims and reports are not flushed by
themselves: they outlive a kill, and a power cut may take the last of them, which frees a cell. A cell is claimed by one
UPDATE, under a lease that its owner extends; only the owner can finish it, and only once. What a killed attempt had done
beyond the point from which the next one goes on is counted as wasted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pareto.cells import Cell, canonical_json, digest
from pareto.errors import ArtifactError
from pareto.study import sql
from pareto.study.database import Database
from pareto.study.rows import Claim, Row, parsed, read_cell, read_row


class Store:
    """The state of a sweep. Safe to use from several processes on one machine.

    Args:
        path: the database file.
        create: make it when missing.
        clock: seconds since the epoch.

    Raises:
        MachineError: the file cannot be opened for writing.
        ArtifactError: not a store, or one of another version.
    """

    SYNCHRONOUS = "FULL"
    """SQLite's setting for changes that are flushed."""

    def __init__(
        self, path: Path | str, *, create: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = Path(path)
        self._clock = clock
        self._db = Database(self.path, create, self.SYNCHRONOUS)

    def plan(
        self, cells: Sequence[tuple[Cell, Sequence[str]]], others: Mapping[str, str] | None = None
    ) -> None:
        """Make these cells the present plan; finished work stays finished, failed cells get a new chance.

        A cell that is done as a prerequisite and is now wanted as a policy is done again, unless it was scored before.

        Args:
            cells: (cell, ids of the cells that must be done first), in plan order.
            others: id -> role of cells that other methods of the folder planned. They stay in the plan, before these, and
                are not claimed; one that is among `cells`, too, is a policy if either wants it so.
        """
        others = others or {}
        wanted = {cell_id for cell_id, role in others.items() if role == "policy"}
        cells = [(replace(c, role="policy") if c.id in wanted else c, needs) for c, needs in cells]
        with self._db.transaction():
            self._db.execute("UPDATE cells SET position = NULL")
            for place, (cell_id, role) in enumerate(others.items(), start=-len(others)):
                for row in self._db.execute("SELECT cell FROM cells WHERE id = ?", (cell_id,)).fetchall():
                    text = json.dumps({**json.loads(row["cell"]), "role": role})
                    self._db.execute(
                        "UPDATE cells SET position = ?, role = ?, cell = ? WHERE id = ?",
                        (place, role, text, cell_id),
                    )
            for position, (cell, needs) in enumerate(cells):
                self._db.execute(
                    "INSERT INTO cells (id, position, role, cell) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET position = excluded.position, role = excluded.role, cell = excluded.cell",
                    (cell.id, position, cell.role, json.dumps(cell.to_json())),  # weights keep their order
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO needs VALUES (?, ?)", [(cell.id, need) for need in needs]
                )
            self._db.execute(
                "UPDATE cells SET status = 'pending', failures = 0 WHERE status = 'failed' AND position >= 0"
            )
            for row in self.rows():
                if (
                    row.status == "done"
                    and not row.foreign
                    and row.cell.role != "prerequisite"
                    and not (row.result or {})["policies"]
                ):
                    self._redo(row)

    def claim(self, owner: str, lease_s: float) -> Claim | None:
        """Take the first cell of the plan that is free and has all its needs done; None when there is none.

        Args:
            owner: who works on it.
            lease_s: after this time without a report it is free again.
        """
        now = self._clock()
        with self._db.guard():
            self._db.flush(False)
            found = self._db.execute(
                sql.CLAIM, {"owner": owner, "now": now, "until": now + lease_s}
            ).fetchall()
        return Claim(read_cell(found[0], self.path), found[0]["attempts"]) if found else None

    def report(
        self, cell_id: str, owner: str, lease_s: float, *, tokens: int | None = None, steps: int | None = None
    ) -> bool:
        """Extend a lease and note how far the attempt has come; False when the lease is lost.

        Args:
            cell_id: the claimed cell.
            owner: who claimed it.
            lease_s: the lease runs this long from now.
            tokens: tokens the cell has cost up to where it stands, resumed work included; None when not known.
            steps: environment steps, likewise.
        """
        now = self._clock()
        about = {"id": cell_id, "owner": owner, "now": now, "until": now + lease_s}
        with self._db.guard():
            self._db.flush(False)
            if tokens is None and steps is None:
                done = self._db.execute(
                    "UPDATE cells SET heartbeat = :now, lease_until = :until "
                    "WHERE id = :id AND owner = :owner AND status = 'running'",
                    about,
                )
            else:
                done = self._db.execute(sql.REPORT, {**about, "tokens": tokens or 0, "steps": steps or 0})
        return done.rowcount == 1

    def commit(self, cell_id: str, owner: str, result: dict[str, Any]) -> bool:
        """Finish a cell with its result; False when the owner lost it, and then nothing has changed."""
        return self.commit_all(owner, {cell_id: result}) == {cell_id}

    def commit_all(self, owner: str, results: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Finish several cells at once, in one transaction.

        Args:
            owner: who claimed them.
            results: cell id -> its result.

        Returns:
            Ids of the cells that are finished now; with the others, which the owner lost, nothing has happened.
        """
        found = set()
        with self._db.transaction():
            for cell_id, result in results.items():
                about = {"id": cell_id, "owner": owner, "now": self._clock()}
                text = {"result": canonical_json(result), "sha256": digest(result)}
                if self._db.execute(sql.COMMIT, {**about, **text}).rowcount == 1:
                    found.add(cell_id)
        return found

    def fail(self, cell_id: str, owner: str, failure: dict[str, Any], max_attempts: int) -> bool:
        """Note that an attempt ended badly.

        Args:
            cell_id: the claimed cell.
            owner: who claimed it.
            failure: type, message, traceback.
            max_attempts: from this many failures on the cell counts as failed; until then it is free again.

        Returns:
            Whether it will be tried again.
        """
        with self._db.transaction():
            self._db.execute(
                f"UPDATE cells SET {sql.END_ATTEMPT}, failures = failures + 1, failure = :failure, "
                "status = CASE WHEN failures + 1 >= :cap THEN 'failed' ELSE 'pending' END "
                "WHERE id = :id AND owner = :owner AND status = 'running'",
                {"id": cell_id, "owner": owner, "failure": canonical_json(failure), "cap": max_attempts},
            )
            return self.row(cell_id).status == "pending"

    def release(self, owner: str | None = None) -> list[str]:
        """Free running cells without blaming them; return their ids.

        Args:
            owner: only this owner's; None frees all, for when no owner can be alive.
        """
        with self._db.guard():
            self._db.flush(True)
            freed = self._db.execute(
                f"UPDATE cells SET {sql.END_ATTEMPT}, status = 'pending' "
                "WHERE status = 'running' AND (:owner IS NULL OR owner = :owner) RETURNING id",
                {"owner": owner},
            ).fetchall()
        return [row["id"] for row in freed]

    def redo(self, cell_id: str) -> None:
        """Forget the result of a finished cell, so that it is done again; what it cost counts as wasted."""
        with self._db.transaction():
            self._redo(self.row(cell_id))

    def dependents(self, cell_id: str) -> list[str]:
        """Ids of the finished cells that need a cell."""
        with self._db.guard():
            found = self._db.execute(
                "SELECT c.id FROM cells c JOIN needs n ON n.cell = c.id WHERE n.need = ? AND c.status = 'done' ORDER BY c.id",
                (cell_id,),
            ).fetchall()
        return [row["id"] for row in found]

    def rows(self, planned: bool = True) -> list[Row]:
        """All cells of the present plan in its order, or (`planned=False`) those of earlier plans only.

        Raises:
            ArtifactError: a cell or a result does not have the digest that stands beside it.
        """
        where = "IS NOT NULL" if planned else "IS NULL"
        with self._db.guard():
            found = self._db.execute(
                f"SELECT * FROM cells WHERE position {where} ORDER BY position, id"
            ).fetchall()
        return [read_row(row, self.path) for row in found]

    def row(self, cell_id: str) -> Row:
        """One cell.

        Raises:
            ArtifactError: there is none with this id.
        """
        with self._db.guard():
            found = self._db.execute("SELECT * FROM cells WHERE id = ?", (cell_id,)).fetchone()
        if found is None:
            raise ArtifactError(f"{self.path} holds no cell {cell_id!r}")
        return read_row(found, self.path)

    def blocked(self) -> dict[str, str]:
        """Cell id -> id of a failed cell it waits for, directly or not."""
        failed = {row.cell.id: row.cell.id for row in self.rows() if row.status == "failed"}
        with self._db.guard():
            edges = self._db.execute("SELECT cell, need FROM needs").fetchall()
        needs: dict[str, list[str]] = {}
        for edge in edges:
            needs.setdefault(edge["cell"], []).append(edge["need"])
        for row in self.rows():  # plan order: needs come first
            cause = next((failed[n] for n in needs.get(row.cell.id, ()) if n in failed), None)
            if cause is not None and row.status == "pending":
                failed.setdefault(row.cell.id, cause)
        return {cell: cause for cell, cause in failed.items() if cell != cause}

    def get(self, key: str, missing: Any = None) -> Any:
        """A fact about the study, or what is given for a missing one."""
        with self._db.guard():
            found = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return missing if found is None else parsed(found["value"], f"fact {key}", self.path)

    def set(self, key: str, value: Any) -> None:
        """Note a fact about the study."""
        with self._db.guard():
            self._db.flush(True)
            self._db.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value, allow_nan=False))
            )

    def sha256(self, without: str) -> str:
        """Digest of everything the store holds.

        Args:
            without: key of the one fact that is left out.
        """
        found = hashlib.sha256()
        with self._db.guard():
            for statement in sql.CONTENT:
                for row in self._db.execute(statement, {"without": without}):
                    found.update(repr(tuple(row)).encode())
        return found.hexdigest()

    def is_sound(self) -> bool:
        """Whether SQLite finds its own pages in order."""
        with self._db.guard():
            return self._db.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"

    def close(self) -> None:
        """Fold the write-ahead log into the file and close."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _redo(self, row: Row) -> None:
        """Forget a result; what it cost counts as wasted."""
        cost = (row.result or {})["cost"]
        self._db.execute(
            "UPDATE cells SET status = 'pending', result = NULL, result_sha256 = NULL, lost_s = lost_s + :s, "
            "wasted_tokens = wasted_tokens + :tokens, wasted_steps = wasted_steps + :steps WHERE id = :id",
            {
                "id": row.cell.id,
                "s": cost["wall_s"],
                "tokens": cost["train_tokens"] + cost["generated_tokens"],
                "steps": cost["env_steps"] + cost["selection_env_steps"] + cost["scoring_env_steps"],
            },
        )
