"""Token ids that do not fit in memory: flat int32 files that are mapped, written piece by piece, published whole.

A store is a folder: `prompts.i32` and `responses.i32` hold all ids one after the other (little-endian), the `.npy` files
where each sequence starts and which prompt a response answers, `facts.json` the digest of the content, and the manifest,
written last, the digest of every file. Opened, it is the same `ResponseTable` that would be in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np

from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ArtifactError
from pareto.state import atomic, manifest

FORMAT = 1
IDS = np.dtype("<i4")
PIECE = 2**22
"""Ids that are held at once while a store is written."""


class Rows(Protocol):
    """Sequences of ids that grow at their end."""

    def extend(self, rows: Sequence[Sequence[int]]) -> None:
        """Add sequences."""
        ...

    def finish(self) -> Ragged:
        """All of them; nothing may be added afterwards."""
        ...


class RowsInMemory:
    """Sequences in memory, a packed array per call."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []

    def extend(self, rows: Sequence[Sequence[int]]) -> None:
        """Add sequences."""
        lengths, flat = _packed(rows)
        self._lengths.append(lengths)
        self._parts.append(flat)

    def finish(self) -> Ragged:
        """All of them."""
        flat = np.concatenate(self._parts) if self._parts else np.zeros(0, np.int32)
        return Ragged(flat, _offsets(self._lengths))


class RowsOnDisk:
    """Sequences in a file; 8 bytes of memory each.

    Args:
        path: a file that is not there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lengths: list[np.ndarray] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("xb").close()

    def extend(self, rows: Sequence[Sequence[int]]) -> None:
        """Add sequences."""
        lengths, flat = _packed(rows)
        self._lengths.append(lengths)
        with self.path.open("ab") as file:
            file.write(flat.astype(IDS, copy=False).data)

    def finish(self) -> Ragged:
        """All of them, mapped."""
        return Ragged(_mapped(self.path), _offsets(self._lengths))


def write_table(folder: Path, table: ResponseTable) -> str:
    """Publish a table as a store, whole or not at all.

    Args:
        folder: the store; what stood there before is replaced.
        table: in memory or mapped.

    Returns:
        the table's sha256.

    Raises:
        MachineError: the disk is full, or the folder cannot be written.
    """
    digest = table.sha256()
    with atomic.staged_folder(folder) as staging:
        for name, rows in (("prompts", table.prompts), ("responses", table.responses)):
            with (staging / f"{name}.i32").open("wb") as file:
                for start in range(0, len(rows.flat), PIECE):
                    file.write(np.ascontiguousarray(rows.flat[start : start + PIECE], dtype=IDS).data)
            np.save(staging / f"{name}_offsets.npy", rows.offsets.astype(np.int64), allow_pickle=False)
        np.save(staging / "prompt_of.npy", table.prompt_of.astype(np.int64), allow_pickle=False)
        ids = {"prompts": len(table.prompts.flat), "responses": len(table.responses.flat)}
        atomic.write_json(staging / "facts.json", {"format": FORMAT, "sha256": digest, "ids": ids})
        manifest.write(staging)
    return digest


def open_table(folder: Path) -> ResponseTable:
    """Map a store; ids are read from the disk when they are looked at.

    Sizes are checked, digests are not (`pareto.state.manifest.verify` reads everything).

    Raises:
        ArtifactError: the store is incomplete, broken, or of another format.
    """
    try:
        if not (folder / manifest.NAME).is_file():
            raise FileNotFoundError(manifest.NAME)
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']}, expected {FORMAT}")
        parts = {}
        for name in ("prompts", "responses"):
            flat = _mapped(folder / f"{name}.i32")
            offsets = np.load(folder / f"{name}_offsets.npy", allow_pickle=False)
            if not len(flat) == facts["ids"][name] == offsets[-1]:
                raise ValueError(f"{name}.i32 holds {len(flat)} ids, expected {facts['ids'][name]}")
            parts[name] = Ragged(flat, offsets)
        prompt_of = np.load(folder / "prompt_of.npy", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ArtifactError(
            f"{folder} is not a whole token store ({error}); delete it and tokenise again"
        ) from error
    return ResponseTable(parts["prompts"], parts["responses"], prompt_of)


def _mapped(path: Path) -> np.ndarray:
    """[n] int32, read-only; an empty file cannot be mapped."""
    if not path.stat().st_size:
        return np.zeros(0, IDS)
    return np.memmap(path, dtype=IDS, mode="r").view(np.ndarray)


def _packed(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return lengths, np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))


def _offsets(lengths: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], *lengths]).astype(np.int64).cumsum()
