"""Preference losses: pure functions of log-probabilities, one file each, found by walking this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pareto.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

LOSSES: Registry[Callable[..., Tensor]] = Registry("loss", "pareto.core.losses")

get = LOSSES.get
names = LOSSES.names
