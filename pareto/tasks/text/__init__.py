"""A user's model on a user's preference data."""

from __future__ import annotations

from pareto.tasks.text.task import Text

__all__ = ["Text"]
