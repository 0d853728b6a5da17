"""The one registry: a room's files register what they hold, and are found by walking the room.

Nobody edits a list. `Registry("loss", "pareto.core.losses")` looks for a name first in the module of that name and
then in every module of the package, importing on first use, so that listing never costs more than what is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast

from pareto.errors import UnknownNameError, did_you_mean

T = TypeVar("T")
U = TypeVar("U")
Status = Literal["verified", "unverified"]


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing: what it is called, what it is, where it comes from."""

    name: str
    value: T
    source: str
    status: Status
    summary: str
    example: Callable[[], Any] | None


class Registry(Generic[T]):
    """Names of one kind of thing, discovered in one or several packages.

    Args:
        kind: singular noun for messages ("loss", "method").
        packages: dotted names of the packages whose modules register things; one that is not there holds nothing.
    """

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self.packages = packages
        self._entries: dict[str, Entry[T]] = {}
        self._complete = False

    def register(
        self, name: str, *, source: str, status: Status = "verified", example: Callable[[], Any] | None = None
    ) -> Callable[[U], U]:
        """Decorator that files a function or class under `name`.

        Args:
            name: what users write in a config.
            source: paper or official code; never empty.
            status: "unverified" where the form rests on memory.
            example: makes a small valid instance of what the thing needs; contract tests use it.

        Raises:
            ValueError: empty source, or a name filed twice by different modules.
        """
        if not source:
            raise ValueError(f"{self.kind} {name!r} must state its source")

        def file(value: U) -> U:
            before = self._entries.get(name)
            if before is not None and getattr(before.value, "__module__", None) != getattr(
                value, "__module__", None
            ):
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            doc = (getattr(value, "__doc__", None) or "").strip()
            summary = doc.splitlines()[0] if doc else ""
            self._entries[name] = Entry(name, cast(T, value), source, status, summary, example)
            return value

        return file

    def entry(self, name: str) -> Entry[T]:
        """The entry called `name`.

        Raises:
            UnknownNameError: there is none; names the nearest.
        """
        if name not in self._entries and not self._complete:
            self._import_namesake(name)
        if name not in self._entries:
            self._discover()
        if name not in self._entries:
            known = sorted(self._entries)
            raise UnknownNameError(
                f"unknown {self.kind} {name!r}{did_you_mean(name, known)}; known: {', '.join(known) or 'none'}"
            )
        return self._entries[name]

    def get(self, name: str) -> T:
        """What is registered under `name`."""
        return self.entry(name).value

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[Entry[T]]:
        self._discover()
        return iter(self._entries[n] for n in sorted(self._entries))

    def _import_namesake(self, name: str) -> None:
        for package in self.packages:
            module = f"{package}.{name}"
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name not in (module, package):
                    raise

    def _discover(self) -> None:
        if self._complete:
            return
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                continue
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{package}.{module.name}")
        self._complete = True
