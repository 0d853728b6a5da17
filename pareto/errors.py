"""One exception tree, by kind of fault; every message says what was expected, what came, where, what to do.

::

    ParetoError
    ├── UsageError            exit 2: something the caller wrote or handed over is wrong
    │   ├── ConfigError           a configuration key, its type or its value
    │   ├── DataError             a row or file of input data
    │   ├── ShapeError            an array of the wrong rank, size or dtype
    │   ├── SimplexError          weights that are not weights
    │   ├── ObjectiveError        an unknown, missing or doubled objective
    │   ├── UnknownNameError      a name that no registry holds
    │   └── ArtifactError         a run folder or file that is broken, foreign or of another version
    ├── NumericsError         exit 1: NaN or infinity where a number must be
    ├── MissingPackageError   exit 2: an optional package is not installed
    ├── OfflineError          exit 2: something wanted a connection while offline mode is on
    ├── RequirementError      exit 4: a stated requirement (`--require`) was not met
    ├── Interrupted           exit 3: stopped on request, resumable
    └── MachineError          exit 5: the machine failed us (disk, memory)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ParetoError(Exception):
    """Root of every error this package raises on purpose."""

    exit_code = 1


class UsageError(ParetoError, ValueError):
    """The caller's input is wrong; nothing was changed."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key, its type or its value is wrong."""


class DataError(UsageError):
    """A row or a file of input data is wrong."""


class ShapeError(UsageError):
    """An array has the wrong rank, size or dtype."""


class SimplexError(UsageError):
    """Weights are not on the simplex, or a direction is not a unit vector."""


class ObjectiveError(UsageError):
    """An objective is unknown, missing or named twice."""


class UnknownNameError(UsageError, KeyError):
    """A name that no registry holds."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


class ArtifactError(UsageError):
    """A run folder or a file in it is broken, foreign or of another format."""


class NumericsError(ParetoError, ArithmeticError):
    """NaN or infinity where a number must be."""


class MissingPackageError(ParetoError, ImportError):
    """An optional package is not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}; install it with: pip install 'pareto-align[{extra}]'"
        )


class OfflineError(ParetoError, ConnectionError):
    """A connection to another machine was wanted while offline mode is on."""

    exit_code = 2


class RequirementError(ParetoError):
    """A requirement the user stated (`--require`) was not met."""

    exit_code = 4


class Interrupted(ParetoError):
    """Stopped on request; running the same command again resumes."""

    exit_code = 3


class MachineError(ParetoError, OSError):
    """The machine failed us: disk full, out of memory, a folder that cannot be written."""

    exit_code = 5


def printable(text: object) -> str:
    """A text of somebody else's with what does not print written out, so that it can neither move a cursor nor end a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest known name, or ``""`` when none is near."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
