"""Studies: plan, store, engines, and the front they produce."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "sweep":
        from pareto.study.run import sweep

        return sweep
    raise AttributeError(f"module 'pareto.study' has no attribute {name!r}")
