"""Group-robust DPO: the worst group's loss is minimised directly, without a reward model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pareto.align.group_features import Features, RewardFeatures
from pareto.align.maxmin import groups_cell
from pareto.align.preference_job import LN2, Reference, device_tensor, fit_policy, pair_logps, pair_metrics
from pareto.align.user_groups_job import find_user_groups, read_groups, tell_groups
from pareto.cells import Cell, FitContext, Fitted
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.core.losses.dpo import dpo
from pareto.core.losses.mass_anchor import mass_anchor
from pareto.core.objective import Objective, ScoredExamples
from pareto.data.choices import decisions
from pareto.errors import DataError
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.models.user_groups import UserMixture
from pareto.policy_set import PolicySet


@final
class KnownGroups(Config):
    """The groups that the data name (`group` of every row)."""

    kind: Literal["known"] = "known"


@final
class FoundGroups(Config):
    """Groups found from users' choices, as `maxmin` finds them."""

    kind: Literal["found"] = "found"
    features: Features = RewardFeatures()
    mixture: UserMixture = UserMixture()


@METHODS.register(
    "group_dpo", source="Ramesh et al. (2024), Group robust preference optimization, arXiv 2405.20304"
)
class GroupDPO(Config):
    """DPO on the group it serves worst, by multiplicative weights on the groups.

        min_pi max_a sum_g a_g L_g(pi),    a_g <- a_g exp(step L_g) / Z

    with L_g the mean DPO loss of the group's pairs. Pairs are drawn evenly; a pair of group g weighs a_g n / n_g, so that a
    small group is heard. No reward is learned, and that is its limit: the loss of a group depends on how noisy its choices are
    as well as on how badly it is served, so equal losses are not equal utilities. Compare `maxmin`.

    One policy a seed; a study's weights over objectives play no part.

    Args:
        beta: > 0, strength of the KL regularisation, 1/nats.
        mass_anchor: >= 0, weight of `pareto.core.losses.mass_anchor`.
        groups: known from the data, or found from users' choices.
        step: of the groups' weights, for a whole batch; 0 keeps all groups alike.
        training: optimisation.
        adapter: LoRA or full fine-tuning.

    Source: Ramesh et al. (2024), Algorithm 1; step 0.01 from memory. Differences from the paper: weights start alike and the
    loss of a pair before training, ln 2, is taken off in their update, which changes nothing but noise.
    """

    name: Literal["group_dpo"] = "group_dpo"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    groups: Annotated[KnownGroups | FoundGroups, Field(discriminator="kind")] = KnownGroups()
    step: float = Field(default=0.01, ge=0)
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; per seed the groups where they must be found, and one policy."""
        reference = task.prerequisites()["reference"]
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name"})}
        cells = [reference]
        for seed in seeds:
            needs = {"reference": reference.id}
            if isinstance(self.groups, FoundGroups):
                found = groups_cell(
                    reference, self.groups.features, self.groups.mixture, "levels", 2, seed
                )  # no reward is used, so nothing is calibrated
                cells.append(found)
                needs["groups"] = found.id
            cells.append(Cell("policy", "method", spec, needs, None, seed))
        return cells

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Find the groups, or fit the policy."""
        reference = Reference(task, context.needs["reference"], context)
        if isinstance(self.groups, FoundGroups) and cell.role == "prerequisite":
            return find_user_groups(
                reference, self.groups.features, self.groups.mixture, "levels", 2, seed=cell.seed
            )
        made = decisions(reference.pairs)
        group = self._group_of(reference, made.rows, context)
        examples = np.column_stack([made.chosen, made.rejected])
        ref_logps = device_tensor(reference.logps[examples], context.device)
        robust = GroupWeights(group, self.step / self.training.batch_size)

        def loss(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
            pairs = pair_logps(scored, ref_logps)
            values = robust(dpo(pairs, beta=self.beta), scored.index)
            if self.mass_anchor:
                values = values + self.mass_anchor * mass_anchor(pairs)
            return values, pair_metrics(pairs, self.beta)

        fitted = fit_policy(
            reference,
            examples,
            Objective(loss, module=robust),
            self.training,
            self.adapter,
            cell,
            beta=self.beta,
        )
        if "groups" in context.needs:
            tell_groups(context.needs["groups"], context.folder)
        policy = fitted.policies[0]
        facts = {"served": "worst_group_loss", "group_weights": robust.weights().tolist()}
        return replace(fitted, policies=(replace(policy, extra={**policy.extra, **facts}),))

    def fit(self, model: Any, tokenizer: Any, rows: Any, **options: Any) -> PolicySet:
        """Fit on objects in memory; see `pareto.study.fitting.text.fit_text` for the options.

        Args:
            model: a Hugging Face causal model, its folder or its hub id.
            tokenizer: its tokenizer.
            rows: preference rows, each with a `group` or a `user`.
            options: out, callbacks, ...

        Returns:
            the policy, scored on prompts kept from training.
        """
        return FITTERS.get("text")(self, model, tokenizer, rows, **options)

    def _group_of(self, reference: Reference, rows: np.ndarray, context: FitContext) -> np.ndarray:
        """[n] int64 in 0..G-1, the group of every decided pair."""
        pairs = reference.pairs
        if isinstance(self.groups, FoundGroups):
            assert pairs.user is not None  # the cell that found the groups asked for it
            return read_groups(context.needs["groups"]).of_pairs(pairs.user[rows])
        if pairs.group is None or (pairs.group[rows] < 0).any():
            raise DataError(
                "groups: {kind: known} needs a 'group' in every row; give rows a 'user' and set groups: {kind: found}"
            )
        return np.unique(pairs.group[rows], return_inverse=True)[1]


@final
class GroupWeights(nn.Module):
    """Multiplicative weights of groups: state of the loss, kept in checkpoints.

    Args:
        group: [n] int64 in 0..G-1 of every example.
        step: of a pair.
    """

    def __init__(self, group: np.ndarray, step: float) -> None:
        super().__init__()
        counts = np.bincount(group)
        self._step = step
        self.register_buffer("group", torch.from_numpy(group), persistent=False)
        self.register_buffer(
            "rarity", torch.from_numpy(len(group) / np.maximum(counts, 1)).float(), persistent=False
        )
        self.register_buffer("log_weights", torch.zeros(len(counts)))

    def weights(self) -> Tensor:
        """[G] on the simplex."""
        return self.get_buffer("log_weights").softmax(0)

    def forward(self, losses: Tensor, index: Tensor) -> Tensor:
        """[B] weighted losses of examples `index` [B]; the weights then move towards the groups that lose most."""
        group = self.get_buffer("group")[index]
        rare = self.get_buffer("rarity")[group]
        weighted = self.weights()[group] * rare * losses
        with torch.no_grad():
            gain = self._step * rare * (losses - LN2)
            self.get_buffer("log_weights").index_add_(0, group, gain)
        return weighted
