"""The lab's true rewards of replies so far: what each phrase adds, summed up to the last one there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from pareto.data.texts import Text, plain
from pareto.errors import DataError
from pareto.tasks.lab import language
from pareto.tasks.lab.task import Lab


@final
class StepRewards:
    """Exact rewards of replies to the lab's prompts, finished or not.

    Args:
        lab: the task.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab, self._world = lab, lab.world
        self._tokenizer: Any = language.make_tokenizer(lab.world)
        self._prompt = {language.prompt_text(p): i for i, p in enumerate(lab.world.prompts)}
        ids = language.choice_ids(lab.world, self._tokenizer)
        self._choice = [{int(t): c for c, t in enumerate(row)} for row in ids]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return self._lab.objectives.names

    def of_replies(self, prompts: Sequence[Text], replies: Sequence[str]) -> np.ndarray:
        """[B, m] rewards of the phrases so far; from the first word that is no phrase of its slot on nothing is added.

        Raises:
            DataError: a prompt that the lab does not know.
        """
        return np.stack([self.of_steps(p, r).sum(0) for p, r in zip(prompts, replies)])

    def of_steps(self, prompt: Text, reply: str) -> np.ndarray:
        """[n, m] what each of the n phrases of a reply adds."""
        if plain(prompt) not in self._prompt:
            raise DataError(f"the lab has no prompt {plain(prompt)!r:.80}")
        p, world = self._prompt[plain(prompt)], self._world
        choices: list[int] = []
        for slot, token in zip(self._choice, self._tokenizer(reply, add_special_tokens=False)["input_ids"]):
            if token not in slot:
                break
            choices.append(slot[token])
        rewards = np.zeros((len(choices), world.m))
        for s, c in enumerate(choices):
            rewards[s] = world.unary[:, p, s, c]
            if s:
                rewards[s] += world.neighbours[:, s - 1, choices[s - 1], c]
        return rewards
