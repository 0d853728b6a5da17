"""Networks of agents by name: functions that build a torch module for a shape of observations.

One of your own is registered by the module that makes it and named in the config (`ppo: {network: mine}`); sweeps load the
module with `--import mymodule`, Python by importing it:

    @NETWORKS.register("mine", source="...")
    def mine(shape: tuple[int, ...], n_outputs: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(shape[0], 32), torch.nn.ReLU(), torch.nn.Linear(32, n_outputs))

The module maps [B, *shape] float32, normalised, to [B, n_outputs]: logits or means as an actor, one value per objective as a
critic. It must do without buffers that change (batch statistics) and without chance (dropout). A stored policy keeps the name
and the parameters, never code, so that loading one needs the same registration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pareto.registry import Registry

NETWORKS: Registry[Callable[[tuple[int, ...], int], Any]] = Registry(
    "network", "pareto.models.policy_networks"
)
