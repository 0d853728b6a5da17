"""Learned parts and state of losses, kept apart from the losses, which stay pure functions.

A loss whose inputs have to be learned (masks, a classifier) or remembered (labels that move) is a pure function of a
batch that carries them. Its module puts them there: `complete` adds columns to a batch, with gradients into the module's
parameters, and `advance` moves the state on after a training step, without. Parameters and buffers are all there is:
`state_dict` holds plain tensors and belongs into every checkpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pareto.core.losses.base import PairLogps
from pareto.registry import Registry


@dataclass(frozen=True)
class Setting:
    """What a module has to know of the run it is made for.

    Args:
        n_examples: examples of the data set; `PairLogps.example_id` lies in 0..n_examples - 1.
        reference: the reference model, live (`pareto.core.token_extras.LiveReference`), or None where there is none.
        n_degrees: degraded texts of an example, the whole response included.
        n_features: pooled figures of each of them.
        seed: of the parameters' first values.
    """

    n_examples: int
    reference: Any = None
    n_degrees: int = 0
    n_features: int = 0
    seed: int = 0


class LossModule(nn.Module, ABC):
    """Learned part and state of one loss. Final classes take a `Setting` and their hyper-parameters by keyword."""

    def token_extras(self) -> Mapping[str, Any]:
        """Name -> `TokenExtra` that the module wants worked out with the logits; none unless a module says so."""
        return {}

    @abstractmethod
    def complete(self, pairs: PairLogps, extras: Mapping[str, Any]) -> PairLogps:
        """The batch with the columns that this module makes.

        Args:
            pairs: log-probabilities of B pairs.
            extras: what the module's own token extras gave, as (chosen [B, T], rejected [B, T]) by name.
        """

    @abstractmethod
    def advance(self, pairs: PairLogps) -> None:
        """Move the state on after a training step on a completed batch; called without gradients."""


LOSS_MODULES: Registry[type[LossModule]] = Registry("loss module", "pareto.core.losses")
"""Modules under the names of their losses."""
