"""Policies stored as a PEFT adapter on the run's reference model."""

from __future__ import annotations

from pareto.models.stored import load_text_policy
from pareto.policy_set import LOADERS

LOADERS.register("adapter", source="PEFT layout, Hu et al. (2021)")(load_text_policy)
