"""The ways of extending a policy: which aim a round's policies get, and what else holds for them."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pareto.agents.aims import Aim, Weighted
from pareto.agents.barrier import Barrier, thresholds
from pareto.agents.gaps import GapSelection
from pareto.agents.lagrangian import PIDLagrangian
from pareto.agents.ppo import PPOConfig
from pareto.agents.selecting import CrowdingSelection, GainSelection, Known
from pareto.agents.trust_region import TrustRegion
from pareto.config import Config


@dataclass(frozen=True)
class Round:
    """What the P policies of one round start from and strive for; JSON-able through `to_json`.

    Args:
        starts: [P] places in the archive, or among the policies that have just learned.
        objectives: [P] which return each climbs.
        anchors: [P, m] returns of the policies they start from.
        floors: [P, m] thresholds, or None where a hard budget stands in for them.
        spans: [m] > 0.
        keys: [P] names of what was tried, for `Known.tried`.
        budgets: [P] or None: what a hard budget's objective may not fall to within an episode.
        budget_objective: place of that objective.
        weights: [P, m] of weighted sums that are climbed, or None.
        ref_point: [m] that boxes are measured from, or None.
    """

    starts: np.ndarray
    objectives: np.ndarray
    anchors: np.ndarray
    floors: np.ndarray | None
    spans: np.ndarray
    keys: np.ndarray
    budgets: np.ndarray | None = None
    budget_objective: int = 0
    weights: np.ndarray | None = None
    ref_point: np.ndarray | None = None

    def to_json(self) -> dict[str, Any]:
        """Lists."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Round:
        """Read what `to_json` wrote."""
        arrays: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else v for k, v in told.items()}
        return cls(**arrays)


class Extension(Config):
    """A way to extend policies of the archive along the front.

    Args:
        softness: factor on the last layer of the actors at the start of a round: below 1 they explore anew, above 1 they come
            nearer to their likeliest actions.

    Attributes:
        goes_on: whether it starts from the policies that have just learned, judged by their training returns; else from the
            archive's.
    """

    goes_on: ClassVar[bool] = False
    softness: float = Field(default=1.0, gt=0)

    @abstractmethod
    def plan(self, known: Known) -> Round | None:
        """The next round, or None where nothing promises anything."""

    @abstractmethod
    def aim(self, plan: Round) -> Aim:
        """What the round's policies strive for."""

    def learning(self, usual: PPOConfig) -> PPOConfig:
        """How the round's policies are improved: as usual in rounds."""
        return usual

    def iterations(self, usual: int, steps_each: int) -> int:
        """How many a round has, given the usual number and what one takes of all its policies."""
        return usual


Share = Annotated[float, Field(ge=0, le=1)]


class _Constrained(Extension):
    """Climb one return while the others stay above thresholds; see `pareto.agents.barrier.thresholds`."""

    beta: float = Field(default=0.9, ge=0, le=1)
    betas: Mapping[str, Share] = {}
    climbs: tuple[str, ...] | None = None
    select: CrowdingSelection | GainSelection | GapSelection = Field(
        default=CrowdingSelection(), discriminator="kind"
    )

    def plan(self, known: Known) -> Round | None:
        """Start from the selected policies."""
        climbs = known.objectives.names if self.climbs is None else self.climbs
        choices = self.select.choose(known, [known.objectives.index(name) for name in climbs])
        if not choices:
            return None
        starts, objectives = (np.array([getattr(c, name) for c in choices]) for name in ("place", "climb"))
        anchors = known.points[starts]
        beta = np.full(anchors.shape[1], self.beta)
        for name, own in self.betas.items():
            beta[known.objectives.index(name)] = own
        floors = thresholds(anchors, known.spans, beta)
        for floor, choice in zip(floors, choices):
            if choice.held is not None:
                floor[choice.held[0]] = choice.held[1]
        keys = np.column_stack([anchors, objectives.astype(float)])
        return Round(starts, objectives, anchors, floors, known.spans, keys)


class BarrierExtension(_Constrained):
    """C-MORL-IPO: a logarithmic barrier on the surrogate returns.

    Args:
        beta: how much of the other returns is kept. Paper: 0.9.
        betas: objective -> another beta for it.
        climbs: objectives that are climbed; None: all.
        select: which policies are extended.
        t: sharpness of the barrier. Paper: 20.
    """

    kind: Literal["barrier"] = "barrier"
    t: float = Field(default=20.0, gt=0)

    def aim(self, plan: Round) -> Aim:
        """The barrier around the round's thresholds."""
        assert plan.floors is not None
        return Barrier(plan.objectives, plan.anchors, plan.floors, plan.spans, self.t)


class LagrangianExtension(_Constrained):
    """Multipliers steered like a PID controller in place of a barrier.

    Args:
        beta: how much of the other returns is kept.
        betas: objective -> another beta for it.
        climbs: objectives that are climbed; None: all.
        select: which policies are extended.
        gains: of violation, integral and rise, per rollout.
    """

    kind: Literal["lagrangian"] = "lagrangian"
    gains: tuple[float, float, float] = (2.0, 0.2, 1.0)

    def aim(self, plan: Round) -> Aim:
        """Multipliers of zero at first."""
        assert plan.floors is not None
        return PIDLagrangian(plan.objectives, plan.floors, plan.spans, self.gains)


class TrustRegionExtension(_Constrained):
    """C-MORL-CPO: one trust-region step per rollout under linearised constraints, any number of them.

    Args:
        beta: how much of the other returns is kept.
        betas: objective -> another beta for it.
        climbs: objectives that are climbed; None: all.
        select: which policies are extended.
        delta: largest mean KL divergence of a step, nats.
    """

    kind: Literal["trust_region"] = "trust_region"
    delta: float = Field(default=0.02, gt=0)

    def aim(self, plan: Round) -> Aim:
        """Steps within the round's thresholds."""
        assert plan.floors is not None
        return TrustRegion(plan.objectives, plan.anchors, plan.floors, plan.spans, self.delta)


OPEN = -1e12
"""A budget that no episode spends."""


class BudgetExtension(Extension):
    """Hard budgets: climb one return in episodes that are over once they have spent what the next policy of the front spends.

    For every gap between neighbours on the front, ordered by the objective that is a budget, a policy is started from either
    neighbour: maximise the other return; the step that brings the spending down to that of the neighbour who spends more ends
    the episode and earns nothing. The policy that spends most is also started without a budget, twice. Expected returns cannot ask for this: coin-flip policies meet every expected budget.

    Args:
        objective: the budget (time, fuel), a return <= 0 that falls as it is spent.
        climbs: the return that is maximised.
        parallel: most gaps per round.
        softness: factor on the actors' last layer at the start.

    Source: this suite; a per-episode budget is the constraint of C-MORL's Eq. 3 on every single episode.
    """

    kind: Literal["budget"] = "budget"
    objective: str
    climbs: str
    parallel: int = Field(default=8, ge=1)
    softness: float = Field(default=0.3, gt=0)

    def plan(self, known: Known) -> Round | None:
        """Both neighbours of the gaps that were tried least, of these the widest first; beyond the last policy, it alone."""
        budget, climbs = known.objectives.index(self.objective), known.objectives.index(self.climbs)
        points = known.points
        order = np.argsort(-points[:, budget], kind="stable").tolist()
        gaps = [(order[-1], order[-1]), *itertools.pairwise(order)]

        def urgency(gap: tuple[int, int]) -> tuple[int, float]:
            a, b = points[gap[0]], points[gap[1]]
            return known.tried.get((*a, *b), 0), -np.inf if gap[0] == gap[1] else a[climbs] - b[climbs]

        chosen = sorted(gaps, key=urgency)[: self.parallel]
        starts = np.array([place for gap in chosen for place in gap])
        limits = [OPEN if a == b else points[b, budget] for a, b in chosen]
        keys = [[*points[a], *points[b]] for a, b in chosen]
        return Round(
            starts,
            np.full(len(starts), climbs),
            points[starts],
            None,
            known.spans,
            np.repeat(keys, 2, axis=0),
            np.repeat(limits, 2),
            budget,
        )

    def aim(self, plan: Round) -> Aim:
        """The one return."""
        return Weighted(np.eye(plan.anchors.shape[1])[plan.objectives])
