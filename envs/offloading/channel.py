"""The radio channel: at which rate each user reaches each server.

The link budget is the textbook one, all in watts at the receiver:

    SNR = p G_a 10^(-(PL(d) + X)/10) |h|^2 / (N_0 F W),        C = max(C_min, W log2(1 + SNR))

p transmit power, G_a gain of the receiving antenna array, PL path loss, X ~ N(0, shadowing^2) dB log-normal shadowing,
|h|^2 ~ Exp(1) Rayleigh fading, N_0 thermal noise density, F the receiver's noise figure, W bandwidth. Distances and
shadowing are drawn for each episode, fading for each slot (block fading).

Transmission always ends within the slot: C_min is a guaranteed bit rate (as of a guaranteed flow in a 5G network: a
user in a deep fade is moved to reserved spectrum), and a configuration whose largest task would take a slot or longer
at C_min is refused. With the published constants instead (16.6 MHz, 10 mW, NLOS loss 133.6 + 35 log10(d/1 km) dB and
no array) the same formula gives a few kbit/s to the cloud and transmissions of many minutes, which is why the constants
here are those of a 100 MHz carrier at 3.5 GHz, 23 dBm terminals and line of sight.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat, model_validator

from pareto.config import Config
from pareto.errors import ConfigError

from ..streams import Streams
from .physics import decibels, path_loss_db, shannon_rate

Metres = Annotated[FiniteFloat, Field(ge=10)]


@final
class LinkBudget(Config):
    """Constants of the link budget.

    Args:
        bandwidth_hz: W, Hz.
        carrier_hz: f_c, Hz.
        transmit_w: p, W (23 dBm).
        antenna_gain_db: G_a, dB, of the receiving array.
        noise_dbm_per_hz: N_0, dBm/Hz, at 290 K.
        noise_figure_db: F, dB.
        shadowing_db: standard deviation of the shadowing X, dB.
        cloud_m: nearest and farthest distance of a user to the cloud's receiver, m.
        edge_m: nearest and farthest distance of a user to an edge server, m.
        guaranteed_bps: C_min, bit/s.

    Source: distances, Rayleigh fading and N_0 after Yang, Wen, Zhang, Tang (2025); path loss and shadowing 3GPP TR
    38.901 UMa LOS; power 3GPP TS 38.101 power class 3.
    """

    bandwidth_hz: PositiveFloat = 100e6
    carrier_hz: PositiveFloat = 3.5e9
    transmit_w: PositiveFloat = 0.2
    antenna_gain_db: FiniteFloat = 25.0
    noise_dbm_per_hz: FiniteFloat = -174.0
    noise_figure_db: NonNegativeFloat = 5.0
    shadowing_db: NonNegativeFloat = 4.0
    cloud_m: tuple[Metres, Metres] = (1000.0, 2000.0)
    edge_m: tuple[Metres, Metres] = (50.0, 500.0)
    guaranteed_bps: PositiveFloat = 150e6

    @model_validator(mode="after")
    def _ordered(self) -> LinkBudget:
        for name in ("cloud_m", "edge_m"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(f"{name} must be given as (nearest, farthest); got ({low}, {high})")
        return self

    @property
    def noise_w(self) -> float:
        """N_0 F W, watts."""
        per_hz_w = float(decibels(self.noise_dbm_per_hz + self.noise_figure_db)) * 1e-3
        return per_hz_w * self.bandwidth_hz

    def mean_snr(self, streams: Streams, servers: int, users: int) -> np.ndarray:
        """Draw distances and shadowing; the SNR [n, S, U] at |h|^2 = 1, the cloud first."""
        shape = (len(streams), servers, users)
        low = np.array([self.cloud_m[0], *[self.edge_m[0]] * (servers - 1)])[:, None]
        high = np.array([self.cloud_m[1], *[self.edge_m[1]] * (servers - 1)])[:, None]
        distance_m = low + (high - low) * streams.uniforms(servers * users).reshape(shape)
        shadow_db = self.shadowing_db * streams.normals(servers * users).reshape(shape)
        gain_db = self.antenna_gain_db - path_loss_db(distance_m, self.carrier_hz) - shadow_db
        return self.transmit_w * decibels(gain_db) / self.noise_w

    def rate(self, sinr: np.ndarray) -> np.ndarray:
        """Compute max(C_min, W log2(1 + SINR)), bit/s."""
        return np.maximum(self.guaranteed_bps, shannon_rate(self.bandwidth_hz, sinr))


@final
class Rayleigh(Config):
    """Users transmit one at a time: noise, no interference.

    Args:
        link: constants of the link budget.
    """

    kind: Literal["rayleigh"] = "rayleigh"
    link: LinkBudget = LinkBudget()

    @property
    def transmit_w(self) -> float:
        """Power of a user's radio, W."""
        return self.link.transmit_w

    @property
    def slowest_bps(self) -> float:
        """A rate that no link falls below, bit/s."""
        return self.link.guaranteed_bps

    def gains(self, streams: Streams, servers: int, users: int) -> np.ndarray:
        """Draw what stays during an episode: [n, S, U]."""
        return self.link.mean_snr(streams, servers, users)

    def rates(self, streams: Streams, gains: np.ndarray, user: np.ndarray) -> np.ndarray:
        """Draw the slot's fading; the rates [n, S] in bit/s at which each copy's `user` [n] reaches the servers."""
        fading = -np.log1p(-streams.uniforms(gains.shape[1]))
        return self.link.rate(gains[np.arange(len(user)), :, user] * fading)


@final
class Interference(Config):
    """All other users transmit at the same time; the receiving array suppresses most of it.

    SINR_ue = g_ue / (1 + 10^(-rejection/10) sum over u' != u of g_u'e), all g relative to the noise.

    Args:
        link: constants of the link budget.
        rejection_db: how far the array pushes another user's signal down, dB; 0 is the paper's interference term.

    Source: Yang, Wen, Zhang, Tang (2025), the variant with I_ue = sum_u' p |h_u'e|^2.
    """

    kind: Literal["interference"] = "interference"
    link: LinkBudget = LinkBudget()
    rejection_db: NonNegativeFloat = 30.0

    @property
    def transmit_w(self) -> float:
        """Power of a user's radio, W."""
        return self.link.transmit_w

    @property
    def slowest_bps(self) -> float:
        """A rate that no link falls below, bit/s."""
        return self.link.guaranteed_bps

    def gains(self, streams: Streams, servers: int, users: int) -> np.ndarray:
        """Draw what stays during an episode: [n, S, U]."""
        return self.link.mean_snr(streams, servers, users)

    def rates(self, streams: Streams, gains: np.ndarray, user: np.ndarray) -> np.ndarray:
        """Draw the slot's fading of all users; the rates [n, S] in bit/s at which `user` [n] reaches the servers."""
        n, servers, users = gains.shape
        received = gains * -np.log1p(-streams.uniforms(servers * users)).reshape(n, servers, users)
        others = (received * (np.arange(users) != user[:, None])[:, None, :]).sum(axis=2)
        own = received[np.arange(n), :, user]
        return self.link.rate(own / (1.0 + decibels(-self.rejection_db) * others))


@final
class Wired(Config):
    """Every server is reached at a fixed rate: for instances small enough to be solved exactly.

    Args:
        rates_bps: one rate per server, the cloud first, bit/s.
        transmit_w: power while sending, W.
    """

    kind: Literal["wired"] = "wired"
    rates_bps: tuple[PositiveFloat, ...]
    transmit_w: PositiveFloat = 0.2

    @property
    def slowest_bps(self) -> float:
        """A rate that no link falls below, bit/s."""
        return min(self.rates_bps)

    def gains(self, streams: Streams, servers: int, users: int) -> np.ndarray:
        """Nothing to draw: rates [n, S, 1] in place of gains."""
        return np.tile(np.array(self.rates_bps)[:, None], (len(streams), 1, 1))

    def rates(self, streams: Streams, gains: np.ndarray, user: np.ndarray) -> np.ndarray:
        """Repeat the rates [n, S] in bit/s."""
        return gains[:, :, 0].copy()


Channel = Annotated[Rayleigh | Interference | Wired, Field(discriminator="kind")]
