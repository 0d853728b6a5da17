"""What is learned on and scored by: the lab, text tasks, environments."""

from __future__ import annotations

from pareto.registry import Registry
from pareto.tasks.protocol import Task

TASKS: Registry[type[Task]] = Registry("task", "pareto.tasks")
