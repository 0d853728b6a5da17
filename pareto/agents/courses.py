"""Stretches of learning between the first stage and the rounds: the best policies go on, with a longer breath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import numpy as np
from pydantic import Field

from pareto.agents.aims import Aim, Weighted
from pareto.agents.box import Box
from pareto.agents.extensions import Extension, Round
from pareto.agents.ppo import PPOConfig
from pareto.agents.selecting import Known


@final
class Course(Extension):
    """For each of the study's weights the best of the policies that have just learned goes on; each once, for the first it is best for.

    Where most policies came to nothing, the steps are for those that came to something. What is to come of them need not show
    in the hypervolume yet: a lander that still takes its time adds nothing to free falls, and no archive holds it.

    Args:
        softness: factor on the last layer of the actors at the start. Above 1 the policies draw less at random, so that they
            learn to do what their likeliest actions can afford; held back by its own noise a policy stays careful.
        steps: environment steps of all of its policies together; at least one iteration is done.
        n: most policies that go on, those for the first weights.
        climbs: "weights": the weighted sum that a policy is best for; "box": the volume of its own box (`pareto.agents.box`).
        weights: another weighted sum in place of those, by objective; its scale means nothing.
        ppo: how they are improved; its network must be that of the first stage.

    Source: this suite. Going on with the best of several is successive halving (Jamieson and Talwalkar, 2016).
    """

    goes_on = True
    steps: int = Field(ge=1)
    n: int = Field(default=1, ge=1)
    climbs: Literal["weights", "box"] = "weights"
    weights: Mapping[str, float] | None = None
    ppo: PPOConfig = PPOConfig()

    def plan(self, known: Known) -> Round | None:
        """Start from the best policy of each weight vector."""
        worth = known.weights @ known.points.T
        best = np.where(np.isnan(worth), -np.inf, worth).argmax(axis=1)  # no episode has ended yet: the worst
        starts, first = np.unique(best, return_index=True)
        order = np.argsort(first)[: self.n]
        starts, weights = starts[order], known.weights[first[order]]
        if self.weights is not None:
            weights = np.tile(known.objectives.vector(self.weights), (len(starts), 1))
        return Round(
            starts,
            np.zeros(len(starts), dtype=np.int64),
            np.nan_to_num(known.points[starts]),
            None,
            known.spans,
            np.zeros((0, 1)),
            weights=weights,
            ref_point=known.ref_point,
        )

    def aim(self, plan: Round) -> Aim:
        """A weighted sum, or the box."""
        if self.climbs == "weights":
            assert plan.weights is not None  # `plan` states it
            return Weighted(plan.weights)
        assert plan.ref_point is not None
        return Box(plan.anchors, plan.ref_point)

    def learning(self, usual: PPOConfig) -> PPOConfig:
        """Its own."""
        return self.ppo

    def iterations(self, usual: int, steps_each: int) -> int:
        """As many as its steps pay for."""
        return max(1, self.steps // steps_each)
