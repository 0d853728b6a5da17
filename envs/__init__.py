"""Gymnasium environments with vector rewards.

A checkout imports this package as ``envs``; the wheel ships it as ``pareto.envs``. Inside, imports are relative (or
``pareto`` floor 1), so that both names work; `pareto.env_loader` is the only caller that knows which one it is.
"""

from __future__ import annotations

import importlib
import pkgutil

SUITE = "pareto-align"
"""Identity mark: another distribution owns the top-level name ``envs`` on the package index."""


def register_all() -> None:
    """Register every environment's id with gymnasium; calling it again changes nothing.

    Walks this package: a module that holds environments has a function `register_envs`.
    """
    for module in pkgutil.iter_modules(__path__):
        register_envs = getattr(importlib.import_module(f"{__name__}.{module.name}"), "register_envs", None)
        if register_envs is not None:
            register_envs()
