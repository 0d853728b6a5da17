"""Policies stored as several policies whose next-token distributions are mixed."""

from __future__ import annotations

from pareto.models.stored import load_text_policy
from pareto.policy_set import LOADERS

LOADERS.register("decoding", source="Shi et al. (2024), arXiv 2406.18853")(load_text_policy)
