"""Which policies of an archive are extended next, and in which direction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from pareto.agents.archive import crowding
from pareto.config import Config
from pareto.front import engines
from pareto.objectives import Objectives


class Lesson(NamedTuple):
    """How an extension that is over went.

    Args:
        start: [m] returns of the policy it started from.
        climb: the objective it climbed.
        moved: how far that return moved, in spans.
    """

    start: tuple[float, ...]
    climb: int
    moved: float


@dataclass(frozen=True)
class Known:
    """What a selection rests on.

    Args:
        objectives: the m objectives.
        points: [K, m] returns of the archive's policies, larger is better.
        spans: [m] > 0, range of each objective.
        ref_point: [m] reference point.
        gained: [m] how far an extension of each objective has moved its return so far, in spans.
        tried: how often (*point, objective) was extended before, or a gap (*point, *point) tried.
        lessons: of all extensions so far.
        weights: [M, m] of the first stage.
    """

    objectives: Objectives
    points: np.ndarray
    spans: np.ndarray
    ref_point: np.ndarray
    gained: np.ndarray
    tried: Mapping[tuple[float, ...], int]
    lessons: tuple[Lesson, ...] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


class Choice(NamedTuple):
    """One extension.

    Args:
        place: of the policy in the archive.
        climb: the objective whose return is to rise.
        held: (objective, return that it must still reach) where this is not for the extension's own thresholds to say.
    """

    place: int
    climb: int
    held: tuple[int, float] | None = None


class Selection(Config):
    """A way to choose which policies are extended in which objectives."""

    @abstractmethod
    def choose(self, known: Known, climbs: Sequence[int]) -> list[Choice]:
        """Extensions, in the order in which they were chosen."""


class CrowdingSelection(Selection):
    """The n policies of largest crowding distance, each extended in every objective that is climbed; those done before are passed over.

    Args:
        n: policies per round.

    Source: C-MORL, policy selection; n 6 in its scripts for three objectives and more, 5 for two.
    """

    kind: Literal["crowding"] = "crowding"
    n: int = Field(default=6, ge=1)

    def choose(self, known: Known, climbs: Sequence[int]) -> list[Choice]:
        """The most isolated first."""
        order = np.argsort(-crowding(known.points), kind="stable")
        fresh = [int(i) for i in order if (*known.points[i], float(climbs[0])) not in known.tried]
        chosen = (fresh or [int(i) for i in order])[: self.n]
        return [Choice(i, j) for i in chosen for j in climbs]


class GainSelection(Selection):
    """The n extensions that promise the largest hypervolume, one after the other as if the earlier ones had succeeded.

    Extending policy i in objective l is expected to move G_l up by what such extensions have gained so far, and every other
    return down by half of what its threshold allows. The promise is the hypervolume that this point adds to the archive.

    Args:
        n: extensions per round.
        give: share of a span that the other returns are expected to lose.
        reach: how near, in spans, a policy must have started for its extension to tell what this one will gain; None: all count
            alike. Where some policies cannot be improved at all, they are not tried again and again.

    Source: this suite; greedy hypervolume improvement as in Emmerich et al. (2006).
    """

    kind: Literal["gain"] = "gain"
    n: int = Field(default=18, ge=1)
    give: float = Field(default=0.05, ge=0)
    reach: float | None = Field(default=None, gt=0, exclude_if=lambda value: value is None)

    def choose(self, known: Known, climbs: Sequence[int]) -> list[Choice]:
        """Greedily, the best promise first."""
        k, m = known.points.shape
        hoped = np.repeat(known.points[:, None], m, axis=1) - self.give * known.spans
        gains = np.broadcast_to(known.gained, (k, m)) if self.reach is None else expected(known, self.reach)
        for j in range(m):
            hoped[:, j, j] = known.points[:, j] + gains[:, j] * known.spans[j]
        for place, point in enumerate(known.points):
            for j in range(m):
                if j not in climbs or (*point, float(j)) in known.tried:
                    hoped[place, j] = known.ref_point  # nothing more is hoped of it
        targets = np.maximum(hoped.reshape(k * m, m), known.ref_point)
        held, chosen = known.points, []
        for _ in range(min(self.n, k * m)):
            base = volume(held, known.ref_point)
            promise = [volume(np.vstack([held, target]), known.ref_point) - base for target in targets]
            best = int(np.argmax(promise))
            if promise[best] <= 0:
                break
            chosen.append(Choice(best // m, best % m))
            held = np.vstack([held, targets[best]])
        return chosen


def expected(known: Known, reach: float) -> np.ndarray:
    """[K, m] how far an extension of each policy in each objective should come, in spans.

    What extensions of that objective moved, each weighted with exp(-d^2 / (2 reach^2)) for one that started d spans away, and the
    objective's common gain with a weight of 1.

    Source: Nadaraya (1964), Watson (1964), with a prior.
    """
    total = np.ones_like(known.points)
    moved = np.tile(np.asarray(known.gained, dtype=float), (len(known.points), 1))
    for lesson in known.lessons:
        distance = np.linalg.norm((known.points - lesson.start) / known.spans, axis=1)
        near = np.exp(-0.5 * (distance / reach) ** 2)
        total[:, lesson.climb] += near
        moved[:, lesson.climb] += near * lesson.moved
    return np.maximum(moved / total, 0.0)


def promising(lows: np.ndarray, held: np.ndarray, ref_point: np.ndarray, most: int) -> np.ndarray:
    """[<= most] places of candidates, in the order in which each adds most hypervolume to what is held and those before it.

    Args:
        lows: [c, m] what each of c >= 1 candidates surely reaches, larger is better.
        held: [K, m] what is there already.
        ref_point: [m]; where it is not finite, a tenth of the range below the candidates.
        most: >= 0.
    """
    if not np.isfinite(ref_point).all():
        ref_point = lows.min(axis=0) - 0.1 * (np.ptp(lows, axis=0) + 1e-9)
    chosen: list[int] = []
    left = set(range(len(lows)))
    base = volume(held, ref_point)
    while left and len(chosen) < most:
        gain = {i: volume(np.vstack([held, lows[i]]), ref_point) - base for i in sorted(left)}
        best = max(gain, key=lambda i: gain[i])
        if gain[best] <= 0:
            break
        chosen.append(best)
        left.discard(best)
        held = np.vstack([held, lows[best]])
        base += gain[best]
    return np.array(chosen, dtype=np.int64)


def volume(points: np.ndarray, ref_point: np.ndarray) -> float:
    """Hypervolume of points [n, m]; those not better than the reference point add nothing."""
    inside = points[(points > ref_point).all(axis=1)]
    return float(engines.volume(inside, ref_point)) if len(inside) else 0.0
