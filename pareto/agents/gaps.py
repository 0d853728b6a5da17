"""Extensions that aim into the gaps of a front, at thresholds between two neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from pareto.agents.selecting import Choice, Known, Selection
from pareto.front import non_dominated


class _Gap(NamedTuple):
    """What lies between the shares `low` and `high` of the way from policy p to its neighbour q on the front.

    Args:
        p: place of the policy with more of the first objective.
        q: place of the policy with more of the second.
        low: share of the way, 0 at p.
        high: share of the way, 1 at q.
        promise: hypervolume that a policy halfway is hoped to add, in the plane of the two objectives.
    """

    p: int
    q: int
    low: float
    high: float
    promise: float

    @property
    def middle(self) -> float:
        """Share of the way halfway."""
        return (self.low + self.high) / 2

    def halves(self) -> tuple[_Gap, _Gap]:
        """What is left on either side once there is a policy halfway; each promises a quarter."""
        return (
            self._replace(high=self.middle, promise=self.promise / 4),
            self._replace(low=self.middle, promise=self.promise / 4),
        )


class GapSelection(Selection):
    """The points on the front between two objectives that promise most, each approached from both neighbours of its gap.

    Between neighbours p and q a front that is straight has a point at every share s of the way from p to q. To get there, p is
    extended in the second objective while the first stays above its value at s, and q in the first while the second does; so
    both start inside their constraint. A policy halfway adds a quarter of the gap's rectangle to the hypervolume. The largest
    promise is taken first and leaves two gaps of half the width, each of which promises a quarter of it. The policies at either
    end of the front promise what extensions of their objective have gained so far, along the whole height of the front, and
    hold nothing but the extension's own thresholds. What was tried n times promises 1 / (1 + n) of that.

    Args:
        between: the two objectives.
        n: points aimed at per round; each takes two policies, an end one.

    Source: this suite. Eq. 3 of C-MORL with thresholds from the archive in place of a share of the policy's own returns.
    """

    kind: Literal["gaps"] = "gaps"
    between: tuple[str, str]
    n: int = Field(default=6, ge=1)

    def choose(self, known: Known, climbs: Sequence[int]) -> list[Choice]:
        """The best promise first."""
        first, second = (known.objectives.index(name) for name in self.between)
        plane = known.points[:, [first, second]]
        front = np.flatnonzero(non_dominated(plane))
        front = front[np.argsort(-plane[front, 0], kind="stable")]
        gaps = [self._gap(known, p, q, first, second) for p, q in itertools.pairwise(front)]
        ends = {
            Choice(int(front[0]), first): (first, second),
            Choice(int(front[-1]), second): (second, first),
        }
        beyond = {
            end: known.gained[climb]
            * known.spans[climb]
            * (known.points[end.place, across] - known.ref_point[across])
            / (1 + self._tried(known, end))
            for end, (climb, across) in ends.items()
        }
        chosen: list[Choice] = []
        for _ in range(self.n):
            end = max(beyond, key=lambda e: beyond[e], default=None)
            gap = max(gaps, key=lambda g: g.promise, default=None)
            if end is not None and (gap is None or beyond[end] >= gap.promise):
                chosen.append(end)
                del beyond[end]
            elif gap is not None:
                gaps.remove(gap)
                gaps.extend(gap.halves())
                at = plane[gap.p] + gap.middle * (plane[gap.q] - plane[gap.p])
                chosen.append(Choice(gap.p, second, (first, float(at[0]))))
                chosen.append(Choice(gap.q, first, (second, float(at[1]))))
        return [c for c in chosen if c.climb in climbs]

    def _gap(self, known: Known, p: int, q: int, first: int, second: int) -> _Gap:
        width = np.abs(known.points[p] - known.points[q])
        tried = self._tried(known, Choice(p, second)) + self._tried(known, Choice(q, first))
        return _Gap(int(p), int(q), 0.0, 1.0, width[first] * width[second] / 4 / (1 + tried / 2))

    @staticmethod
    def _tried(known: Known, choice: Choice) -> int:
        return known.tried.get((*known.points[choice.place], float(choice.climb)), 0)
