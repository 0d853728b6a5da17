"""A table as lines of text."""

from __future__ import annotations


def columns(rows: list[dict[str, str]]) -> list[str]:
    """A table as lines, each column as wide as its widest cell."""
    if not rows:
        return []
    lines = [{name: name for name in rows[0]}, *rows]
    widths = {name: max(len(line[name]) for line in lines) for name in rows[0]}
    return ["  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip() for line in lines]
