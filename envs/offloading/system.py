"""The context: how many edge servers there are and how fast each server is, drawn for each episode or fixed."""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from pareto.config import Config
from pareto.errors import ConfigError

from ..streams import Streams

Hertz = Annotated[FiniteFloat, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _fits(edges: int, max_edges: int | None) -> None:
    if max_edges is not None and edges > max_edges:
        raise ConfigError(
            f"expected at most max_edges = {max_edges} edge servers, the width observations are padded to; "
            f"got {edges}; raise max_edges"
        )


@final
class Range(Config):
    """A context drawn anew for each episode, uniformly: domain randomisation.

    Args:
        edges: fewest and most edge servers E, both included.
        cloud_hz: slowest and fastest cloud f_0, Hz.
        edge_hz: slowest and fastest edge server f_e, Hz; each edge server draws its own.
        max_edges: servers the observation has room for beside the cloud; None: as many as `edges` allows.

    Source: Yang, Wen, Zhang, Tang (2025), Algorithm 1: training f_0 in [3.5, 4.5] GHz, f_e in [1.75, 2.25] GHz,
    E in 1..8; test f_0 in [3, 5] GHz, f_e in [1.5, 2.5] GHz, E in 1..10.
    """

    kind: Literal["range"] = "range"
    edges: tuple[Count, Count] = (6, 6)
    cloud_hz: tuple[Hertz, Hertz] = (3.5e9, 4.5e9)
    edge_hz: tuple[Hertz, Hertz] = (1.75e9, 2.25e9)
    max_edges: Count | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        for name in ("edges", "cloud_hz", "edge_hz"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(f"{name} must be given as (low, high); got ({low}, {high})")
        _fits(self.edges[1], self.max_edges)
        return self

    @property
    def servers(self) -> int:
        """S: the cloud and the edge servers there is room for."""
        return 1 + (self.max_edges or self.edges[1])

    @property
    def fastest_hz(self) -> float:
        """The highest frequency a server can have."""
        return max(self.cloud_hz[1], self.edge_hz[1])

    @property
    def slowest_hz(self) -> float:
        """The lowest frequency a server can have."""
        return min(self.cloud_hz[0], self.edge_hz[0])

    def draw(self, streams: Streams) -> np.ndarray:
        """Draw frequencies [n, S] in Hz, the cloud first, 0 where there is no server."""
        u = streams.uniforms(1 + self.servers)
        fewest, most = self.edges
        edges = fewest + np.floor(u[:, :1] * (most - fewest + 1))
        low = np.array([self.cloud_hz[0], *[self.edge_hz[0]] * (self.servers - 1)])
        high = np.array([self.cloud_hz[1], *[self.edge_hz[1]] * (self.servers - 1)])
        return np.where(np.arange(self.servers) <= edges, low + (high - low) * u[:, 1:], 0.0)


@final
class Fixed(Config):
    """One context, the same in every episode.

    Args:
        cloud_hz: f_0, Hz.
        edge_hz: f_e of each edge server, Hz; at least one.
        max_edges: servers the observation has room for beside the cloud; None: as many as there are.
    """

    kind: Literal["fixed"] = "fixed"
    cloud_hz: Hertz = 4e9
    edge_hz: tuple[Hertz, ...] = (2e9,) * 6
    max_edges: Count | None = None

    @model_validator(mode="after")
    def _room(self) -> Fixed:
        if not self.edge_hz:
            raise ConfigError("expected at least one edge server in edge_hz; got none")
        _fits(len(self.edge_hz), self.max_edges)
        return self

    @property
    def edges(self) -> tuple[int, int]:
        """Fewest and most edge servers."""
        return len(self.edge_hz), len(self.edge_hz)

    @property
    def servers(self) -> int:
        """S: the cloud and the edge servers there is room for."""
        return 1 + (self.max_edges or len(self.edge_hz))

    @property
    def fastest_hz(self) -> float:
        """The highest frequency of a server."""
        return max(self.cloud_hz, *self.edge_hz)

    @property
    def slowest_hz(self) -> float:
        """The lowest frequency of a server."""
        return min(self.cloud_hz, *self.edge_hz)

    def draw(self, streams: Streams) -> np.ndarray:
        """Repeat the frequencies [n, S] in Hz, the cloud first, 0 where there is no server."""
        row = np.zeros(self.servers)
        row[: 1 + len(self.edge_hz)] = self.cloud_hz, *self.edge_hz
        return np.tile(row, (len(streams), 1))


System = Annotated[Range | Fixed, Field(discriminator="kind")]
