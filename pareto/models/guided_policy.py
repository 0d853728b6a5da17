"""A policy whose replies are guided by reward models, under weights that act through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from pareto.data.texts import Text
from pareto.errors import UsageError
from pareto.models.generate import Sampling
from pareto.models.guided import Guidance, JudgedReply, guided_replies
from pareto.models.reward_models.vector import ReplyRewards
from pareto.models.text_policy import DecodablePolicy
from pareto.objectives import Objectives


@final
@dataclass(frozen=True, eq=False)
class GuidedPolicy:
    """Any decodable policy, guided; implements `TextPolicy` but for log-probabilities, which a choice among draws has not.

    Args:
        policy: what candidates are drawn from.
        rewards: scores of replies so far, in the order of the objectives.
        objectives: of the run.
        weights: [m] where a call gives none.
        guidance: how candidates are drawn and judged.
    """

    policy: DecodablePolicy
    rewards: ReplyRewards
    objectives: Objectives
    weights: np.ndarray
    guidance: Guidance

    def generate(
        self,
        prompts: Sequence[Text],
        *,
        weights: np.ndarray | None = None,
        max_new_tokens: int = 64,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> list[str]:
        """One reply per prompt; the reply to a prompt does not depend on its neighbours in the batch.

        Args:
            prompts: strings or chats.
            weights: [m] for all prompts or [B, m]; None takes the policy's own.
            max_new_tokens: longest reply, end token included.
            seed: of all draws.
            temperature: divides the logits of candidates.
            top_p: draw from the likeliest tokens whose probabilities reach this sum.
        """
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=float(temperature), top_p=float(top_p))
        return [r.text for r in self.replies(prompts, sampling, weights=weights, seed=seed)]

    def replies(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        weights: np.ndarray | None = None,
        seed: int = 0,
    ) -> list[JudgedReply]:
        """Replies with their tokens, their scores and how many tokens were drawn for them; arguments as in `generate`."""
        w = self.weights if weights is None else np.asarray(weights, dtype=np.float64)
        return guided_replies(self.policy, prompts, self.rewards, w, self.guidance, sampling, seed=seed)

    def logps(self, prompts: Sequence[Text], responses: Sequence[Text]) -> np.ndarray:
        """Refuse: the probability that a reply is chosen is a sum over all draws it could have been chosen from.

        Raises:
            UsageError: always; says what has log-probabilities.
        """
        raise UsageError(
            "a guided policy has no log-probabilities in closed form; those of the policy it guides are `policy.logps`"
        )

    def describe(self) -> str:
        """What is served, in words."""
        told = ", ".join(f"{n}={w:.4g}" for n, w in self.objectives.named(self.weights).items())
        return f"guided: best of {self.guidance.candidates} steps by {self.guidance.rule} under {told}"
