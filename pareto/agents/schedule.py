"""Rates that change in the course of a stage."""

from __future__ import annotations


def linear(start: float, end: float, share: float) -> float:
    """The value at a share of the way from start to end; the share is kept in [0, 1]."""
    share = min(max(share, 0.0), 1.0)
    return start + (end - start) * share
