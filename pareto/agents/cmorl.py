"""C-MORL: a Pareto front by constrained extension of what weighted sums find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pareto.agents.extensions import (
    BarrierExtension,
    BudgetExtension,
    LagrangianExtension,
    TrustRegionExtension,
)
from pareto.agents.learning import Networked
from pareto.agents.ppo import PPOConfig
from pareto.agents.search import Search
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.config import Config
from pareto.methods import FITTERS, METHODS
from pareto.models.actors import agent_facts
from pareto.models.actors.mlp import Deployed
from pareto.policy_set import PolicySet
from pareto.state.checkpoint import Checkpoints

Extensions = Annotated[
    BarrierExtension | LagrangianExtension | TrustRegionExtension | BudgetExtension,
    Field(discriminator="kind"),
]


@METHODS.register("cmorl", source="Liu et al. (2025), C-MORL, arXiv 2410.02236")
class CMORL(Config):
    """Find a Pareto front in two stages: policies for a few weighted sums, then constrained extensions along the front.

    First stage: one policy per weight vector of the study, PPO with a vector critic. Rounds: policies of the archive are
    selected; each is copied once per objective and climbs that return while the others stay above thresholds; iterates of
    all stages are candidates for the archive. Candidates are screened by their training returns, which cost nothing, and
    enter the archive by the lower confidence bound of fresh episodes. At the end the policies with the largest hypervolume
    together are kept; they carry no weights, since the front assigns them.

    Args:
        total_steps: true environment steps of training and selection together.
        initial_steps: of the first stage.
        starts: policies per weight vector in the first stage.
        max_episode_steps: time limit in training and selection; a cut-off episode is bootstrapped. None keeps the task's.
        ppo: how policies are improved in the first stage.
        round_ppo: how policies are improved in rounds; the optimiser starts afresh in each.
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
        z: standard errors between a mean and its lower confidence bound.
        window: finished training episodes that speak for an iterate.
        candidates: most candidates held.
        archive: most policies held. Paper: 200.
        policies: most policies kept at the end.
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
    z: float = Field(default=1.0, ge=0)
    window: int = Field(default=64, ge=1)
    candidates: int = Field(default=100, ge=1)
    archive: int = Field(default=200, ge=1)
    policies: int = Field(default=16, ge=1)
    checkpoint_every: int = Field(default=100, ge=1)

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per seed."""
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        spec = {
            "method": self.model_dump(mode="json"),
            "task": task.model_dump(mode="json"),
            "weights": named,
        }
        return [Cell("policy", "method", spec, seed=seed) for seed in seeds]

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Search with one seed."""
        weights = np.array([task.objectives.vector(w) for w in cell.spec["weights"]])
        search = Search(self, Networked.of(task, self.ppo), weights, cell.seed)
        checkpoints = Checkpoints(context.scratch)
        latest = checkpoints.latest()
        done = 0
        if latest is not None:
            done = latest[0]
            search.load(latest[1], latest[2])
        context.progress(search.ledger.total, self.total_steps, {"env_steps": search.ledger.total})
        while not search.finished:
            search.step()
            done += 1
            figures = {
                "step": done,
                "hypervolume": search.hypervolume,
                "policies": len(search.archive),
                "env_steps": search.ledger.total,
                "round": search.rounds,
            }
            context.progress(search.ledger.total, self.total_steps, figures)
            if done % 10 == 0 or search.finished:
                context.log(figures)
            if done % self.checkpoint_every == 0 and not search.finished:
                checkpoints.save(done, *search.state())
        return self._store(search, cell, task, context)

    def fit(self, env_fn: Callable[[], Any], **options: Any) -> PolicySet:
        """Search in an environment made by a function; see `pareto.study.fitting.env.fit_env` for the options.

        Args:
            env_fn: makes one environment with vector rewards (gymnasium's `Env` or `VectorEnv`).
            options: weights, seed, out, gamma, ref_point, ...
        """
        return FITTERS.get("env")(self, env_fn, **options)

    def _store(self, search: Search, cell: Cell, task: Any, context: FitContext) -> Fitted:
        kept = search.finish()
        policies, means = kept.policies, kept.means
        assert policies is not None
        networks, made = search.networked.networks, []
        facts = agent_facts(networks.kind, task.facts.observations, task.facts.actions)
        for i in range(len(policies)):
            offset, scale = policies.observed.affine(i)
            folder = context.folder / f"{i:03d}"
            networks.store(policies.parameters[i], offset, scale, self.actions, folder, facts)
            told = {"chosen_by": task.objectives.named(task.objectives.orient(means[i]))}
            made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", folder, None, extra=told))
        cost = Cost(env_steps=search.ledger.training, selection_env_steps=search.ledger.selection)
        return Fitted(tuple(made), cost)
