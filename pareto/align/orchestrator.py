"""Preference orchestrator: which objectives matter is read off the prompt, in training and when serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
from pydantic import Field

from pareto.align.preference_job import Reference
from pareto.align.prompt_weights import (
    AnyTarget,
    LikelihoodTarget,
    OrchestratorFit,
    fit_orchestrator,
    judged_pairs,
)
from pareto.align.reward_job import RewardSource, reward_cell, reward_price, stored_reward, train_reward
from pareto.align.toward_rewards import fit_to_rewards
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.data.choices import decisions
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.models.hidden_features import prompt_features
from pareto.models.orchestrator import FACTS, TENSORS, blend, load_orchestrator
from pareto.policy_set import PolicySet
from pareto.pricing import settings_price
from pareto.state import atomic


@final
class GivenReward(Config):
    """The task's own rewards: the lab's, scores in the data, or objectives that are derived."""

    kind: Literal["given"] = "given"


@METHODS.register("orchestrator", source="Preference Orchestrator (2025), arXiv 2511.10656")
class PreferenceOrchestrator(Config):
    """A prompt's weights learned from what people preferred, and a policy trained under them.

    A network g on the frozen reference's features of a prompt x gives weights on the simplex, so that nobody has to set them.
    It is fitted once per seed to pairs with an overall winner (`target`). A policy is then trained towards

        r(x, y) = w(x) . r(x, y),    w(x) proportional to w_user * g(x)^strength,

    where the user's prior w_user is the study's weight vector: uniform weights are the orchestrator alone, a corner is that
    objective alone, and weights between tilt every prompt's own. The orchestrator lies beside each policy; steering method
    `orchestrator` serves other policies of the same run's objectives with it.

    Args:
        beta: > 0, strength of the KL regularisation, 1/nats.
        mass_anchor: >= 0, weight of `pareto.core.losses.mass_anchor`; wants pairs sampled from the reference.
        target: "rewards" is the paper's, "advantages" its variant against a prompt's own level, "likelihood" models the
            choices themselves.
        reward: where the rewards of the objectives come from; a reward model where the data only label pairs.
        strength: of the orchestrator against the prior.
        network: size and training of g.
        training: optimisation of every policy.
        adapter: LoRA or full fine-tuning.

    Source: Preference Orchestrator, arXiv 2511.10656; no code was released. Differences from the paper: the policy is trained
    offline on Bradley-Terry targets of the scalarised reward, whose optimum is ref exp(w(x).r / beta), instead of by
    reinforcement learning; the prior and the likelihood target are this suite's. The default target is the likelihood, since
    rewards of preferred responses say how high an objective is and not how much it matters.
    """

    name: Literal["orchestrator"] = "orchestrator"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    target: AnyTarget = LikelihoodTarget()
    reward: Annotated[GivenReward | RewardSource, Field(discriminator="kind")] = GivenReward()
    strength: float = Field(default=1.0, ge=0)
    network: OrchestratorFit = OrchestratorFit()
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; per seed a reward model where one is needed, the orchestrator, a policy per prior."""
        reference = task.prerequisites()["reference"]
        network = {
            "method": self.name,
            **self.model_dump(mode="json", include={"target", "network", "reward"}),
        }
        policy = {
            "method": self.name,
            **self.model_dump(
                mode="json", include={"beta", "mass_anchor", "reward", "strength", "training", "adapter"}
            ),
        }
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        cells = [reference]
        for seed in seeds:
            needs = {"reference": reference.id}
            if not isinstance(self.reward, GivenReward):
                cells.append(reward_cell(self.name, self.reward, reference, seed))
                needs["reward"] = cells[-1].id
            cells.append(
                Cell("prerequisite", "method", {**network, "part": "orchestrator"}, needs, None, seed)
            )
            needs = {**needs, "orchestrator": cells[-1].id}
            cells += [Cell("policy", "method", policy, needs, w, seed) for w in named]
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        """A reward model's or a policy's training; the orchestrator itself trains on no tokens."""
        part = cell.spec.get("part")
        if part is None:
            return settings_price(cell.spec, task.sizes())
        return reward_price(cell, task.sizes()) if part == "reward" else Cost()

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Fit the reward model, the orchestrator, or one policy."""
        reference = Reference(task, context.needs["reference"], context)
        if cell.spec.get("part") == "reward":
            return train_reward(self.reward, reference, cell)
        if cell.spec.get("part") == "orchestrator":
            return self._fit_network(reference, cell)
        prior = task.objectives.vector(cell.weights or {})
        weights = prompt_weights(reference, context.needs["orchestrator"], prior, self.strength)
        of = reference.pairs.table.prompt_of
        fitted = fit_to_rewards(
            reference,
            np.einsum("nm,nm->n", weights[of], self._rewards(reference)),
            self.training,
            self.adapter,
            cell,
            beta=self.beta,
            anchor=self.mass_anchor,
        )
        return self._with_orchestrator(fitted, cell, context, weights)

    def fit(self, model: Any, tokenizer: Any, rows: Any, **options: Any) -> PolicySet:
        """Fit on objects in memory; see `pareto.study.fitting.text.fit_text` for the options.

        Args:
            model: a Hugging Face causal model, its folder or its hub id.
            tokenizer: its tokenizer.
            rows: preference rows with an overall winner.
            options: weights (priors), out, callbacks, ...

        Returns:
            the policies, scored on prompts kept from training.
        """
        return FITTERS.get("text")(self, model, tokenizer, rows, **options)

    def _rewards(self, reference: Reference) -> np.ndarray:
        """[n_responses, m] float64, NaN where unknown."""
        if isinstance(self.reward, GivenReward):
            return np.asarray(reference.task.load_rewards(reference.folder), dtype=np.float64)
        model = stored_reward(reference.context.needs["reward"], reference)
        return model.of_table(reference.pairs.table).astype(np.float64)

    def _fit_network(self, reference: Reference, cell: Cell) -> Fitted:
        made, table = decisions(reference.pairs), reference.pairs.table
        features = prompt_features(reference.model(), table.prompts)
        pairs = judged_pairs(table.prompt_of, made.chosen, made.rejected, self._rewards(reference), features)
        found = fit_orchestrator(pairs, self.target, self.network, seed=cell.seed)
        figures = {
            "step": found.steps,
            "kappa": found.kappa,
            "loss_before": found.validation[0],
            "loss": found.validation[1],
            "pairs": len(pairs.prompt),
        }
        reference.context.log(figures)
        facts = {"target": self.target.kind, **figures}
        found.model.save(reference.context.folder, reference.task.objectives.names, facts)
        return Fitted()

    def _with_orchestrator(
        self, fitted: Fitted, cell: Cell, context: FitContext, weights: np.ndarray
    ) -> Fitted:
        """The policy as one of kind "orchestrator", which says the weights of every prompt."""
        for name in (FACTS, TENSORS):
            atomic.write_bytes(context.folder / name, (context.needs["orchestrator"] / name).read_bytes())
        # No beta: the optimum at the prior is not what this policy was trained towards.
        stored = {
            "kind": "orchestrator",
            "weights": dict(cell.weights or {}),
            "beta": None,
            "strength": self.strength,
        }
        atomic.write_json(context.folder / "policy.json", stored)
        policy = fitted.policies[0]
        facts = {"trained_beta": self.beta, "mean_prompt_weights": weights.mean(axis=0).tolist()}
        return replace(fitted, policies=(replace(policy, kind="orchestrator", extra=facts),))


def prompt_weights(
    reference: Reference, folder: Path, prior: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    """Weights of every training prompt under a prior: what relabels the weights of any weight-conditioned method.

    Args:
        reference: of the job.
        folder: of the orchestrator.
        prior: [m] on the simplex.
        strength: of the orchestrator against it.

    Returns:
        [P, m] on the simplex, in the order of the pairs' prompts.
    """
    network, facts = load_orchestrator(folder)
    order = [list(facts["objectives"]).index(name) for name in reference.task.objectives.names]
    own = network.weights(prompt_features(reference.model(), reference.pairs.table.prompts))[:, order]
    return blend(own, prior, strength)
