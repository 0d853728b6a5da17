"""`pareto/Offloading-v0` batched: many copies stepped by array operations."""

from __future__ import annotations

from typing import final

from ..batched import BatchedEnv
from .dynamics import OffloadingDynamics


@final
class OffloadingVector(BatchedEnv):
    """Many copies of `Offloading`; copy i seeded s + i plays what `Offloading` seeded s + i plays, bit for bit."""

    dynamics_class = OffloadingDynamics
