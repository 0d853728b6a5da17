"""Named scorers of replies: built-in rules, Hugging Face classifiers, a user's own function.

A reward is a frozen configuration with a direction, a unit and `score(prompts, replies) -> [B]`. Adding one is adding a
file here, or in a module of one's own that is named with ``--import``::

    from pareto.models.rewards import reward

    @reward("politeness", direction="max", unit="share")
    def politeness(prompts, replies):
        return [float("please" in reply) for reply in replies]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, PlainSerializer, ValidationError

from pareto.config import Config
from pareto.errors import ConfigError, NumericsError, ShapeError
from pareto.objectives import Direction
from pareto.registry import Registry


class Reward(Config, ABC):
    """What scores replies; a subclass is its own configuration."""

    direction: ClassVar[Direction] = "max"
    unit: ClassVar[str] = "reward"

    @abstractmethod
    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] one finite number per reply, in the reward's own direction and unit."""

    def bind(self, tokenizer: Any) -> Reward:
        """The reward for a policy with this tokenizer; most do not care."""
        return self


REWARDS: Registry[type[Reward]] = Registry("reward", "pareto.models.rewards")


def reward(
    name: str, *, direction: Direction = "max", unit: str = "reward", source: str = "a function of the user's"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function ``(prompts, replies) -> [B]`` as a reward without settings."""

    def file(function: Callable[..., Any]) -> Callable[..., Any]:
        def score(self: Reward, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
            return np.asarray(function(prompts, replies), dtype=np.float64)

        body = {"score": score, "direction": direction, "unit": unit, "__doc__": function.__doc__}
        annotations = {"direction": ClassVar[Direction], "unit": ClassVar[str]}
        made = type(
            function.__name__,
            (Reward,),
            {**body, "__annotations__": annotations, "__module__": function.__module__},
        )
        REWARDS.register(name, source=source)(made)
        return function

    return file


def build_reward(spec: Mapping[str, Any]) -> Reward:
    """A reward from ``{"name": ..., its settings}``.

    Raises:
        ConfigError: no name, or settings that the reward does not take.
        UnknownNameError: no such reward.
    """
    if not isinstance(spec.get("name"), str):
        raise ConfigError(f"a reward needs a name; got {dict(spec)!r}; known: {', '.join(REWARDS.names())}")
    found = REWARDS.get(spec["name"])
    try:
        return found.model_validate({k: v for k, v in spec.items() if k != "name"})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (spec["name"], *first["loc"])))
        raise ConfigError(f"reward {where}: {first['msg']}; got {str(first['input'])[:60]!r}") from error


def evaluate(scorer: Reward, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
    """[B] float64 scores, checked.

    Raises:
        ShapeError: another number of scores than replies.
        NumericsError: a score that is not finite, with the reply it belongs to.
    """
    name = type(scorer).__name__
    scores = np.asarray(scorer.score(prompts, replies), dtype=np.float64)
    if scores.shape != (len(replies),):
        raise ShapeError(
            f"reward {name} must give one number for each of {len(replies)} replies; got {scores.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise NumericsError(
            f"reward {name} gave {scores[bad[0]]} for reply {bad[0]} ({replies[bad[0]][:60]!r}) and for "
            f"{len(bad) - 1} more; rewards must be finite"
        )
    return scores


def _spec(value: Any) -> Any:
    """``"words"`` is short for ``{"name": "words"}``; what the registry does not take is refused where it is written."""
    value = {"name": value} if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        raise ValueError(f"a reward must be a name or a mapping with 'name'; got {value!r}")
    build_reward(value)
    return dict(value)


RewardSpec = Annotated[dict[str, Any], BeforeValidator(_spec), PlainSerializer(dict)]
"""A reward in a configuration: its name, or a mapping of its name and settings."""
