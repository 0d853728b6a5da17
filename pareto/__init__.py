"""Multi-objective alignment: whole Pareto fronts of policies, honest hypervolume, a dial at inference time.

Importing this package is light: no torch. The names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from pareto import offline

__version__ = "0.1.0"

_LAZY = {
    "Objective": "pareto.objectives",
    "Objectives": "pareto.objectives",
    "PolicySet": "pareto.policy_set",
    "hypervolume": "pareto.front",
    "hypervolume_contributions": "pareto.front",
    "indicators": "pareto.front",
    "load": "pareto.policy_set",
    "non_dominated": "pareto.front",
    "sweep": "pareto.study",
}

__all__ = [
    "Objective",
    "Objectives",
    "PolicySet",
    "hypervolume",
    "hypervolume_contributions",
    "indicators",
    "load",
    "non_dominated",
    "sweep",
]

offline.heed()  # workers are started with the variable; whatever they import comes after this


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'pareto' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
