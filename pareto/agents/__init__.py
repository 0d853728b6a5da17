"""Multi-objective reinforcement learning: policies for environments with vector rewards."""

from __future__ import annotations

from typing import Any

from pareto.methods import METHODS


def __getattr__(name: str) -> Any:
    """`from pareto.agents import CMORL`: the registered method of that class name, whichever file holds it."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for entry in METHODS:
        if entry.value.__name__ == name and entry.value.__module__.startswith(f"{__name__}."):
            return entry.value
    raise AttributeError(f"module {__name__!r} has no method {name!r}")
