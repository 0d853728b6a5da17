"""An office building whose zones are heated and cooled: its heat, its climate, and the environment made of both."""

from __future__ import annotations

from .environment import Building, BuildingVector, register_envs

__all__ = ["Building", "BuildingVector", "register_envs"]
