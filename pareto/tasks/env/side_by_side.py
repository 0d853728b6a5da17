"""Several groups of copies as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.tasks.env.copies import Copies, Moved


class SideBySide(Copies):
    """Groups of copies of one environment; groups in other processes work at the same time.

    Args:
        parts: the groups, in order.
    """

    def __init__(self, parts: Sequence[Copies]) -> None:
        super().__init__(sum(part.num_envs for part in parts), parts[0].facts)
        self.parts = list(parts)
        self._cuts = np.cumsum([part.num_envs for part in parts])[:-1]

    def start(self, seeds: Sequence[int]) -> np.ndarray:
        """See `Copies`."""
        split = np.split(np.array(seeds, dtype=object), self._cuts)
        return np.concatenate([part.reset(seed=list(some))[0] for part, some in zip(self.parts, split)])

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `Copies`."""
        return np.concatenate([p.restart(some) for p, some in zip(self.parts, np.split(mask, self._cuts))])

    def begin_step(self, actions: np.ndarray) -> None:
        """See `Copies`."""
        for part, some in zip(self.parts, np.split(np.asarray(actions), self._cuts)):
            part.begin_step(some)

    def end_step(self) -> Moved:
        """See `Copies`."""
        return Moved(*(np.concatenate(arrays) for arrays in zip(*(part.end_step() for part in self.parts))))

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """See `Copies`."""
        states = [part.state_dict() for part in self.parts]
        if any(state is None for state in states):
            return None
        return {f"{i}.{k}": v for i, state in enumerate(states) for k, v in (state or {}).items()}

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """See `Copies`."""
        split: list[dict[str, np.ndarray]] = [{} for _ in self.parts]
        for key, value in saved.items():
            i, _, name = key.partition(".")
            split[int(i)][name] = value
        return np.concatenate([part.load_state_dict(some) for part, some in zip(self.parts, split)])

    def pareto_front(self, gamma: float) -> np.ndarray | None:
        """See `Copies`."""
        return self.parts[0].pareto_front(gamma)

    def picture(self) -> np.ndarray:
        """See `Copies`."""
        return self.parts[0].picture()

    def close_extras(self, **_: Any) -> None:
        """Close every group."""
        for part in self.parts:
            part.close()
