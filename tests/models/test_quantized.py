"""A frozen base in 4 or 8 bits under a LoRA: it scores, it trains, and only the adapter moves."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pareto.core.logps import response_logps, sums
from pareto.core.loop import TrainConfig, train
from pareto.core.objective import Objective
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ConfigError, MissingPackageError
from pareto.models.adapters import FullFineTuning, LoRA, attach
from pareto.models.causal import load_causal_lm
from tests.models import tiny

TABLE = ResponseTable(
    Ragged.of([[1, 5, 9], [1, 7]]),
    Ragged.of([[20, 30, 2], [40, 2], [50, 60, 2], [2]]),
    np.array([0, 0, 1, 1]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.llama(hidden=64).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def test_without_bitsandbytes_one_error_names_it(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"a base model in 4bit needs the package 'bitsandbytes'"):
        load_causal_lm(folder, quantize="4bit")


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_adapters_are_trained_on_a_quantised_base(quantize, folder):
    pytest.importorskip("bitsandbytes")
    plain = sums(TABLE, response_logps(load_causal_lm(folder)[0], TABLE))
    base, _ = load_causal_lm(folder, quantize=quantize)
    reference = sums(TABLE, response_logps(base, TABLE))
    assert 0 < np.abs(reference - plain).max() < 0.5
    with pytest.raises(ConfigError, match=r"cannot be trained; put an adapter"):
        attach(base, FullFineTuning(), seed=0)
    model = attach(base, LoRA(r=2, alpha=4), seed=0)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert any(p.dtype in (torch.uint8, torch.int8) for p in frozen.values())
    examples = np.array([[0, 1], [2, 3]])
    ref = torch.from_numpy(reference[examples]).float()

    def dpo(scored):
        ratio = scored.logps - ref.to(scored.logps.device)[scored.index]
        return -F.logsigmoid(ratio[:, 0] - ratio[:, 1]), {}

    config = TrainConfig(steps=20, batch_size=2, lr=0.02, log_every=20)
    result = train(model, TABLE, examples, Objective(dpo), config, seed=0, first_loss=math.log(2))
    assert result.figures["loss"] < 0.9 * math.log(2)
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
