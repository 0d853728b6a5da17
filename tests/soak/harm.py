"""Ways to harm a run folder, and back: each takes the folder's files and writes the harm to the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPORTS = ("report.html", "report.json")
NO_CONTENT = (*REPORTS, "sweep.lock")
"""Files that say nothing of their own: reports are made from the rest, a lock is empty words while nobody holds it."""


def part(name: str) -> str:
    """What kind of file a path of a run folder is: the folder right inside the run, or the file's own name there."""
    return "report" if name in REPORTS else name.split("/")[0]


@dataclass(frozen=True)
class Harm:
    """What was done.

    Args:
        kind: a key of `KINDS`.
        files: the files it was done to.
        detail: for people.
    """

    kind: str
    files: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class Whole:
    """A run folder in memory, to put back what was harmed.

    Args:
        root: where it lies.
        files: relative path -> content of every file.
        older: the same of an earlier state of the same run.
    """

    root: Path
    files: Mapping[str, bytes]
    older: Mapping[str, bytes]

    @classmethod
    def read(cls, root: Path, older: Path) -> Whole:
        """Take down a run folder and an earlier state of it."""
        return cls(root, contents(root), contents(older))

    def restore(self) -> None:
        """Put everything back, and take away what was not there; what opened the store may have left files too."""
        now = contents(self.root)
        for name in now.keys() - self.files.keys():
            (self.root / name).unlink()
        for name, content in self.files.items():
            if now.get(name) != content:
                (self.root / name).write_bytes(content)

    def pick(self, draw: np.random.Generator, names: list[str]) -> str:
        """One of some files: first one of the kinds of file there, so that many small files do not hide the others."""
        kinds = sorted({part(name) for name in names})
        chosen = kinds[int(draw.integers(len(kinds)))]
        among = sorted(name for name in names if part(name) == chosen)
        return among[int(draw.integers(len(among)))]


def contents(root: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below a folder."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def flip(whole: Whole, draw: np.random.Generator) -> Harm:
    """One bit of one byte."""
    name = whole.pick(draw, [n for n, content in whole.files.items() if content])
    content = bytearray(whole.files[name])
    place, bit = int(draw.integers(len(content))), int(draw.integers(8))
    content[place] ^= 1 << bit
    (whole.root / name).write_bytes(content)
    return Harm("flip", (name,), f"bit {bit} of byte {place}")


def truncate(whole: Whole, draw: np.random.Generator) -> Harm:
    """The end is gone."""
    name = whole.pick(draw, [n for n, content in whole.files.items() if content])
    length = int(draw.integers(len(whole.files[name])))
    (whole.root / name).write_bytes(whole.files[name][:length])
    return Harm("truncate", (name,), f"to {length} bytes")


def swap(whole: Whole, draw: np.random.Generator) -> Harm:
    """Two files change places; of the same kind where there are two different ones."""
    one = whole.pick(draw, list(whole.files))
    others = [n for n, content in whole.files.items() if content != whole.files[one]]
    alike = [n for n in others if part(n) == part(one) and Path(n).suffix == Path(one).suffix]
    other = whole.pick(draw, alike or others)
    (whole.root / one).write_bytes(whole.files[other])
    (whole.root / other).write_bytes(whole.files[one])
    return Harm("swap", (one, other), "exchanged")


def older(whole: Whole, draw: np.random.Generator) -> Harm:
    """A file as it was in an earlier state of the run, as a half-restored copy has it."""
    changed = [n for n, content in whole.older.items() if n in whole.files and whole.files[n] != content]
    name = whole.pick(draw, changed)
    (whole.root / name).write_bytes(whole.older[name])
    return Harm("older", (name,), "as it was before the run was extended")


def delete(whole: Whole, draw: np.random.Generator) -> Harm:
    """A file is gone."""
    name = whole.pick(draw, list(whole.files))
    (whole.root / name).unlink()
    return Harm("delete", (name,), "deleted")


def add(whole: Whole, draw: np.random.Generator) -> Harm:
    """A file that nobody wrote, beside one that is there."""
    beside = whole.pick(draw, list(whole.files))
    name = (Path(beside).parent / f"added-{int(draw.integers(1000))}{Path(beside).suffix}").as_posix()
    (whole.root / name).write_bytes(draw.bytes(int(draw.integers(200))))
    return Harm("add", (name,), f"beside {beside}")


KINDS: Mapping[str, Callable[[Whole, np.random.Generator], Harm]] = {
    one.__name__: one for one in (flip, truncate, swap, older, delete, add)
}
