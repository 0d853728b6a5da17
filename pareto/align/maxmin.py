"""MaxMin-RLHF: find hidden groups of users, then serve the group that is served worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from pareto.align.group_features import Features, RewardFeatures
from pareto.align.preference_job import Reference
from pareto.align.toward_rewards import fit_to_rewards
from pareto.align.user_groups_job import Calibration, find_user_groups, read_groups, tell_groups
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.models.max_min import Draws, max_min
from pareto.models.user_groups import UserMixture
from pareto.policy_set import PolicySet
from pareto.pricing import settings_price


@METHODS.register("maxmin", source="Chakraborty et al. (2024), MaxMin-RLHF, arXiv 2402.08925")
class MaxMin(Config):
    """Max-min alignment with users whose groups are not known.

    One cell finds the groups: expectation-maximisation over users, whose number is chosen on users left out, and rewards of the
    groups made comparable on replies of the reference. The max-min policy is that of weights w on the groups with

        max_pi min_u E[r_u] - beta KL(pi || ref)  =  min_w beta E_x log E_ref exp(w.r / beta),

    found by mirror steps on expected utilities of groups (`pareto.models.max_min`), and trained towards w.r. Beside it stands
    the policy of the single reward that fits all users' choices best, which a large group makes its own: "who gains and who
    loses" is the difference of the two, group by group, in the policies' `groups`.

    A study's weights over objectives play no part here: there are two policies a seed, `served: max_min` and
    `served: single_reward`.

    Args:
        beta: > 0, strength of the KL regularisation, 1/nats.
        mass_anchor: >= 0, weight of `pareto.core.losses.mass_anchor`; wants pairs sampled from the reference.
        features: what group rewards are made of.
        mixture: how groups are found.
        calibration: how rewards of groups are made comparable.
        draws: replies of the reference on which rewards are calibrated and the game is solved.
        training: optimisation of every policy.
        adapter: LoRA or full fine-tuning.

    Source: Chakraborty et al. (2024), Algorithms 1 and 2. Differences from the paper: heads on shared features instead of a
    reward model a group; the game is solved on the reference's replies, where the inner optimum has a closed form, instead of
    by reinforcement learning. Differences from the released code: the minimum of expectations, not the expectation of minima;
    calibrated rewards; the policy uses the groups that were found, not the true split; no overflow in the E-step; no dropout
    in it; soft responsibilities with a prior; the number of groups is chosen; empty groups go. beta 0.1 as in MODPO.
    """

    name: Literal["maxmin"] = "maxmin"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    features: Features = RewardFeatures()
    mixture: UserMixture = UserMixture()
    calibration: Calibration = "z_scores"
    draws: int = Field(default=4096, ge=2)
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    @model_validator(mode="after")
    def _tastes_of_rewards(self) -> MaxMin:
        if self.calibration in ("levels", "tastes") and not isinstance(self.features, RewardFeatures):
            raise ValueError(
                f"calibration {self.calibration!r} needs features that are rewards; hidden states have no level and no unit: use "
                "z_scores or gains"
            )
        return self

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; per seed the groups, the max-min policy and the one of a single reward."""
        reference = task.prerequisites()["reference"]
        cells = [reference]
        how = self.model_dump(mode="json", include={"beta", "mass_anchor", "training", "adapter"})
        for seed in seeds:
            groups = groups_cell(reference, self.features, self.mixture, self.calibration, self.draws, seed)
            needs = {"reference": reference.id, "groups": groups.id}
            cells += [
                groups,
                *(
                    Cell(
                        "policy", "method", {"method": self.name, "served": served, **how}, needs, None, seed
                    )
                    for served in ("max_min", "single_reward")
                ),
            ]
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        """Pairs of replies to calibrate on, or one policy's training."""
        sizes = task.sizes()
        if cell.role == "prerequisite":
            return Cost(generated_tokens=round(2 * self.draws * sizes.response_tokens))
        return settings_price(cell.spec, sizes)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Find the groups, or fit one policy."""
        reference = Reference(task, context.needs["reference"], context)
        if cell.role == "prerequisite":
            return find_user_groups(
                reference, self.features, self.mixture, self.calibration, self.draws, seed=cell.seed
            )
        groups = read_groups(context.needs["groups"])
        facts: dict[str, Any] = {"served": cell.spec["served"]}
        if cell.spec["served"] == "max_min":
            draws = Draws(groups.draw_prompt, np.zeros(len(groups.draw_prompt)))
            game = max_min(groups.draw_rewards, draws, self.beta)
            rewards = groups.rewards @ game.weights
            facts |= {"group_weights": game.weights.tolist(), "expected_utilities": game.utilities.tolist()}
        else:
            rewards = groups.single
        fitted = fit_to_rewards(
            reference, rewards, self.training, self.adapter, cell, beta=self.beta, anchor=self.mass_anchor
        )
        tell_groups(context.needs["groups"], context.folder)
        policy = fitted.policies[0]
        return replace(fitted, policies=(replace(policy, extra={**policy.extra, **facts}),))

    def fit(self, model: Any, tokenizer: Any, rows: Any, **options: Any) -> PolicySet:
        """Fit on objects in memory; see `pareto.study.fitting.text.fit_text` for the options.

        Args:
            model: a Hugging Face causal model, its folder or its hub id.
            tokenizer: its tokenizer.
            rows: preference rows, each with a `user`.
            options: out, callbacks, ...

        Returns:
            the policies, scored on prompts kept from training.
        """
        return FITTERS.get("text")(self, model, tokenizer, rows, **options)


def groups_cell(
    reference: Cell, features: Features, mixture: UserMixture, calibration: Calibration, draws: int, seed: int
) -> Cell:
    """The cell of `find_user_groups`; methods that ask for the same groups share it."""
    spec = {
        "stage": "user groups",
        "features": features.model_dump(mode="json"),
        "mixture": mixture.model_dump(mode="json"),
        "calibration": calibration,
        "draws": draws,
    }
    return Cell("prerequisite", "method", spec, {"reference": reference.id}, None, seed)
