"""The tasks: when they come, whose they are, how large they are."""

from __future__ import annotations

from functools import cached_property
from math import exp
from typing import Annotated, Literal, final

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from pareto.config import Config
from pareto.errors import ConfigError

from ..streams import Streams


@final
class Poisson(Config):
    """Poisson arrivals into one first-come-first-served queue, exponential sizes balanced against capacity.

    At the start of a slot the new tasks join the queue and its head, if any, is handed to the dispatcher. Marks (user
    and size) are drawn when a task reaches the head, which is the same in law as at its arrival. With lambda tasks a
    slot and servers that serve `capacity` bits a slot together, the mean size is capacity / lambda: load 1.

    Args:
        users: U.
        arrivals_per_user: tasks per user and slot.
        smallest_bits: sizes are clipped to at least this, bit.
        largest_bits: sizes are clipped to at most this, bit.

    Source: Yang, Wen, Zhang, Tang (2025), equation 1 and table 2; the clipping is that of the authors' earlier code.
    """

    kind: Literal["poisson"] = "poisson"
    users: Annotated[int, Field(ge=1)] = 10
    arrivals_per_user: PositiveFloat = 0.1
    smallest_bits: PositiveFloat = 1e5
    largest_bits: PositiveFloat = 1e8

    @model_validator(mode="after")
    def _sane(self) -> Poisson:
        if self.smallest_bits > self.largest_bits or self.users * self.arrivals_per_user > 100:
            raise ConfigError(
                "expected smallest_bits <= largest_bits and at most 100 arrivals a slot; got "
                f"{self.smallest_bits}, {self.largest_bits} and {self.users * self.arrivals_per_user}"
            )
        return self

    def arrive(
        self, streams: Streams, capacity_bits: np.ndarray, backlog: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw one slot.

        Args:
            streams: n random streams.
            capacity_bits: [n] bits that all servers serve in a slot.
            backlog: [n] tasks left in the queue.

        Returns:
            Size [n] of the task to be decided (0: the queue was empty), its user [n], and the backlog [n] behind it.
        """
        u = streams.uniforms(3)
        waiting = backlog + np.searchsorted(self._cumulative, u[:, 0], side="right")
        some = waiting > 0
        mean_bits = capacity_bits / (self.users * self.arrivals_per_user)
        size = np.clip(-mean_bits * np.log1p(-u[:, 1]), self.smallest_bits, self.largest_bits)
        return np.where(some, size, 0.0), (u[:, 2] * self.users).astype(np.int64), waiting - some

    @cached_property
    def _cumulative(self) -> np.ndarray:
        """Thresholds P(N <= k): the number of them at or below a uniform number is Poisson."""
        rate = self.users * self.arrivals_per_user
        terms = [exp(-rate)]
        while sum(terms) < 1.0 - 1e-15 and len(terms) < 1000:
            terms.append(terms[-1] * rate / len(terms))
        return np.cumsum(terms)


@final
class Discrete(Config):
    """At most one task a slot, its size one of a few: for instances small enough to be solved exactly.

    Args:
        sizes_bits: possible sizes, bit; 0 stands for no task.
        probabilities: of each size; they sum to 1.
    """

    kind: Literal["discrete"] = "discrete"
    sizes_bits: tuple[NonNegativeFloat, ...]
    probabilities: tuple[PositiveFloat, ...]

    @model_validator(mode="after")
    def _distribution(self) -> Discrete:
        if len(self.sizes_bits) != len(self.probabilities) or abs(sum(self.probabilities) - 1.0) > 1e-9:
            raise ConfigError(
                f"expected one probability per size, summing to 1; got {len(self.sizes_bits)} sizes and "
                f"{len(self.probabilities)} probabilities summing to {sum(self.probabilities):.6g}"
            )
        return self

    @property
    def users(self) -> int:
        """U: one."""
        return 1

    @property
    def largest_bits(self) -> float:
        """The largest size, bit."""
        return max(self.sizes_bits)

    def arrive(
        self, streams: Streams, capacity_bits: np.ndarray, backlog: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw one slot; see `Poisson.arrive`."""
        u = streams.uniforms(1)[:, 0]
        chosen = np.searchsorted(np.cumsum(self.probabilities[:-1]), u, side="right")
        return np.array(self.sizes_bits)[chosen], np.zeros(len(u), dtype=np.int64), backlog


Workload = Annotated[Poisson | Discrete, Field(discriminator="kind")]
