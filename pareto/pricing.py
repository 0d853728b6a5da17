"""What a cell will cost, said before anything is made.

Steps and tokens follow from settings. Whoever knows better than `settings_price` says so; every one of these is optional
and found by its name:

- a method's ``price(cell, task) -> Cost``: what fitting one of its cells takes;
- the ``env_steps_per_s`` of a method, or of that part of its settings that has its `total_steps`: how many environment steps
  it takes in a second on one thread, where that is far from what other agents do;
- a method's ``policies``: how many policies a cell makes at most, where that is not one per weight vector;
- a task's ``price(cell) -> Cost``: what making a cell of its own takes;
- a task's ``score_price() -> Cost``: what measuring one policy takes, at most;
- a task's ``sizes() -> TextSizes | None``: how much text there is to train on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pareto.cells import Cell, Cost

PARTS = ("experience", "rollouts")
"""Names of settings that may hold a method's `total_steps`."""


@dataclass(frozen=True)
class TextSizes:
    """A text task's training data and model.

    Args:
        pairs: preference pairs.
        replies: different responses in them, about.
        prompt_tokens: mean length of a prompt.
        response_tokens: mean length of a response, its end included.
        parameters: of the model, or None where that is not known.
    """

    pairs: int
    replies: int
    prompt_tokens: float
    response_tokens: float
    parameters: int | None = None

    def of_pairs(self, n: int) -> int:
        """Tokens of n pairs: a prompt once, two responses."""
        return round(n * (self.prompt_tokens + 2 * self.response_tokens))

    def of_replies(self, n: int) -> int:
        """Tokens of n single replies behind their prompts."""
        return round(n * (self.prompt_tokens + self.response_tokens))


def examples_seen(training: Mapping[str, Any], n: int) -> int:
    """How many examples a training goes through: its steps, or full batches of n examples for its epochs.

    Args:
        training: settings of `pareto.core.optimizer.TrainConfig`.
        n: examples there are.
    """
    batch = max(1, min(training["batch_size"], n))
    steps = training.get("steps") or max(1, math.ceil(training.get("epochs", 1.0) * (n // batch)))
    return steps * batch


def settings_price(settings: Mapping[str, Any], sizes: TextSizes | None) -> Cost:
    """What follows from the settings of a cell alone: `total_steps` of an environment, or a `training` on pairs.

    Both are looked for in the settings themselves, then in the part named "method" and in `PARTS`. A
    share of the steps, as cells that start from others or stop half-way have it, counts.
    """
    found = next((part for part in _parts(settings) if "total_steps" in part or "training" in part), None)
    if found is None:
        return Cost()
    if "total_steps" in found:
        return Cost(env_steps=found["total_steps"])
    if sizes is None or not isinstance(found["training"], Mapping):
        return Cost()
    seen = examples_seen(found["training"], sizes.pairs)
    return Cost(train_tokens=round(sizes.of_pairs(seen) * settings.get("share", 1.0)))


def _parts(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found, places = [settings], [settings]
    while places:
        place = places.pop()
        inner = [place[k] for k in ("method", *PARTS) if isinstance(place.get(k), Mapping)]
        found += inner
        places += inner
    return found


def fit_price(cell: Cell, task: Any, method: Any, sizes: TextSizes | None) -> Cost:
    """What fitting a cell takes; see the head of this file."""
    if cell.maker == "task":
        return task.price(cell) if hasattr(task, "price") else Cost()
    if hasattr(method, "price"):
        return method.price(cell, task)
    return settings_price(cell.spec, sizes)


def env_steps_per_s(method: Any, usual: float) -> float:
    """How fast a method goes; `usual` where it does not say."""
    said = [
        getattr(part, "env_steps_per_s", None)
        for part in (method, *(getattr(method, k, None) for k in PARTS))
    ]
    return next((speed for speed in said if speed is not None), usual)


def policies_of(cell: Cell, method: Any) -> int:
    """How many policies of a cell are measured, at most."""
    if cell.role == "prerequisite":
        return 0
    if isinstance(most := getattr(method, "policies", None), int):
        return most
    several = cell.spec.get("front") or cell.spec.get("weights") or ()
    return max(1, len(several))
