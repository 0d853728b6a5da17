"""Weights chosen by what was measured: what such a kind is told, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pareto import simplex
from pareto.errors import ConfigError
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig

POOL_SIZE = 500
"""Lattice weights to choose from, at most, where a config does not say: fine enough for the m <= 4 objectives it is for."""


@dataclass(frozen=True)
class Known:
    """What finished policies have shown on the selection split, larger is better.

    Args:
        weights: [n, m] on the simplex, one row per weight vector; several seeds of it are one row.
        values: [n, m] mean over units and seeds.
        variances: [n, m] squared standard errors of `values`, from the units and, with several seeds, from the seeds.
        offsets: [n] what a policy's training maximised beside weights . values: -beta KL where that is known, else 0.
        ref_point: [m].
        tried: [k, m] every weight vector that was run, those without finite values included.
        round: how many rounds came before; with `seed` of the config it names the random numbers to draw.
    """

    weights: np.ndarray
    values: np.ndarray
    variances: np.ndarray
    offsets: np.ndarray
    ref_point: np.ndarray
    tried: np.ndarray
    round: int


@dataclass(frozen=True)
class Proposal:
    """The next weights.

    Args:
        weights: [k, m] on the simplex; none when nothing is worth a run.
        facts: JSON-able, why: kept in the run and shown in reports.
    """

    weights: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)


class Search(ABC):
    """A kind of weights that looks at results. The corners are run first: they fix the reference point.

    A proposal is a pure function of its arguments, so that a sweep that was killed goes on as if it had not been.
    """

    @abstractmethod
    def check(self, objectives: Objectives, config: WeightsConfig) -> None:
        """Refuse a config that cannot work, before anything is run.

        Raises:
            ConfigError: it cannot.
        """

    @abstractmethod
    def propose(self, known: Known, config: WeightsConfig, k: int) -> Proposal:
        """Choose the next weights.

        Args:
            known: what is measured; the corners at least.
            config: settings of the kind.
            k: how many to choose at once, because so many run at the same time.
        """


def need_size(objectives: Objectives, config: WeightsConfig) -> None:
    """Make sure that a search knows how many weights it has in all, and that the corners are among them.

    Raises:
        ConfigError: `n` is missing or leaves nothing to choose, or corners are left out.
    """
    m = len(objectives)
    if not config.corners:
        raise ConfigError(
            f"weights.kind {config.kind} runs the corners first, because they fix the reference point; remove corners: false"
        )
    if config.n is None or config.n <= m:
        raise ConfigError(
            f"weights.kind {config.kind} needs weights.n, the number of weights in all, larger than the {m} corners it "
            f"includes; got {config.n}"
        )


def pool(m: int, config: WeightsConfig) -> np.ndarray:
    """[p, m] the lattice cell centres to choose from: fixed, so that the same weights come back as the same cells.

    Args:
        m: objectives.
        config: `pool` lattice divisions; None takes the largest lattice of at most `POOL_SIZE` weights.
    """
    divisions = config.pool if config.pool is not None else simplex.divisions_for(m, POOL_SIZE)
    return simplex.cell_centres(m, divisions)


def untried(candidates: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """[q, m] the candidates that no row of `tried` equals."""
    if not len(tried):
        return candidates
    far = np.abs(candidates[:, None] - tried[None]).max(axis=-1).min(axis=1) > 1e-9
    return candidates[far]
