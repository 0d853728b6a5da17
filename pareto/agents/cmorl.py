"""C-MORL: a Pareto front by constrained extension of what weighted sums find."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from pareto.agents.courses import Course
from pareto.agents.extensions import (
    BarrierExtension,
    BudgetExtension,
    LagrangianExtension,
    TrustRegionExtension,
)
from pareto.agents.keeping import keep
from pareto.agents.learning import Networked
from pareto.agents.ppo import PPOConfig
from pareto.agents.search import Search
from pareto.agents.seeds import PerSeed, to_the_end
from pareto.cells import Cell, FitContext, Fitted
from pareto.errors import ConfigError
from pareto.methods import METHODS
from pareto.models.actors.mlp import Deployed

Extensions = Annotated[
    BarrierExtension | LagrangianExtension | TrustRegionExtension | BudgetExtension,
    Field(discriminator="kind"),
]


@METHODS.register("cmorl", source="Liu et al. (2025), C-MORL, arXiv 2410.02236")
class CMORL(PerSeed):
    """Find a Pareto front in two stages: policies for a few weighted sums, then constrained extensions along the front.

    First stage: one policy per weight vector of the study, PPO with a vector critic. Rounds: policies of the archive are
    selected; each is copied once per objective and climbs that return while the others stay above thresholds; iterates of
    all stages are candidates for the archive. Candidates are screened by their training returns, which cost nothing, and
    enter the archive by the lower confidence bound of fresh episodes. At the end the policies with the largest hypervolume
    together are kept; they carry no weights, since the front assigns them.

    Args:
        total_steps: true environment steps of training and selection together.
        initial_steps: of the first stage; where `total_steps` leaves no room for so many, three fifths of that.
        starts: policies per weight vector in the first stage.
        max_episode_steps: time limit in training and selection; a cut-off episode is bootstrapped. None keeps the task's.
        ppo: how policies are improved in the first stage.
        constants: before all else, policies that always take the same action get fresh episodes, too: doing nothing is an end
            of many a front, and dear to learn.
        courses: stretches of learning before the rounds, in which the best policies go on; each counts as a round.
        round_ppo: how policies are improved in rounds; the optimiser starts afresh in each. Given in part, the
            rest is as in `ppo`: a learning rate of .001, an entropy of .03.
        round_iterations: iterations of a round. Paper: 20.
        extension: how policies are extended; None ends with the first stage.
        offer: what speaks for an iterate: its training returns, or fresh episodes at once (where these cost next to nothing).
        offer_every: iterations between offers in rounds.
        first_offer_every: the same in the first stage; None offers only what it ends with.
        actions: how the policies act when they are evaluated and afterwards.
        episodes: fresh episodes per candidate.
        verified: most candidates that get fresh episodes at the end of a stage.
        finalists: most policies of the archive that get fresh episodes at the very end.
        final_episodes: how many each; 0: what is known decides.
        composed: weight vectors at which policies are composed of the finalists at the very end, each of which follows in every
            state the finalist that is worth most there (`pareto.agents.composing`), as the finalists' `final_episodes` tell it.
            They come beside the `policies` that are kept and are not played before they are scored.
        begun_episodes: further episodes of each finalist, begun by another of them, so that it is known what a policy is worth
            where others lead.
        z: standard errors between a mean and its lower confidence bound.
        window: finished training episodes that speak for an iterate.
        candidates: most candidates held.
        archive: most policies held. Paper: 200.
        policies: most policies kept at the end.
        ref_point: [m] of the hypervolumes that choices rest on, larger is better; None takes the environment's own, and where
            there is none, a tenth of the range below what has been reached.
        checkpoint_every: iterations between checkpoints.

    Source: Liu et al. (2025). Differences from the paper: the archive holds nothing by training or evaluation means alone;
    thresholds as in `pareto.agents.barrier.thresholds`; hard budgets. Differences from the released code: steps are counted
    truly (it takes 8 times its nominal ones); the barrier has a gradient and is anchored at the selected policy; the learning
    rate starts anew in every round; training environments are not re-seeded; what is reported is scored on episodes that
    selected nothing.
    """

    name: Literal["cmorl"] = "cmorl"
    total_steps: int = Field(default=500_000, ge=1)
    initial_steps: int = Field(default=300_000, ge=1)
    starts: int = Field(default=1, ge=1)
    max_episode_steps: int | None = Field(default=None, ge=1)
    ppo: PPOConfig = PPOConfig()
    constants: bool = Field(default=False, exclude_if=lambda value: not value)
    courses: tuple[Course, ...] = Field(default=(), exclude_if=lambda value: not value)
    round_ppo: PPOConfig = PPOConfig(lr=5e-4, entropy=0.01)
    round_iterations: int = Field(default=20, ge=1)
    extension: Extensions | None = BarrierExtension()
    offer: Literal["training", "episodes"] = "training"
    offer_every: int = Field(default=1, ge=1)
    first_offer_every: int | None = Field(default=1, ge=1)
    actions: Deployed = "mode"
    episodes: int = Field(default=20, ge=1)
    verified: int = Field(default=24, ge=1)
    finalists: int = Field(default=48, ge=1)
    final_episodes: int = Field(default=0, ge=0)
    composed: int = Field(default=0, ge=0, exclude_if=lambda value: value == 0)
    begun_episodes: int = Field(default=0, ge=0, exclude_if=lambda value: value == 0)
    z: float = Field(default=1.0, ge=0)
    window: int = Field(default=64, ge=1)
    candidates: int = Field(default=100, ge=1)
    archive: int = Field(default=200, ge=1)
    policies: int = Field(default=16, ge=1)
    ref_point: tuple[float, ...] | None = Field(default=None, exclude_if=lambda value: value is None)
    checkpoint_every: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _judged(self) -> CMORL:
        if self.composed and not self.final_episodes:
            raise ConfigError(
                "policies are composed by what final_episodes tell; set final_episodes, or leave composed out"
            )
        return self

    @property
    def first_steps(self) -> int:
        """Environment steps of the first stage."""
        fits = self.initial_steps <= self.total_steps
        return self.initial_steps if fits else max(1, 3 * self.total_steps // 5)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Search with one seed.

        Raises:
            ConfigError: a reference point of another length than the rewards.
        """
        m = len(task.objectives)
        if self.ref_point is not None and len(self.ref_point) != m:
            names = ", ".join(task.objectives.names)
            raise ConfigError(
                f"method.ref_point needs {m} numbers, one each for {names}; got {len(self.ref_point)}"
            )
        weights = np.array([task.objectives.vector(w) for w in cell.spec["weights"]])
        search = Search(self, Networked.of(task, self.ppo), weights, cell.seed)
        to_the_end(search, context, self.total_steps, checkpoint_every=self.checkpoint_every)
        kept, composed = search.finish()
        return keep(search.networked, kept, self.actions, search.cost, cell, context, composed)
