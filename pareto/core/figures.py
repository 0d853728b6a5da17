"""Figures of a training run between two logged steps: added up on the device, read once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pareto.core.parallel import Processes


class Figures:
    """Sums over examples since the last logged step.

    Every process adds its own. They come together where they are read or saved; after `fold` the first process holds the
    whole and the others nothing, so that nothing is counted twice.

    Args:
        device: where they are added up.
        processes: whose figures come together.
        sums: name -> scalar to go on from.
        counted: examples of all processes behind the sums.
        tokens: input tokens of all processes so far.
    """

    def __init__(
        self,
        device: torch.device,
        processes: Processes,
        sums: Mapping[str, Tensor] | None = None,
        counted: int = 0,
        tokens: int = 0,
    ) -> None:
        self.sums = dict(sums or {})
        self.counted, self.tokens = counted, tokens
        self._own_tokens = 0
        self._device, self._processes = device, processes

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Add scalars that are sums over examples."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=self._device)) + value

    def add_tokens(self, tokens: int) -> None:
        """Count input tokens of this process."""
        self._own_tokens += tokens

    def fold(self) -> None:
        """Bring the sums of all processes together in the first one; all must do it together."""
        self._collect()
        if not self._processes.first:
            self.sums = {name: torch.zeros_like(value) for name, value in self.sums.items()}

    def take(self) -> dict[str, float]:
        """Means over the examples of all processes, the same in each; start again from nothing.

        The one place where the host waits for the device.
        """
        self._collect()
        values = (torch.stack([value.float() for value in self.sums.values()]) / self.counted).tolist()
        means = dict(zip(self.sums, values))
        self.sums, self.counted = {}, 0
        return means

    def _collect(self) -> None:
        tokens = torch.tensor(self._own_tokens, dtype=torch.int64)
        self.sums = {name: self.sums[name].clone() for name in sorted(self.sums)}
        self._processes.add([*self.sums.values(), tokens])
        self.tokens, self._own_tokens = self.tokens + int(tokens), 0
