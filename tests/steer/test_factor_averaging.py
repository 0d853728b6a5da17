"""Averaged factors: the vertices of `soup`, another model between, under both of its names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from tests.models import adapters_by_hand as by_hand
from tests.steer.conftest import record

PROMPTS, REPLIES = ["the cat", "rain"], [" sat on a mat", " fell"]


def test_it_meets_the_soup_at_the_vertices_only(adapter_run):
    averaged = adapter_run.steer([0.5, 0.5], method="factor_averaging")
    exact = adapter_run.steer([0.5, 0.5], method="soup")
    for vertex in ([1, 0], [0, 1]):
        np.testing.assert_allclose(
            averaged.logps(PROMPTS, REPLIES, weights=vertex),
            exact.logps(PROMPTS, REPLIES, weights=vertex),
            rtol=2e-6,
        )
    assert abs(averaged.logps(PROMPTS, REPLIES) - exact.logps(PROMPTS, REPLIES)).max() > 1e-3
    assert averaged.describe().startswith("factor_averaging: 0.5 x h")
    assert averaged.digest != exact.digest  # prefixes are never shared between the two
    assert STEERERS.get("soup_factors") is STEERERS.get("factor_averaging")


def test_factors_without_an_average_are_refused(adapter_run, model_run, tmp_path):
    with pytest.raises(UsageError, match="use method 'soup'"):
        model_run.steer([0.5, 0.5], method="factor_averaging")
    by_hand.write_reference(tmp_path / "prerequisites" / "base")
    by_hand.write_ours(tmp_path / "policies" / "h", 0, r=2)
    by_hand.write_ours(tmp_path / "policies" / "b", 1, r=3)
    rows = (record(tmp_path, "h", "adapter", (1.0, 0.0)), record(tmp_path, "b", "adapter", (0.0, 1.0)))
    run = dataclasses.replace(adapter_run, folder=tmp_path, records=rows)
    assert isinstance(run, PolicySet)
    with pytest.raises(UsageError, match="one rank and one scale"):
        run.steer([0.5, 0.5], method="factor_averaging")
