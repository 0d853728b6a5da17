"""The offloading system as a dynamics of n copies: decide one task, let a slot pass, let the next tasks come.

Inside a slot of the chosen server: it serves its tasks while the new one is being sent (T_off), the task joins with its
full size, and all share the rest of the slot. The delay charged for a decision is

    T_off + (eta/f) (L + 2 sum_j min(L, L_j)),        L_j residuals when the task joins,

which is the new task's delay plus what it adds to the delays of those present. Tasks decided later charge their own
additions, so that the charges of an episode sum to the delays of all decided tasks, each from its decision to its
completion (after the last slot the servers run until they are empty). Time in the queue before the decision is left
out: no action changes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, final

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from pareto.config import from_mapping, validate
from pareto.errors import ConfigError
from pareto.objectives import Objective, Objectives

from ..dynamics import Dynamics
from ..streams import Streams
from . import encoding
from .config import OffloadingConfig, named
from .frozen import SCALES, ref_points
from .physics import drained, energy_j, insert, serve, shared_bits


class State(NamedTuple):
    """What determines the future, copy first. Arrays of servers lie in memory with the copies side by side.

    Args:
        residual: [n, S, Q] bits, descending, zeros after the last task; Q grows and shrinks with the longest queue.
        frequency: [n, S] Hz, the cloud first, 0 where there is no server.
        gain: [n, S, U] what the channel keeps during an episode.
        size: [n] bits of the task to be decided, 0 if none.
        rate: [n, S] bit/s between its user and the servers.
        backlog: [n] tasks behind it in the queue.
        elapsed: [n] slots since the episode began.
        cost: [n, S, 2] delay in s and energy in J that each choice would be charged.
    """

    residual: np.ndarray
    frequency: np.ndarray
    gain: np.ndarray
    size: np.ndarray
    rate: np.ndarray
    backlog: np.ndarray
    elapsed: np.ndarray
    cost: np.ndarray


@final
class OffloadingDynamics(Dynamics[State]):
    """See `Offloading`.

    Args:
        config: the system, or the name of one in `SYSTEMS`; None: built from the other keyword arguments.
        settings: fields of `OffloadingConfig` as plain values (numbers, lists, mappings).

    Raises:
        ConfigError: an unknown field or a value that makes no sense (no edge server, a frequency that is not positive,
            more servers than `max_edges`, ...).
    """

    def __init__(self, config: OffloadingConfig | str | None = None, **settings: Any) -> None:
        if config is not None and settings:
            raise ConfigError(
                f"expected a config or settings, not both; got a config and {', '.join(map(repr, settings))}"
            )
        if isinstance(config, str):
            config = named(config)
        if config is None:
            config = validate(OffloadingConfig, from_mapping(settings, "pareto/Offloading-v0"))
        self.config = config
        self.servers = config.system.servers
        self.objectives = Objectives(
            [Objective("delay", unit="-s", scale=SCALES[0]), Objective("energy", unit="-J", scale=SCALES[1])]
        )
        self.observation_space = encoding.space(self.servers, config.histogram_bins)
        self.action_space = spaces.Discrete(self.servers)
        self.reward_space = spaces.Box(-np.inf, 0.0, (2,), np.float64)
        self.ref_point = ref_points(config)["rule"]
        self.gamma = 1.0

    def start(self, streams: Streams) -> State:
        """Draw contexts and channels; servers are empty, the first slot's tasks have come."""
        system, channel, n = self.config.system, self.config.channel, len(streams)
        frequency = _side_by_side(system.draw(streams))
        gain = channel.gains(streams, self.servers, self.config.workload.users)
        residual = np.zeros((1, self.servers, n)).T
        backlog, elapsed = np.zeros((2, n), dtype=np.int64)
        return self._arrive(residual, frequency, gain, backlog, elapsed, streams)

    def step(
        self, state: State, actions: np.ndarray, streams: Streams
    ) -> tuple[State, np.ndarray, np.ndarray]:
        """Place each copy's task on server `actions` [n] and let one slot pass.

        Raises:
            gymnasium.error.InvalidAction: a server that is not there.
        """
        copies = np.arange(len(actions))
        there = state.frequency[copies, actions] > 0
        if not there.all():
            i = int(np.flatnonzero(~there)[0])
            raise gym.error.InvalidAction(
                f"expected a server that is there; copy {i} has edge servers 1..{(state.frequency[i] > 0).sum() - 1} "
                f"and the action is {actions[i]}; mask actions with envs.offloading.present(observations)"
            )
        residual = self.advance(state, actions)
        after = self._arrive(residual, state.frequency, state.gain, state.backlog, state.elapsed + 1, streams)
        return after, -state.cost[copies, actions], np.zeros(len(actions), dtype=bool)

    def observe(self, state: State) -> np.ndarray:
        """Observations [n, S, F]; see `encoding`."""
        return encoding.encode(
            residual=_levels(state.residual),
            frequency_hz=state.frequency.T,
            size_bits=state.size,
            rate_bps=state.rate.T,
            backlog=state.backlog,
            elapsed_slots=state.elapsed,
            cost=state.cost.T,
            bins=self.config.histogram_bins,
            bin_bits=self.config.histogram_bits,
        )

    def advance(self, state: State, actions: np.ndarray) -> np.ndarray:
        """Let one slot pass: residuals [n, S, Q] at its end."""
        slot_s, before = self.config.slot_s, _levels(state.residual)
        places, servers, n = before.shape
        here = actions * n + np.arange(n)
        bits_per_s = state.frequency.T.reshape(-1)[here] / self.config.cycles_per_bit
        sending_s = state.size / state.rate.T.reshape(-1)[here]
        joined = insert(serve(before.reshape(places, -1)[:, here], bits_per_s * sending_s), state.size)
        after = np.empty((places + 1, servers, n))
        serve(before, state.frequency.T * (slot_s / self.config.cycles_per_bit), out=after[:-1])
        after[-1] = 0.0
        after.reshape(places + 1, -1)[:, here] = serve(joined, bits_per_s * (slot_s - sending_s))
        return _trimmed(after).T

    def price(
        self, residual: np.ndarray, frequency: np.ndarray, size: np.ndarray, rate: np.ndarray
    ) -> np.ndarray:
        """Compute delay in s and energy in J of each choice: [n, S, 2]. Meaningless where there is no server."""
        config, frequency = self.config, frequency.T
        sending_s = size / rate.T
        levels = _levels(residual)
        served = drained(levels, frequency / config.cycles_per_bit * sending_s)
        bits = shared_bits(levels, served, size)
        delay_s = sending_s + bits * config.cycles_per_bit / np.where(frequency > 0, frequency, np.inf)
        energy = energy_j(
            size,
            sending_s,
            frequency,
            transmit_w=config.channel.transmit_w,
            cycles_per_bit=config.cycles_per_bit,
            capacitance=config.capacitance,
        )
        return np.stack([delay_s, energy]).T

    def _arrive(
        self,
        residual: np.ndarray,
        frequency: np.ndarray,
        gain: np.ndarray,
        backlog: np.ndarray,
        elapsed: np.ndarray,
        streams: Streams,
    ) -> State:
        workload, channel = self.config.workload, self.config.channel
        capacity_bits = frequency.sum(axis=1) * (self.config.slot_s / self.config.cycles_per_bit)
        size, user, backlog = workload.arrive(streams, capacity_bits, backlog)
        rate = _side_by_side(channel.rates(streams, gain, user))
        cost = self.price(residual, frequency, size, rate)
        return State(residual, frequency, gain, size, rate, backlog, elapsed, cost)


def _side_by_side(array: np.ndarray) -> np.ndarray:
    """The same [n, S] array, laid out in memory with the copies of a server side by side."""
    return np.asfortranarray(array)


def _levels(residual: np.ndarray) -> np.ndarray:
    """[Q, S, n] from [n, S, Q]: queue places first, copies side by side."""
    return np.ascontiguousarray(residual.T)


def _trimmed(levels: np.ndarray) -> np.ndarray:
    """Levels [Q', S, n] without the last ones that no server uses; the first stays."""
    used = len(levels)
    while used > 1 and not levels[used - 1].any():
        used -= 1
    return levels[:used]
