"""The lab: a small language task that can be enumerated, so that truth is known."""

from __future__ import annotations

from pareto.tasks.lab.task import Lab

__all__ = ["Lab"]
