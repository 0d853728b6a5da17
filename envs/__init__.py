"""Gymnasium environments with vector rewards.

A checkout imports this package as ``envs``; the wheel ships it as ``pareto.envs``. Inside, imports are relative (or
``pareto`` floor 1), so that both names work; `pareto.env_loader` is the only caller that knows which one it is.
"""

from __future__ import annotations

SUITE = "pareto-align"
"""Identity mark: another distribution owns the top-level name ``envs`` on the package index."""


def register_all() -> None:
    """Register every environment's id with gymnasium; calling it again changes nothing."""
