"""A loss with a learned part: a temperature that is trained, and a target by example that each step moves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from pareto.core.objective import Objective


class Learned(nn.Module):
    def __init__(self, n, lr=None):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)
        self.register_buffer("target", torch.full((n,), 0.9))
        self.register_buffer("visits", torch.zeros(n, dtype=torch.int64))
        if lr is not None:
            self.lr = lr


def learned_dpo(reference, lr=None):
    """DPO whose targets follow the policy: each step depends on the state the steps before left."""
    module = Learned(len(reference), lr)

    def loss(scored):
        ratio = scored.logps - reference[scored.index]
        gap = 0.5 * module.log_scale.exp() * (ratio[:, 0] - ratio[:, 1])
        target = module.target[scored.index]
        values = -target * F.logsigmoid(gap) - (1 - target) * F.logsigmoid(-gap)
        with torch.no_grad():
            module.target[scored.index] = 0.8 * target + 0.2 * gap.sigmoid()
            module.visits[scored.index] += 1
        return values, {"target": target}

    return Objective(loss, module=module)


def state(objective):
    return {n: t.clone() for n, t in objective.module.state_dict().items()}
