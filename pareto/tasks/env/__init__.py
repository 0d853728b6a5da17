"""Gymnasium environments with vector rewards as something to learn on and be scored by."""

from __future__ import annotations

from pareto.tasks.env.task import EnvTask

__all__ = ["EnvTask"]
