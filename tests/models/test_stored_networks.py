"""Stored actors of other networks than plain perceptrons: torch_module (nature_cnn), conditioned_mlp and table."""

import numpy as np
import pytest
import torch

from pareto.errors import ArtifactError, ConfigError
from pareto.models.actors import load_actor
from pareto.models.actors.conditioned_mlp import ConditionedMLP
from pareto.models.actors.mlp import MLPActor
from pareto.models.actors.table import TableActor
from pareto.models.actors.torch_module import TorchActor
from pareto.models.policy_networks.nature_cnn import nature_cnn

SHAPE = (36, 36, 2)


def test_a_picture_network_through_a_folder(tmp_path):
    module = nature_cnn(SHAPE, 3)
    parameters = {name: p.detach().numpy() for name, p in module.named_parameters()}
    d = int(np.prod(SHAPE))
    offset, scale = np.full(d, 100.0, np.float32), np.full(d, 0.01, np.float32)
    TorchActor("nature_cnn", SHAPE, 3, parameters, offset, scale, "mode").save(
        tmp_path, {"kind": "agent", "actor": "torch_module"}
    )
    actor = load_actor(tmp_path)
    pictures = np.random.default_rng(0).integers(256, size=(4, *SHAPE)).astype(np.uint8)
    with torch.no_grad():  # the module itself on (x - 100) / 100
        wanted = module((torch.from_numpy(pictures).float() - 100) / 100)
    np.testing.assert_allclose(actor.outputs(pictures), wanted, atol=1e-5)
    np.testing.assert_array_equal(actor.act(pictures, np.random.default_rng(0)), wanted.argmax(dim=1))
    (tmp_path / "actor.safetensors").unlink()
    with pytest.raises(ArtifactError, match="does not hold a stored network"):
        load_actor(tmp_path)


def test_small_pictures_are_refused():
    with pytest.raises(ConfigError, match=r"at least 36 x 36; got shape \(20, 36, 1\)"):
        nature_cnn((20, 36, 1), 2)


def test_conditioned_mlp_says_its_weights(tmp_path):
    layers = [(np.ones((3, 2), np.float32), np.zeros(2, np.float32))]
    network = MLPActor(layers, np.zeros(3), np.ones(3), "mode")
    ConditionedMLP(network, np.array([0.25, 0.75])).save(
        tmp_path, {"kind": "agent", "actor": "conditioned_mlp"}
    )
    again = load_actor(tmp_path)
    # one layer of ones: the sum of the observation 2 and the weights, 3
    np.testing.assert_allclose(again.at(np.array([0.25, 0.75])).outputs(np.array([[2.0]])), [[3.0, 3.0]])
    assert again.weights.tolist() == [0.25, 0.75]


def test_a_table_knows_its_rows_and_the_nearest(tmp_path):
    TableActor(np.array([[0, 0], [3, 0]], np.float32), np.array([1, 2])).save(
        tmp_path, {"kind": "agent", "actor": "table"}
    )
    seen = np.array([[0, 0], [3, 0], [2, 0]], np.float32)
    assert load_actor(tmp_path).act(seen, np.random.default_rng(0)).tolist() == [1, 2, 2]
