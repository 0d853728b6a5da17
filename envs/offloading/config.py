"""Every constant of the offloading environment, with its unit."""

from __future__ import annotations

from typing import Annotated, final

from pydantic import Field, PositiveFloat, model_validator

from pareto.config import Config
from pareto.errors import ConfigError, did_you_mean

from .channel import Channel, Interference, Rayleigh, Wired
from .system import Fixed, Range, System
from .workload import Discrete, Poisson, Workload


@final
class OffloadingConfig(Config):
    """A mobile-edge-computing system.

    Args:
        system: E and the servers' frequencies, drawn for each episode or fixed.
        workload: arrivals and sizes of tasks.
        channel: rates between users and servers.
        slot_s: length of a slot (one decision), s.
        cycles_per_bit: eta, CPU cycles a bit of a task needs.
        capacitance: kappa, effective switched capacitance of the servers, J s^2 per cycle^3: a cycle at f costs
            kappa f^2 joule.
        histogram_bins: N, bins of the residual-size histogram in the observation; the last is open.
        histogram_bits: width of a bin, bit.

    Source: Yang, Wen, Zhang, Tang (2025), section 3 and table 2, but for the link budget (see `channel`).
    """

    system: System = Range()
    workload: Workload = Poisson()
    channel: Channel = Rayleigh()
    slot_s: PositiveFloat = 1.0
    cycles_per_bit: PositiveFloat = 1e3
    capacitance: PositiveFloat = 5e-31
    histogram_bins: Annotated[int, Field(ge=1)] = 60
    histogram_bits: PositiveFloat = 1e6

    @model_validator(mode="after")
    def _consistent(self) -> OffloadingConfig:
        slowest_s = self.workload.largest_bits / self.channel.slowest_bps
        if slowest_s >= self.slot_s:
            raise ConfigError(
                f"the largest task ({self.workload.largest_bits:g} bit) must be sent within a slot of {self.slot_s:g} s; "
                f"at the slowest rate ({self.channel.slowest_bps:g} bit/s) it takes {slowest_s:.3g} s; lower "
                "largest_bits or raise guaranteed_bps"
            )
        if isinstance(self.channel, Wired) and len(self.channel.rates_bps) != self.system.servers:
            raise ConfigError(
                f"expected one rate for each of {self.system.servers} servers; got {len(self.channel.rates_bps)}"
            )
        return self


SLOTS = 100
"""Slots of an episode."""

TINY = OffloadingConfig(
    system=Fixed(cloud_hz=4e9, edge_hz=(2e9,)),
    workload=Discrete(sizes_bits=(0.0, 3e6, 9e6), probabilities=(0.2, 0.4, 0.4)),
    channel=Wired(rates_bps=(2e8, 5e8)),
)
"""Cloud and one edge server, two sizes, load 0.8: with six slots small enough for `exact` to solve."""

TINY_SLOTS = 6
"""Slots of an episode of the tiny instance."""

SYSTEMS = {
    **{f"training-{e}": OffloadingConfig(system=Range(edges=(e, e))) for e in range(1, 11)},
    "nominal-6": OffloadingConfig(system=Fixed()),
    "wide-6": OffloadingConfig(system=Range(cloud_hz=(3e9, 5e9), edge_hz=(1.5e9, 2.5e9))),
    "interference-6": OffloadingConfig(channel=Interference()),
    "tiny": TINY,
}
"""Systems with a name. `training-E`: E edge servers, frequencies as in training; `nominal-6`: 4 GHz and six times 2 GHz
in every episode; `wide-6`: the test range of frequencies; `interference-6`: users disturb each other."""


def named(name: str) -> OffloadingConfig:
    """Look a system up.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in SYSTEMS:
        raise ConfigError(
            f"unknown system {name!r}{did_you_mean(name, SYSTEMS)}; known: {', '.join(SYSTEMS)}"
        )
    return SYSTEMS[name]
