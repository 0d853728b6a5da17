"""The lab as a task: everything a study asks of it, exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from pareto import rng
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.core.logps import response_logps
from pareto.core.loop import Hooks
from pareto.core.reference import cached_logps, logps_key, model_sha256
from pareto.data.pairs import PreferencePairs
from pareto.models.adapters import load_policy
from pareto.models.causal import load_causal_lm, no_progress_bars
from pareto.objectives import Objectives
from pareto.pricing import TextSizes, examples_seen
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints
from pareto.tasks import TASKS
from pareto.tasks.fields import ObjectiveNames
from pareto.tasks.lab import exact, language
from pareto.tasks.lab.groups import group_figures
from pareto.tasks.lab.reference import PairsConfig, ReferenceConfig, fit_reference, make_model, sample_pairs
from pareto.tasks.lab.world import World, make_world
from pareto.tasks.protocol import Scores

MEASURES = ("optimality", "optimality_heldout", "kl_to_exact_nats")
"""How policies stand to the optima that they were trained towards; means over policies."""


@TASKS.register("lab", source="this suite; exact optima as in Rafailov et al. (2023), Eq. 4")
class Lab(Config):
    """A small language task whose exact Pareto front is known by enumeration.

    Prompts are short requests, replies one phrase per slot; methods see only sampled pairs and their labels, while
    scoring enumerates every reply under the actual model. Scores of a policy are its exact expected rewards per prompt.
    """

    kind: Literal["lab"] = "lab"
    seed: int = Field(default=0, ge=0, description="another seed is another problem of the same kind")
    objectives: ObjectiveNames = Objectives(["helpful", "brief"])
    prompts: int = Field(default=96, ge=16, le=256, description="prompts in all, held-out ones included")
    heldout: int = Field(
        default=24, ge=1, description="prompts never trained on: unseen combinations of seen parts"
    )
    slots: int = Field(default=5, ge=2, le=6)
    choices: int = Field(
        default=4, ge=2, le=8, description="phrases per slot; choices^slots replies are enumerated"
    )
    conflict: float = Field(
        default=0.2, ge=0, le=1, description="0: independent rewards; 1: they sum to zero"
    )
    reward_scale: float = Field(
        default=2.5, gt=0, description="standard deviation of each reward under the corpus"
    )
    pairs: int = Field(default=100_000, ge=1, description="preference pairs sampled from the reference")
    label_noise: float = Field(default=0.0, ge=0, lt=0.5, description="share of labels flipped")
    tie_rate: float = Field(
        0.0, ge=0, lt=1, description="share of pairs labelled a tie: those with the smallest gap"
    )
    missing_rate: float = Field(default=0.0, ge=0, lt=1, description="share of labels that are unknown")
    groups: int = Field(
        0, ge=0, le=16, description="hidden groups of users with tastes of their own; 0: none"
    )
    users: int = Field(
        0, ge=0, description="labelling users, spread over the groups ten to one for the first"
    )
    importance: Literal["uniform", "planted"] = "uniform"
    reference: ReferenceConfig = ReferenceConfig()

    @model_validator(mode="after")
    def _sizes(self) -> Lab:
        if self.choices**self.slots > 8192:
            raise ValueError(
                f"at most 8192 replies can be enumerated; choices^slots is {self.choices**self.slots}"
            )
        if self.heldout >= self.prompts:
            raise ValueError(f"heldout must be less than prompts ({self.prompts}); got {self.heldout}")
        if not 2 <= len(self.objectives) <= 6:
            raise ValueError(f"the lab has 2 to 6 objectives; got {len(self.objectives)}")
        if self.groups > self.users:
            raise ValueError(f"every group needs a user; got groups={self.groups} and users={self.users}")
        return self

    @cached_property
    def world(self) -> World:
        """The problem itself: prompts, replies, true rewards."""
        return make_world(
            seed=self.seed,
            m=len(self.objectives),
            n_prompts=self.prompts,
            heldout=self.heldout,
            slots=self.slots,
            choices=self.choices,
            conflict=self.conflict,
            reward_scale=self.reward_scale,
            groups=self.groups,
            planted_importance=self.importance == "planted",
        )

    def prerequisites(self) -> Mapping[str, Cell]:
        """The reference model with its pairs."""
        return {"reference": Cell("prerequisite", "task", {"task": self.model_dump(mode="json")})}

    def build(self, name: str, cell: Cell, context: FitContext) -> Fitted:
        """Train the reference, enumerate it, sample and label the pairs, cache their log-probabilities."""
        tokenizer = language.make_tokenizer(self.world)
        model = make_model(self.reference, tokenizer, self.seed).to(context.device)
        hooks = Hooks(context.progress, context.log, checkpoints=Checkpoints(context.scratch))
        result = fit_reference(model, self.world, tokenizer, self.reference, seed=self.seed, hooks=hooks)
        with no_progress_bars():
            model.save_pretrained(context.folder)
        tokenizer.save_pretrained(context.folder)
        logps, outside = self.enumerate(model, np.arange(self.prompts), tokenizer)
        pairs, reply = sample_pairs(self.world, logps, tokenizer, self.objectives, self._pairs_config())
        pairs.save(context.folder / "pairs.npz")
        np.savez(context.folder / "enumerated.npz", ref_logps=logps, reply=reply)
        digest = model_sha256(context.folder)
        cached_logps(
            context.folder,
            logps_key(digest, pairs.table, "float32"),
            lambda: response_logps(model, pairs.table),
        )
        atomic.write_json(
            context.folder / "reference.json",
            {"sha256": digest, "outside_mass": outside, "pairs": len(pairs)},
        )
        return Fitted(cost=Cost(train_tokens=result.tokens))

    def sizes(self) -> TextSizes:
        """Every prompt has the start token and three phrases, every reply a phrase per slot and its end."""
        there = (self.prompts - self.heldout) * self.choices**self.slots
        parameters = self.reference.parameters(self.slots * self.choices)
        return TextSizes(self.pairs, min(2 * self.pairs, there), 4, self.slots + 1, parameters)

    def price(self, cell: Cell) -> Cost:
        """What training the reference takes."""
        corpus = examples_seen(self.reference.train.model_dump(), self.reference.corpus)
        return Cost(train_tokens=self.sizes().of_replies(corpus))

    def load_reference(self, folder: Path, device: str, dtype: str) -> tuple[Any, Any]:
        """(model, tokenizer) of the reference; weights stay float32, `dtype` is the arithmetic's."""
        model, tokenizer = load_causal_lm(folder)
        return model.to(device), tokenizer

    def load_pairs(self, folder: Path) -> PreferencePairs:
        """Training pairs."""
        return PreferencePairs.load(folder / "pairs.npz")

    def load_rewards(self, folder: Path) -> np.ndarray:
        """[n_responses, m] true rewards of the pairs' replies."""
        pairs = self.load_pairs(folder)
        with np.load(folder / "enumerated.npz", allow_pickle=False) as z:
            return self.world.rewards()[:, pairs.table.prompt_of, z["reply"]].T

    def fresh_pairs(self, folder: Path, model: Any, n: int, seed: int) -> tuple[PreferencePairs, np.ndarray]:
        """Pairs drawn from a policy on training prompts, for methods that train in rounds.

        Args:
            folder: of the reference.
            model: the policy, on its device.
            n: how many.
            seed: of draws and labels.

        Returns:
            the pairs, labelled as the task's own are, and [n_responses, m] true rewards of their replies.
        """
        tokenizer = language.make_tokenizer(self.world)
        logps, _ = self.enumerate(model, np.arange(self.prompts), tokenizer)
        config = self._pairs_config().model_copy(update={"n": n, "seed": seed})
        pairs, reply = sample_pairs(self.world, logps, tokenizer, self.objectives, config)
        return pairs, self.world.rewards()[:, pairs.table.prompt_of, reply].T

    def _pairs_config(self) -> PairsConfig:
        return PairsConfig(
            n=self.pairs,
            label_noise=self.label_noise,
            tie_rate=self.tie_rate,
            missing_rate=self.missing_rate,
            users=self.users,
            seed=self.seed,
        )

    def enumerate(self, model: Any, prompts: np.ndarray, tokenizer: Any) -> tuple[np.ndarray, float]:
        """[len(prompts), Y] log-probabilities of every reply under a model, and the mean mass outside the set."""
        ids = language.prompt_ids(self.world, tokenizer)[prompts]
        return exact.enumerate_logps(model, ids, language.choice_ids(self.world, tokenizer), language.EOS)

    def score(
        self,
        policy: Path,
        kind: str,
        weights: Mapping[str, float] | None,
        split: str,
        needs: Mapping[str, Path],
    ) -> Scores:
        """Exact expected rewards of a policy per prompt, and how it stands to the optimum at its weights."""
        prompts = self.world.split(split)
        logps, outside = self._enumerate_policy(policy, prompts, needs)
        rewards = self.world.rewards()[:, prompts]
        facts: dict[str, Any] = {"outside_mass" if split == "selection" else "outside_mass_heldout": outside}
        stored = json.loads((policy / "policy.json").read_text())
        ref_logps, mark = self._ref_logps(needs)[prompts], "" if split == "selection" else "_heldout"
        facts[f"kl{mark}_nats"] = float(exact.kl(logps, ref_logps).mean())
        if weights is not None and stored.get("beta"):
            w = self.objectives.vector(weights)
            own = exact.standing(logps, ref_logps, rewards, w, stored["beta"])
            facts |= {f"kl_to_exact{mark}_nats": own.kl_to_exact_nats, f"optimality{mark}": own.optimality}
        if split == "heldout":
            facts["text"] = self._text_facts(logps)
            if self.groups or self.importance == "planted":
                facts["groups"] = group_figures(self.world, prompts, logps, ref_logps)
        return Scores(exact.values(logps, rewards), prompts.astype(str), split, facts)

    def samples(
        self, policy: Path, kind: str, needs: Mapping[str, Path], n: int
    ) -> Sequence[Mapping[str, Any]]:
        """One reply to each of the first n held-out prompts, drawn with the same random numbers for every policy."""
        prompts = self.world.split("heldout")[:n]
        logps, _ = self._enumerate_policy(policy, prompts, needs)
        draw = rng.generator("lab", self.seed, "samples")
        chosen = [int((np.cumsum(np.exp(row)) < draw.random()).sum()) for row in logps]
        rewards = self.world.rewards()
        return [
            {
                "prompt": language.prompt_text(self.world.prompts[p]),
                "response": language.response_text(self.world.responses[y]),
                "rewards": self.objectives.named(rewards[:, p, y]),
            }
            for p, y in zip(prompts, np.minimum(chosen, logps.shape[1] - 1))
        ]

    def exact(
        self, policies: Sequence[Mapping[str, Any]], ref_point: np.ndarray, needs: Mapping[str, Path]
    ) -> Mapping[str, Any] | None:
        """The exact front beside the trained one, on held-out prompts and on those trained on."""
        known = [p for p in policies if p.get("kl_nats") is not None and p["weights"] is not None]
        if not known:
            return None
        # a method that does not aim at an optimum of some beta is compared at its own strength, and has no optimality
        aimed = all(p.get("optimality") is not None for p in known)
        weights = np.array([self.objectives.vector(p["weights"]) for p in known])
        blocks = {}
        for split, values, divergence in (
            ("heldout", [p["values"] for p in known], "kl_heldout_nats"),
            ("selection", [p["selection"]["values"] for p in known], "kl_nats"),
        ):
            prompts = self.world.split(split)
            blocks[split] = exact.compare_fronts(
                np.array([self.objectives.vector(v) for v in values]),
                weights,
                float(np.mean([p[divergence] for p in known])),
                ref_point,
                self._ref_logps(needs)[prompts],
                self.world.rewards()[:, prompts],
            )
        return {
            "source": "enumeration",
            **blocks["heldout"],
            **{n: float(np.mean([p[n] for p in known])) if aimed else None for n in MEASURES},
            "beta_trained": known[0].get("beta"),
            "trained_on": blocks["selection"],
        }

    def _enumerate_policy(
        self, policy: Path, prompts: np.ndarray, needs: Mapping[str, Path]
    ) -> tuple[np.ndarray, float]:
        reference, tokenizer = self.load_reference(needs["reference"], "cpu", "float32")
        return self.enumerate(load_policy(reference, policy), prompts, tokenizer)

    def _ref_logps(self, needs: Mapping[str, Path]) -> np.ndarray:
        with np.load(needs["reference"] / "enumerated.npz", allow_pickle=False) as z:
            return z["ref_logps"]

    def _text_facts(self, logps: np.ndarray) -> dict[str, float]:
        """Length (with the end token), entropy per reply, and distinct word pairs of 256 sampled replies."""
        draw = rng.generator("lab", self.seed, "distinct")
        p = np.exp(logps)
        rows = draw.integers(len(p), size=256)
        texts = [
            language.response_text(self.world.responses[draw.choice(p.shape[1], p=p[r] / p[r].sum())]).split()
            for r in rows
        ]
        bigrams = [b for words in texts for b in pairwise(words)]
        return {
            "length_tokens": float(self.slots + 1),
            "entropy_nats": float(-(p * logps).sum(-1).mean()),
            "distinct_2": len(set(bigrams)) / len(bigrams),
        }
