"""A softmax bandit as a causal model: prompts and replies of one token, a row of logits for every prompt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pareto.core.logps import response_logps, sums
from pareto.core.loop import Hooks, TrainConfig, TrainResult
from pareto.core.objective import Objective
from pareto.core.procedures.base import Job, PairData
from pareto.data.pairs import Ragged, ResponseTable
from tests.core import small

PROMPTS, REPLIES = 4, 5
BETA = 0.5
_draw = np.random.default_rng(0)
REWARDS = _draw.normal(size=(PROMPTS, REPLIES))
START = _draw.normal(size=(PROMPTS, REPLIES))


class Tabular(nn.Module):
    """Next-token logits looked up by the last token; tokens 0..P-1 are prompts, P..P+Y-1 replies."""

    def __init__(self):
        super().__init__()
        size = PROMPTS + REPLIES
        table = torch.full((size, size), -30.0)
        table[:PROMPTS, PROMPTS:] = torch.from_numpy(START).float()
        self.table = nn.Parameter(table)
        text = SimpleNamespace(vocab_size=size, pad_token_id=0)
        self.config = SimpleNamespace(pad_token_id=0, get_text_config=lambda: text)

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.table[input_ids])

    def log_policy(self):
        """[P, Y] float64."""
        return self.table.detach()[:PROMPTS, PROMPTS:].double().log_softmax(-1).numpy()


def all_pairs():
    """Every ordered pair of different replies to every prompt, with its Bradley-Terry probability."""
    replies = np.tile(np.arange(PROMPTS, PROMPTS + REPLIES), PROMPTS)
    owners = np.repeat(np.arange(PROMPTS), REPLIES)
    table = ResponseTable(Ragged.of([[p] for p in range(PROMPTS)]), Ragged.of(replies[:, None]), owners)
    p, a, b = (x.ravel() for x in np.indices((PROMPTS, REPLIES, REPLIES)))
    p, a, b = p[a != b], a[a != b], b[a != b]
    gap = REWARDS[p, a] - REWARDS[p, b]
    examples = np.column_stack([p * REPLIES + a, p * REPLIES + b])
    keep = gap > 0  # each pair once, better reply first
    return PairData(table, examples[keep], 1 / (1 + np.exp(-gap[keep])), gap[keep])


def dpo_maker(beta=BETA):
    """DPO on soft labels, by hand."""

    def make(data, reference):
        ref = torch.from_numpy(sums(data.table, reference)[data.examples]).float()
        target = (
            torch.ones(len(data.examples)) if data.target is None else torch.from_numpy(data.target).float()
        )

        def loss(scored):
            ratio = scored.logps - ref[scored.index]
            logit, t = beta * (ratio[:, 0] - ratio[:, 1]), target[scored.index]
            return -t * F.logsigmoid(logit) - (1 - t) * F.logsigmoid(-logit), {}

        return Objective(loss)

    return make


CONVERGED = TrainConfig(steps=1200, batch_size=10**6, lr=0.05, clip=100.0, warmup=0.0, log_every=200)


def tabular_job(folder, **more):
    """All pairs of the bandit."""
    model, data = Tabular(), all_pairs()
    return Job(
        **{
            "model": model,
            "data": data,
            "reference": response_logps(model, data.table),
            "objective": dpo_maker(),
            "training": CONVERGED,
            "folder": folder,
            "first_loss": float(np.log(2)),
            **more,
        }
    )


def tilt(strength):
    """[P, Y] log of ref * exp(strength * r / beta) / Z."""
    z = START + strength * REWARDS / BETA
    return z - np.logaddexp.reduce(z, axis=-1, keepdims=True)


MODELS = {
    "full": lambda: small.llama(num_hidden_layers=1),
    "adapter": lambda: small.with_lora(small.llama(num_hidden_layers=1), warm=False, dropout=0.1),
}
SHORT = TrainConfig(steps=9, batch_size=4, lr=0.01, log_every=1, checkpoint_every=1)


def llama_job(folder, kind="full", **more):
    """A real architecture on twelve ragged pairs of four prompts."""
    table = small.table((3, 1, 7, 2), ((1, 4, 2), (6, 1, 1), (3, 9, 5), (2, 2, 8)))
    examples = np.array([[3 * p + a, 3 * p + b] for p in range(4) for a, b in ((0, 1), (2, 0), (1, 2))])
    model = MODELS[kind]()
    data = PairData(table, examples, gap=np.array([3, 1, 2, 0.5, 6, 4, 1.5, 2.5, 3.5, 5, 4.5, 0.1]))
    return Job(
        **{
            "model": model,
            "data": data,
            "reference": response_logps(model, table),
            "objective": dpo_maker(),
            "training": SHORT,
            "folder": folder,
            "first_loss": float(np.log(2)),
            "seed": 1,
            **more,
        }
    )


def weights(model):
    """Copies of all parameters that are trained."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def same(one, other):
    """Whether two sets of tensors are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def shaken(draw):
    """Stands for a loop that moves the trained factors at random."""

    def train(model, *_, **__):
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    assert ".default." in name
                    p.add_(0.3 * torch.randn(p.shape, generator=draw))
        return TrainResult(1, 0)

    return train


def dense(model):
    """Name -> weight of every adapted layer with all active adapters added in, float64, by B A * scale."""
    return {
        name: layer.base_layer.weight.detach().double()
        + sum(
            layer.lora_B[a].weight.detach().double()
            @ layer.lora_A[a].weight.detach().double()
            * layer.scaling[a]
            for a in layer.active_adapters
        )
        for name, layer in adapted_layers(model)
    }


def adapted_layers(model) -> list[tuple[str, Any]]:
    """(name, layer) of every layer with an adapter."""
    from peft.tuners.lora import LoraLayer

    return [(n, m) for n, m in model.base_model.model.named_modules() if isinstance(m, LoraLayer)]


class KilledError(Exception):
    """Stands for a process that ends."""


def killed_after(steps):
    """Hooks under which a run ends after so many logged steps."""
    seen = []

    def stop(figures):
        seen.append(figures)
        if len(seen) == steps:
            raise KilledError

    return Hooks(callbacks=(stop,))
