"""MODPO: a front of policies from pairs labelled under several objectives, one DPO-like job per weight vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from pareto.align.modpo_front import Member, implicit_rewards_of, store_members, train_members
from pareto.align.preference_job import (
    LN2,
    Reference,
    corner_weights,
    device_tensor,
    fit_policy,
    implicit_rewards,
    pair_logps,
    pair_metrics,
    restarted,
    sample_pairs,
)
from pareto.align.strength import Strength, advantages, scheduled_beta
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.core.losses.mass_anchor import mass_anchor
from pareto.core.losses.modpo import modpo
from pareto.core.objective import Objective, ScoredExamples
from pareto.errors import ConfigError, NumericsError
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.objectives import Objectives
from pareto.policy_set import PolicySet
from pareto.pricing import settings_price

Margin = Literal["implicit", "explicit"]


@METHODS.register(
    "modpo", source="Zhou et al. (2024), Beyond one-preference-fits-all alignment, arXiv 2310.03708"
)
class MODPO(Config):
    """Multi-objective direct preference optimisation.

    For weights w the trained objective k is the one with the largest weight, so w_k >= 1/m and nothing is divided by
    zero. Its pairs are fitted with the other objectives' weighted rewards as a margin (`pareto.core.losses.modpo`).
    Those rewards are implicit (beta * log(pi_j / pi_ref) of the corner policy of objective j, which is plain DPO on its
    pairs and is trained once) or explicit (given by the task). A corner is served by its own DPO policy.

    With `jobs: one` the whole front of a seed is one cell: all adapters stand side by side on one frozen base
    (`pareto.align.modpo_front`), and each ends where a cell of its own would end.

    Args:
        beta: > 0, strength of the KL regularisation, 1/nats.
        mass_anchor: >= 0, weight of `pareto.core.losses.mass_anchor`, which keeps mass from drifting to texts no pair
            contains; 0 is the paper's loss. Wants pairs sampled from the reference.
        margins: where the other objectives' rewards come from; one answer for all, or one per objective.
        from_rewards: no pairs are read: so many are sampled from the reference and labelled by the task's rewards.
        strength: schedule of beta along the front (`pareto.align.strength`); "constant" is the paper's.
        jobs: "each": a cell for every policy; "one": a cell for the front.
        training: optimisation of every policy.
        adapter: LoRA or full fine-tuning.

    Source: Zhou et al. (2024), Eq. 11 and Algorithm 1. Differences: any m; the trained objective is chosen by weight
    instead of fixed, which the released code's w = 0 end needs; margins and reference log-probabilities are computed
    once on exactly the tokens that are trained on; beta 0.1 as in the paper's safety experiment.
    """

    name: Literal["modpo"] = "modpo"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    margins: Margin | Mapping[str, Margin] = "implicit"
    from_rewards: int | None = Field(default=None, ge=1)
    strength: Strength = "constant"
    jobs: Literal["each", "one"] = "each"
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    @model_validator(mode="after")
    def _side_by_side(self) -> MODPO:
        if self.jobs == "one" and isinstance(self.adapter, FullFineTuning):
            raise ConfigError(
                "policies of one job share a frozen base; put adapters on it (adapter: {kind: lora}), or set jobs: each"
            )
        if self.jobs == "one" and self.training.parallel == "fsdp2":
            raise ConfigError(
                "adapters side by side need a whole base in every process: parallel may be ddp, not fsdp2"
            )
        return self

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; the corners that are wanted or needed, then the weights between them; or one job for all."""
        reference = task.prerequisites()["reference"]
        wanted = [task.objectives.vector(w) for w in weights]
        cells = [reference]
        for seed in seeds:
            needs = {"reference": reference.id}
            if self.from_rewards is not None:
                spec = {"method": self.name, "from_rewards": self.from_rewards}
                cells.append(Cell("prerequisite", "method", spec, needs, seed=seed))
                needs = {**needs, "pairs": cells[-1].id}
            if self.jobs == "one":
                front = [task.objectives.named(w) for w in wanted]
                cells.append(Cell("policy", "method", {**self._spec(), "front": front}, needs, seed=seed))
                continue
            corners = {
                k: self._corner(task.objectives, k, needs, seed, wanted) for k in range(len(task.objectives))
            }
            inner = [self._inner(task.objectives, w, needs, corners, seed) for w in wanted if w.max() < 1.0]
            needed = {need for cell in inner for need in cell.needs.values()}
            cells += [c for c in corners.values() if c.role == "policy" or c.id in needed]
            cells += inner
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        """Replies to sample; or the policies that a cell trains, all of a front side by side, each on its share of the steps."""
        sizes = task.sizes()
        if self.from_rewards is not None:
            sizes = replace(sizes, pairs=self.from_rewards)
        if cell.maker == "method" and "training" not in cell.spec:
            return Cost(generated_tokens=round(2 * sizes.pairs * sizes.response_tokens))
        one = settings_price(cell.spec, sizes)
        front = [task.objectives.vector(w) for w in cell.spec.get("front", ())]
        trained = len(front) + len(self._unwanted_corners(task.objectives, front))
        return replace(one, train_tokens=one.train_tokens * max(1, trained))

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Sample pairs, fit the policy of one weight vector, or fit the front."""
        if "front" in cell.spec:
            return self._train_front(cell, task, context)
        if cell.weights is None:
            assert self.from_rewards is not None  # such a cell is planned for it alone
            return sample_pairs(task, cell, context, self.from_rewards)
        reference = Reference(task, context.needs["reference"], context)
        w = task.objectives.vector(cell.weights)
        names, needs = task.objectives.names, context.needs
        member = self._member(reference, w, lambda j: implicit_rewards(needs[f"margin:{names[j]}"]))
        _, chosen, rejected = reference.pairs.decided(names[member.trained])
        examples = np.column_stack([chosen, rejected])
        gap = None
        if (margin := member.margin) is not None:
            examples = examples[np.isfinite(margin[examples]).all(axis=1)]
            if not len(examples):
                raise NumericsError(
                    f"no pair of objective {names[member.trained]!r} has a finite margin on both responses"
                )
            gap = device_tensor(margin[examples[:, 0]] - margin[examples[:, 1]], context.device)
        ref_logps = device_tensor(reference.logps[examples], context.device)

        def loss(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
            pairs = pair_logps(scored, ref_logps, gap)
            values = modpo(pairs, beta=member.beta, objective_weight=float(w[member.trained]))
            if self.mass_anchor:
                values = values + self.mass_anchor * mass_anchor(pairs)
            return values, pair_metrics(pairs, member.beta)

        first_loss = LN2 - self.mass_anchor if gap is None else None
        return fit_policy(
            reference,
            examples,
            Objective(loss),
            self.training,
            self.adapter,
            cell,
            beta=member.beta,
            first_loss=first_loss,
        )

    def _train_front(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """All policies of a seed: the corners side by side, then the others."""
        assert isinstance(self.adapter, LoRA)  # checked when the config was made
        objectives, reference = task.objectives, Reference(task, context.needs["reference"], context)
        wanted = [objectives.vector(w) for w in cell.spec["front"]]
        inner = [(i, w) for i, w in enumerate(wanted) if w.max() < 1.0]
        corners = [(i, w) for i, w in enumerate(wanted) if w.max() == 1.0]
        corners += [(-1, np.eye(len(objectives))[j]) for j in self._unwanted_corners(objectives, wanted)]
        rewards: dict[int, np.ndarray] = {}
        policies: list[PolicyFiles] = []
        base, tokens = reference.model(), 0
        for phase, group in (("corners", corners), ("inner", inner)):
            if not group:
                continue
            members = [(i, self._member(reference, w, rewards.__getitem__)) for i, w in group]
            bank, tokens = train_members(
                reference,
                [member for _, member in members],
                self.adapter,
                self.training,
                mass_anchor=self.mass_anchor,
                seed=cell.seed,
                base=base,
                phase=phase,
                before=tokens,
            )
            own = [implicit_rewards_of(bank, k, reference, x.beta) for k, (_, x) in enumerate(members)]
            if phase == "corners":
                rewards = {member.trained: r for (_, member), r in zip(members, own)}
            policies += store_members(reference, bank, members, cell, own)
            base = bank.release()
        ordered = tuple(sorted(policies, key=lambda p: p.id))
        return Fitted(ordered, Cost(train_tokens=tokens))

    def fit(self, model: Any, tokenizer: Any, rows: Any, **options: Any) -> PolicySet:
        """Fit a front on objects in memory; see `pareto.study.fitting.text.fit_text` for the options.

        Args:
            model: a Hugging Face causal model, its folder or its hub id.
            tokenizer: its tokenizer.
            rows: preference rows, or objective -> chosen/rejected rows.
            options: weights, out, callbacks, ...

        Returns:
            the policies, scored on prompts kept from training.
        """
        return FITTERS.get("text")(self, model, tokenizer, rows, **options)

    def restarted(self, cell: Cell, start: str | None, share: float) -> Cell:
        """The same cell with a share of the steps, from another policy's parameters (`None`: from the reference).

        Raises:
            ConfigError: a front in one job, whose policies have no cells of their own.
        """
        if "front" in cell.spec:
            raise ConfigError(
                "weights.warm_start and weights.early start single policies anew, which a front in one job has none of; set "
                "jobs: each, or leave them out"
            )
        return restarted(cell, start, share)

    def margin_of(self, objective: str) -> Margin:
        """Where the reward of an objective comes from when it is not the trained one.

        Raises:
            ConfigError: `margins` is a mapping without it.
        """
        if isinstance(self.margins, str):
            return self.margins
        if objective not in self.margins:
            raise ConfigError(
                f"method.margins must name every objective or be one word; missing: {objective!r}"
            )
        return self.margins[objective]

    def _spec(self) -> dict[str, Any]:
        return {"method": self.name, **self.model_dump(mode="json", exclude={"name"})}

    def _corner(
        self,
        objectives: Objectives,
        k: int,
        needs: Mapping[str, str],
        seed: int,
        wanted: Sequence[np.ndarray],
    ) -> Cell:
        role = "policy" if any(w[k] == 1.0 for w in wanted) else "prerequisite"
        spec = {n: v for n, v in self._spec().items() if n not in ("margins", "strength")}
        return Cell(role, "method", spec, needs, corner_weights(objectives, k), seed)

    def _inner(
        self,
        objectives: Objectives,
        w: np.ndarray,
        needs: Mapping[str, str],
        corners: Mapping[int, Cell],
        seed: int,
    ) -> Cell:
        others = [j for j in range(len(w)) if j != w.argmax() and w[j] > 0]
        margins = {objectives.names[j]: self.margin_of(objectives.names[j]) for j in others}
        needed = {
            f"margin:{objectives.names[j]}": corners[j].id
            for j in range(len(w))
            if self._needs_corner(objectives, w, j)
        }
        spec = {**self._spec(), "margins": margins}
        return Cell("policy", "method", spec, {**needs, **needed}, objectives.named(w), seed)

    def _needs_corner(self, objectives: Objectives, w: np.ndarray, j: int) -> bool:
        """Whether the policy of weights w reads the implicit reward of objective j."""
        read = w[j] > 0 and (j != w.argmax() or self.strength == "equal_kl")
        return bool(read) and self.margin_of(objectives.names[j]) == "implicit"

    def _unwanted_corners(self, objectives: Objectives, wanted: Sequence[np.ndarray]) -> list[int]:
        """Objectives whose corners are not among the wanted weights, and are read by policies of these."""
        there = {int(w.argmax()) for w in wanted if w.max() == 1.0}
        inner = [w for w in wanted if w.max() < 1.0]
        read = {j for w in inner for j in range(len(w)) if self._needs_corner(objectives, w, j)}
        return sorted(read - there)

    def _member(self, reference: Reference, w: np.ndarray, implicit: Callable[[int], np.ndarray]) -> Member:
        """What the policy of weights w is trained towards.

        Args:
            reference: of the job.
            w: [m].
            implicit: objective's number -> [n_responses] its corner's implicit reward.
        """
        if w.max() == 1.0:
            return Member(w, self.beta)

        def reward(j: int) -> np.ndarray:
            explicit = self.margin_of(reference.task.objectives.names[j]) == "explicit"
            return reference.rewards[:, j] if explicit else implicit(j)

        k, read = int(w.argmax()), [int(j) for j in np.flatnonzero(w)]
        margin: Any = sum(w[j] * reward(j) for j in read if j != k)
        if self.strength == "equal_kl":
            pairs = reference.pairs
            known = np.column_stack([reward(j) for j in read])
            advantage = advantages(known, pairs.table.prompt_of, np.concatenate([pairs.a, pairs.b]))
            return Member(w, scheduled_beta(self.strength, self.beta, w[read], advantage), margin)
        return Member(w, scheduled_beta(self.strength, self.beta, w), margin)
