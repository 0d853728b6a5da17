"""A weight-conditioned model where a mixture is expected: its coefficients are the weights themselves."""

from __future__ import annotations

from typing import Any, final

import torch

from pareto.errors import ArtifactError
from pareto.models.conditioned import ConditionedHead, set_weights
from pareto.models.heads import base_of
from pareto.models.mixing import Mixture


@final
class ConditionedMixture(Mixture):
    """One model, told the weights of every row.

    Args:
        model: with a `ConditionedHead`; hidden states reach it as [B, ..., d].

    Raises:
        ArtifactError: another head.
    """

    def __init__(self, model: Any) -> None:
        base = base_of(model)
        head = base.get_output_embeddings()
        if not isinstance(head, ConditionedHead):
            raise ArtifactError(f"expected a weight-conditioned head; the model has a {type(head).__name__}")
        super().__init__(base, head.gate.m)
        self._head = (head,)  # a tuple: it is a part of the model already
        if head.weights is not None:
            self._now = torch.atleast_2d(head.weights).double()

    def _mixed(self, **inputs: Any) -> Any:
        return self.model(**inputs)

    def _changed(self) -> None:
        set_weights(self._head[0], self._now[0] if len(self._now) == 1 else self._now)
