"""Numbers that are none: noticed in the step that made them, told with the rows that were in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pareto.errors import NumericsError

SHOWN = 10
"""Rows of a batch that a message names."""


class FirstFault:
    """The first step whose loss or gradient was not finite; it stays on the device until somebody asks, which costs nothing.

    Args:
        device: of the numbers to come.
        steps: how many there are at most.
    """

    def __init__(self, device: torch.device, steps: int) -> None:
        self._never = steps
        self._step = torch.full((), steps, dtype=torch.int64, device=device)

    def see(self, step: int, *numbers: Tensor) -> None:
        """Look at scalars of a step."""
        fine = torch.stack([n.detach().reshape(()) for n in numbers]).isfinite().all()
        self._step = torch.where(fine, self._step, self._step.clamp(max=step))

    def check(self, batch: Callable[[int], np.ndarray]) -> None:
        """Raise if there was one.

        Args:
            batch: step -> rows of the data that were in it.

        Raises:
            NumericsError: with the step and its rows.
        """
        step = int(self._step)
        if step < self._never:
            rows = np.sort(batch(step)).tolist()
            more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
            raise NumericsError(
                f"loss or gradient not finite at step {step + 1}, with rows {', '.join(map(str, rows[:SHOWN]))}{more} of the "
                "training examples; lower the learning rate, or look at these rows"
            )
