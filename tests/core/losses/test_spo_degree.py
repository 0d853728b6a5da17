"""Preference degrees: its formula, its limits, a classifier that knows nothing at first."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pareto.core.losses.base import Degraded
from pareto.core.losses.dpo import dpo
from pareto.core.losses.module import Setting
from pareto.core.losses.spo_degree import DegreeClassifier, spo_degree
from pareto.errors import ConfigError, DataError
from tests.core.losses.pairs import columns, random_pairs, sigmoid


def test_the_formula():
    logits = torch.linspace(-2, 2, 7 * 9, dtype=torch.float64).sin().view(7, 3, 3)
    pairs = random_pairs(degraded=Degraded(torch.zeros(7, 3, 1), logits))
    for b, ((c, r, *_), value) in enumerate(
        zip(columns(pairs), spo_degree(pairs, beta=0.2, gamma=0.4).tolist())
    ):
        wrong = 0.0
        for text in range(3):
            row = [math.exp(x) for x in logits[b, text].tolist()]
            wrong -= math.log(row[text] / sum(row)) / 3
        assert value == pytest.approx(-math.log(sigmoid(0.2 * (c - r))) + 0.4 * wrong, rel=1e-9)


def test_a_new_classifier_gives_every_degree_the_same_chance():
    module = DegreeClassifier(Setting(1, n_degrees=4, n_features=2))
    features = torch.randn(7, 4, 2, generator=torch.Generator().manual_seed(0))
    pairs = module.complete(random_pairs(dtype=torch.float32, degraded=Degraded(features)), {})
    extra = spo_degree(pairs, gamma=0.5) - dpo(pairs)
    assert extra.tolist() == pytest.approx([0.5 * math.log(4)] * 7, rel=1e-5)
    assert spo_degree(pairs, gamma=0.0).tolist() == dpo(pairs).tolist()


def test_it_learns_and_teaches_the_features():
    module = DegreeClassifier(Setting(1, n_degrees=2, n_features=1, seed=2))
    features = torch.tensor([[[0.0], [-1.0]], [[0.1], [-1.2]]], requires_grad=True)
    pairs = random_pairs(2, dtype=torch.float32, degraded=Degraded(features))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        spo_degree(module.complete(pairs, {}), gamma=1.0).sum().backward()
        optimizer.step()
    assert module(features).argmax(-1).tolist() == [[0, 1], [0, 1]]
    assert features.grad.abs().sum() > 0


def test_what_is_missing_is_said():
    with pytest.raises(ConfigError, match="degraded_examples"):
        DegreeClassifier(Setting(1))
    with pytest.raises(DataError, match="DegreeClassifier"):
        spo_degree(replace(random_pairs(), degraded=Degraded(torch.zeros(7, 3, 1))))
