"""Policies trained under the weights of each prompt, with the orchestrator that gave those."""

from __future__ import annotations

from pareto.models.stored import load_text_policy
from pareto.policy_set import LOADERS

LOADERS.register(
    "orchestrator",
    source="Preference Orchestrator, arXiv 2511.10656; a policy in PEFT's layout or whole, safetensors of the network beside it",
)(load_text_policy)
