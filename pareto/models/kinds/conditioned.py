"""Policies stored as a backbone with a weight-conditioned head, at the policy's weights."""

from __future__ import annotations

from pareto.models.stored import load_text_policy
from pareto.policy_set import LOADERS

LOADERS.register("conditioned", source="this suite; safetensors beside PEFT's or Hugging Face's layout")(
    load_text_policy
)
