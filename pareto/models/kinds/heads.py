"""Policies stored as a backbone with action heads, mixed at the policy's weights."""

from __future__ import annotations

from pareto.models.stored import load_text_policy
from pareto.policy_set import LOADERS

LOADERS.register("heads", source="Li et al. (2025), arXiv 2510.01167; safetensors beside PEFT's layout")(
    load_text_policy
)
