"""A stored reward model of this suite as a named reward."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import PrivateAttr

from pareto.errors import ConfigError, did_you_mean
from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction


@REWARDS.register("reward_model", source="this suite: pareto.models.reward_models")
class StoredRewardModel(Reward):
    """Score a reply by one objective of a reward model that `RewardModel.save` wrote.

    Args:
        folder: of the reward model.
        base: folder of the model that its backbone is or started from.
        objective: which of its numbers; None where it has one.
    """

    direction: ClassVar[Direction] = "max"
    unit: ClassVar[str] = "reward"
    folder: str
    base: str
    objective: str | None = None
    _loaded: Any = PrivateAttr(default=None)

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] number at the end of each reply.

        Raises:
            ConfigError: the reward model has no such objective.
        """
        from pareto.core.device import resolve_device
        from pareto.models.reward_models.model import load_reward_model

        if self._loaded is None:
            self._loaded = load_reward_model(
                Path(self.folder), Path(self.base), device=resolve_device("auto")
            )
        names = self._loaded.form.objectives
        name = names[0] if self.objective is None and len(names) == 1 else self.objective
        if name not in names:
            raise ConfigError(
                f"reward_model.objective must be one of {', '.join(names)}; got {self.objective!r}"
                f"{did_you_mean(str(self.objective), names)}"
            )
        if not replies:
            return np.zeros(0)
        return self._loaded.of_replies(prompts, replies)[:, names.index(name)]
