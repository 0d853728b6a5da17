"""`pareto list`: what is there, and where it comes from."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator

HELP = "list what is there, with its source"
EXAMPLES = """examples:
  pareto list methods
  pareto list losses | grep unverified"""

_SHELVES = {
    "engines": "pareto.study.engines:ENGINES",
    "indicators": "pareto.front:INDICATORS",
    "losses": "pareto.core.losses:LOSSES",
    "methods": "pareto.methods:METHODS",
    "procedures": "pareto.core.procedures:PROCEDURES",
    "steering": "pareto.policy_set:STEERERS",
    "tasks": "pareto.tasks:TASKS",
    "weights": "pareto.study.weights:WEIGHTS",
}

Row = tuple[str, str, str, str]
"""Name, summary, status, source."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=sorted([*_SHELVES, "envs"]), help="what to list")


def run(args: argparse.Namespace) -> int:
    rows = list(_environments() if args.kind == "envs" else _registered(_SHELVES[args.kind]))
    if sys.stdout.isatty():
        _table(args.kind, rows)
    else:
        for row in rows:
            print("\t".join(row))
    return 0


def _registered(address: str) -> Iterator[Row]:
    module, _, name = address.partition(":")
    for entry in getattr(importlib.import_module(module), name):
        yield entry.name, entry.summary, entry.status, entry.source


def _environments() -> Iterator[Row]:
    """Every gymnasium id that this suite's environments package registered."""
    import inspect

    import gymnasium

    from pareto.env_loader import load_envs

    package = load_envs().__name__
    for env_id, spec in sorted(gymnasium.registry.items()):
        module, _, attribute = str(spec.entry_point).partition(":")
        if module.split(".")[: package.count(".") + 1] == package.split("."):
            doc = inspect.getdoc(getattr(importlib.import_module(module), attribute)) or ""
            credits = doc.partition("Credits:")[2].partition("\n\n")[0]
            yield env_id, doc.partition("\n")[0], "verified", " ".join(credits.split())


def _table(kind: str, rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(rows)} {kind}", title_justify="left")
    for column in ("name", "what it is", "status", "source"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
