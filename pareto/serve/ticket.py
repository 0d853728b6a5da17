"""One reply that was asked for: what decoding needs of it, and where its tokens go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from pareto import rng
from pareto.data.texts import Text
from pareto.models.generate import Sampling, row_draws
from pareto.models.streaming import GrowingText
from pareto.serve.lanes import AnyLane, WholeLane
from pareto.serve.stops import StopStrings


class Told(NamedTuple):
    """What one token adds to a reply.

    Args:
        text: new text; may be "" and may hold the text of earlier tokens.
        token: its id.
        logp: its log-probability under the policy, nats, before temperature and filters.
        top: (id, log-probability) of the likeliest tokens, where they were asked for.
        end: None while the reply goes on, else "stop" or "length".
    """

    text: str
    token: int
    logp: float
    top: tuple[tuple[int, float], ...]
    end: str | None


@dataclass(eq=False)
class Ticket:
    """A request for one reply.

    Args:
        lane: who answers.
        ids: [T] prompt tokens.
        coefficients: [K] of the lane's mixture, or None.
        sampling: temperature, top_p, and the longest reply that fits.
        seed: of the draws.
        copy: which of several replies to the same request.
        stops: stop strings.
        n_top: how many of the likeliest tokens are told beside each.
        prompt, weights: as they were asked, for policies that write whole replies by their own ways.
        deliver: takes every `Told`, or the exception that ended the reply; called from the scheduler's thread.
        left: set by whoever asked when the reply is not wanted any more.
    """

    lane: AnyLane
    ids: list[int]
    coefficients: np.ndarray | None
    sampling: Sampling
    seed: int
    copy: int
    stops: tuple[str, ...]
    n_top: int
    deliver: Callable[[Told | Exception], Any]
    prompt: Text = ""
    weights: np.ndarray | None = None
    left: bool = False
    _step: int = 0
    _draws: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self._text, self._stops = GrowingText(self.lane.tokenizer), StopStrings(self.stops)

    def draw(self) -> float:
        """The number that decides the next token."""
        if not len(self._draws):
            self._draws = row_draws(self.ids, self.sampling.max_new_tokens, self.seed, self.copy)
        return float(self._draws[self._step])

    def write(self) -> None:
        """Let the lane's policy write the whole reply, and tell it."""
        assert isinstance(self.lane, WholeLane)
        seed = self.seed if not self.copy else rng.derive_seed("copy", self.seed, self.copy) % 2**31
        text = self.lane.write(self.prompt, self.weights, self.sampling, seed)
        n = len(self.lane.tokenizer(text, add_special_tokens=False)["input_ids"])
        told = self._stops.add(text, last=True)
        full = n >= self.sampling.max_new_tokens and not self._stops.hit
        self.deliver(Told(told, -1, 0.0, (), "length" if full else "stop"))

    def take(self, token: int, logp: float, top: tuple[tuple[int, float], ...]) -> bool:
        """Count a token in and tell it; whether the reply is over."""
        self._step += 1
        stop = token in self.lane.ends
        full = self._step >= self.sampling.max_new_tokens
        text = self._stops.add(self._text.add(token, last=stop or full), last=stop or full)
        end = "stop" if stop or self._stops.hit else "length" if full else None
        self.deliver(Told(text, token, logp, top, end))
        return end is not None
