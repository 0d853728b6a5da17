"""What `auto` serves: what was measured, then what can be mixed exactly, then what is nearest."""

from __future__ import annotations

import dataclasses

import pytest

from pareto.errors import UsageError
from pareto.models.mixed_policy import MixedPolicy
from pareto.models.text_policy import TransformersPolicy
from pareto.steer.auto import choose
from pareto.steer.members import barycentric


def test_measured_then_mixed_then_nearest(adapter_run):
    assert isinstance(adapter_run.steer([0.5, 0.5]), TransformersPolicy)
    assert "exactly these weights" in choose(adapter_run, adapter_run.check_weights([0.5, 0.5])).why
    mixed = adapter_run.steer([0.9, 0.1])
    assert isinstance(mixed, MixedPolicy)
    assert mixed.shares == pytest.approx({"h": 0.8, "half": 0.2})
    others = dataclasses.replace(
        adapter_run, records=tuple(dataclasses.replace(r, kind="agent") for r in adapter_run)
    )
    choice = choose(others, others.check_weights([0.9, 0.1]))
    assert choice.method == "nearest"
    assert "kind 'agent', which has no exact mixture" in choice.why
    heads = dataclasses.replace(
        adapter_run, records=tuple(dataclasses.replace(r, kind="heads") for r in adapter_run)
    )
    assert choose(heads, heads.check_weights([0.9, 0.1])).method == "heads"
    told = dataclasses.replace(
        adapter_run, records=tuple(dataclasses.replace(r, kind="prompt") for r in adapter_run)
    )
    assert choose(told, told.check_weights([0.9, 0.1])).method == "prompt"
    few = dataclasses.replace(adapter_run, records=adapter_run.records[:2])
    choice = choose(few, few.check_weights([0.1, 0.9]))
    assert choice.method == "nearest"
    assert "do not enclose" in choice.why
    assert isinstance(few.steer([0.1, 0.9]), TransformersPolicy)


def test_outside_the_simplex_the_corners_are_mixed(adapter_run):
    out = adapter_run.steer([1.1, -0.1], extrapolate=True)
    assert out.shares == pytest.approx({"h": 1.1, "b": -0.1})
    assert out.extrapolated


def test_three_objectives_mix_the_triangle_around_the_weights():
    import numpy as np

    points = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(  # (.5, .3, .2) = .3 e1 + .1 e2 + .6 centre, in the triangle of these three
        barycentric(points, np.array([0.5, 0.3, 0.2])), [0.3, 0.1, 0, 0.6], atol=1e-9
    )
    assert barycentric(points, points[3]).tolist() == [0, 0, 0, 1]
    with pytest.raises(UsageError, match="do not enclose"):
        barycentric(points, np.array([1.5, -0.3, -0.2]))
