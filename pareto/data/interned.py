"""Texts by number, each once: held in memory, or written to a file of which only offsets and digests are held.

Both number the same texts in the same way, so that whatever stands on numbers does not care where the texts are.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, overload

import numpy as np

from pareto.data.texts import Chat, Message, Text

BLOCK = 1024
"""Stored texts are read in blocks of so many."""


class Interned(Protocol):
    """Numbers for texts, in the order in which they first come."""

    def __len__(self) -> int: ...

    def code(self, text: Text, under: int = -1) -> int:
        """The number of a text; the same text under another owner has another number."""
        ...

    def texts(self) -> Sequence[Text]:
        """All texts by number; nothing may be added afterwards."""
        ...


class InMemory:
    """Texts as Python objects."""

    def __init__(self) -> None:
        self._codes: dict[tuple[int, Text], int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def code(self, text: Text, under: int = -1) -> int:
        """The number of a text; the same text under another owner has another number."""
        return self._codes.setdefault((under, text), len(self._codes))

    def texts(self) -> Sequence[Text]:
        """All texts by number."""
        return [text for _, text in self._codes]


class OnDisk:
    """Texts in a file; about 180 bytes of memory each, however long they are.

    Texts count as the same when their 128-bit digests are (by chance: never in 10^18 texts).

    Args:
        path: a file that is not there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._codes: dict[int, int] = {}
        self._offsets = array("q", [0])
        self._waiting: list[bytes] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("xb").close()

    def __len__(self) -> int:
        return len(self._codes)

    def code(self, text: Text, under: int = -1) -> int:
        """The number of a text; the same text under another owner has another number."""
        data = _to_bytes(text)
        digest = hashlib.blake2b(data, digest_size=16, salt=under.to_bytes(8, "little", signed=True)).digest()
        n = len(self._codes)
        code = self._codes.setdefault(int.from_bytes(digest, "little"), n)
        if code == n:
            self._waiting.append(data)
            self._offsets.append(self._offsets[-1] + len(data))
            if len(self._waiting) == BLOCK:
                self._flush()
        return code

    def texts(self) -> Sequence[Text]:
        """All texts by number."""
        self._flush()
        self._codes = {}
        offsets = np.array(self._offsets, np.int64)
        return StoredTexts(self.path, offsets[:-1], offsets[1:])

    def _flush(self) -> None:
        with self.path.open("ab") as file:
            file.writelines(self._waiting)
        self._waiting = []


class StoredTexts(Sequence[Text]):
    """Texts that lie in a file and are read when they are asked for.

    Args:
        path: the file.
        starts: [n] int64, where each text begins.
        stops: [n] int64, where it ends.
    """

    def __init__(self, path: Path, starts: np.ndarray, stops: np.ndarray) -> None:
        self.path, self.starts, self.stops = path, starts, stops

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Text: ...

    @overload
    def __getitem__(self, index: slice) -> list[Text]: ...

    def __getitem__(self, index: int | slice) -> Text | list[Text]:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.take(np.array([range(len(self))[index]]))[0]

    def __iter__(self) -> Iterator[Text]:
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    def take(self, indices: np.ndarray) -> list[Text]:
        """The texts at some numbers."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            return [
                _from_bytes(os.pread(handle, stop - start, start))
                for start, stop in zip(self.starts[indices].tolist(), self.stops[indices].tolist())
            ]
        finally:
            os.close(handle)

    def where(self, keep: np.ndarray) -> StoredTexts:
        """The texts where [n] bool is true; they stay in the file."""
        return StoredTexts(self.path, self.starts[keep], self.stops[keep])


def take(texts: Sequence[Text], indices: np.ndarray) -> list[Text]:
    """The texts at some numbers, wherever they are."""
    return texts.take(indices) if isinstance(texts, StoredTexts) else [texts[i] for i in indices.tolist()]


def where(texts: Sequence[Text], keep: np.ndarray) -> Sequence[Text]:
    """The texts where [n] bool is true; stored ones stay stored."""
    return texts.where(keep) if isinstance(texts, StoredTexts) else [t for t, k in zip(texts, keep) if k]


def _to_bytes(text: Text) -> bytes:
    """A string behind "s"; a chat as JSON."""
    if isinstance(text, str):
        return b"s" + text.encode()
    return json.dumps([text.tools, text.messages], ensure_ascii=False).encode()


def _from_bytes(data: bytes) -> Text:
    if data.startswith(b"s"):
        return data[1:].decode()
    tools, messages = json.loads(data)
    return Chat(tuple(Message(*m) for m in messages), tools)
