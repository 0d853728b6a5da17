"""Policies stored as all weights of a fine-tuned model."""

from __future__ import annotations

from pareto.models.stored import load_text_policy
from pareto.policy_set import LOADERS

LOADERS.register("model", source="Hugging Face layout")(load_text_policy)
