"""Orchestrators: where they start, that they load to the same numbers, and how a prior tilts them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pareto.errors import ArtifactError, ShapeError, SimplexError
from pareto.models.orchestrator import FACTS, Orchestrator, blend, load_orchestrator


def test_untrained_it_weighs_all_objectives_alike():
    network = Orchestrator(4, 3, (8,), seed=1)
    w = network.weights(np.random.default_rng(0).standard_normal((5, 4)))
    np.testing.assert_allclose(w, 1 / 3)


def test_stored_it_loads_to_the_same_numbers(tmp_path):
    network = Orchestrator(4, 2, (8,), seed=1)
    features = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    network.standardise(features)
    with torch.no_grad():
        network.out.weight.add_(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    network.save(tmp_path, ["a", "b"], {"target": "likelihood"})
    loaded, facts = load_orchestrator(tmp_path)
    assert facts == {"objectives": ["a", "b"], "widths": [8], "target": "likelihood"}
    np.testing.assert_array_equal(loaded.weights(features), network.weights(features))
    assert np.ptp(network.weights(features)) > 0.1


def test_a_feature_that_never_moves_changes_nothing():
    network = Orchestrator(2, 2, ())
    network.standardise(np.array([[1.0, 7.0], [3.0, 7.0]]))
    with torch.no_grad():
        network.out.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    # standard score 1 of the first feature: softmax(1, 0)
    np.testing.assert_allclose(
        network.weights(np.array([[3.0, 7.0]])), [[np.e / (1 + np.e), 1 / (1 + np.e)]], rtol=1e-6
    )


def test_blend_by_hand():
    """(0.5 0.2, 0.5 0.8) keeps g; (0.8 0.2, 0.2 0.8) is even; squared (0.04, 0.64) over 0.68."""
    g = np.array([[0.2, 0.8]])
    np.testing.assert_allclose(blend(g, np.array([0.5, 0.5])), g)
    np.testing.assert_allclose(blend(g, np.array([0.8, 0.2])), [[0.5, 0.5]])
    np.testing.assert_allclose(blend(g, np.array([0.5, 0.5]), 2.0), [[0.04 / 0.68, 0.64 / 0.68]])
    np.testing.assert_allclose(blend(g, np.array([0.3, 0.7]), 0.0), [[0.3, 0.7]])
    np.testing.assert_allclose(blend(g, np.array([1.0, 0.0])), [[1.0, 0.0]])
    np.testing.assert_allclose(blend(np.array([[0.0, 1.0]]), np.array([1.0, 0.0])), [[1.0, 0.0]])
    with pytest.raises(SimplexError):
        blend(g, np.array([0.5, 0.6]))
    with pytest.raises(ShapeError, match="prior over 2"):
        blend(g, np.array([0.2, 0.3, 0.5]))


def test_what_is_not_whole_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="no whole orchestrator"):
        load_orchestrator(tmp_path)
    Orchestrator(4, 2, ()).save(tmp_path, ["a", "b"], {})
    (tmp_path / FACTS).write_text(json.dumps({"objectives": ["a", "b", "c"], "widths": []}))
    with pytest.raises(ArtifactError, match="no whole orchestrator"):
        load_orchestrator(tmp_path)
