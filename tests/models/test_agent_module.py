"""An exported agent gives what the stored one gives: torch, ONNX and numpy, three implementations."""

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file

from pareto.errors import UsageError
from pareto.models.actors.mlp import MLPActor
from pareto.models.actors.table import TableActor
from pareto.models.actors.torch_module import TorchActor
from pareto.models.agent_module import AgentModule, export_agent
from pareto.models.policy_networks.nature_cnn import nature_cnn
from pareto.models.spaces import Actions, Observations

SEEN = Observations(spaces.Box(-np.inf, np.inf, (3,), dtype=np.float32))
BOX = spaces.Box(
    np.array([0, -np.inf, -1, -2], np.float32).reshape(2, 2),
    np.array([10, np.inf, 1, 4], np.float32).reshape(2, 2),
)


def perceptron(width, log_std=None):
    draw = np.random.default_rng(3)
    layers = [
        (draw.normal(size=(a, b)).astype(np.float32), draw.normal(size=b).astype(np.float32))
        for a, b in ((3, 5), (5, 4), (4, width))
    ]
    return MLPActor(layers, np.float32([1, 0, -1]), np.float32([1, 2, 0.5]), "mode", log_std)


@pytest.mark.parametrize(
    ("actor", "space"),
    [(perceptron(4), spaces.Discrete(4, start=-1)), (perceptron(4, np.zeros(4, np.float32)), BOX)],
    ids=["discrete", "box"],
)
def test_torch_onnx_and_numpy_agree(tmp_path, actor, space):
    runtime = pytest.importorskip("onnxruntime", reason="runs the exported file")
    actions = Actions(space)
    names = export_agent(actor, SEEN, actions, tmp_path, onnx=True, facts={"weights": None})
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    seen = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32) * 4
    wanted = actions.decode(actor.act(seen, np.random.default_rng(0)), 50)
    session = runtime.InferenceSession(str(tmp_path / "policy.onnx"))
    outputs, taken = session.run(None, {"observations": seen})
    np.testing.assert_allclose(outputs, actor.outputs(seen), atol=1e-5)
    np.testing.assert_allclose(taken, wanted, atol=1e-4)
    module = AgentModule(perceptron(4, actor.log_std), actions)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    module.load_state_dict(load_file(tmp_path / "policy.safetensors"))
    with torch.no_grad():
        outputs, taken = module(torch.from_numpy(seen))
    np.testing.assert_allclose(outputs.numpy(), actor.outputs(seen), atol=1e-5)
    np.testing.assert_allclose(taken.numpy(), wanted, atol=1e-4)
    assert json.loads((tmp_path / "policy.json").read_text())["weights"] is None


def test_a_network_of_pictures_is_exported(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="runs the exported file")
    shape = (36, 36, 1)
    parameters = {n: p.detach().numpy() for n, p in nature_cnn(shape, 2).named_parameters()}
    d = int(np.prod(shape))
    actor = TorchActor(
        "nature_cnn", shape, 2, parameters, np.full(d, 9, np.float32), np.full(d, 0.1, np.float32), "mode"
    )
    seen = Observations(spaces.Box(0, 255, shape, dtype=np.uint8))
    export_agent(actor, seen, Actions(spaces.Discrete(2)), tmp_path, onnx=True, facts={})
    pictures = np.random.default_rng(0).integers(20, size=(3, *shape)).astype(np.float32)
    session = runtime.InferenceSession(str(tmp_path / "policy.onnx"))
    outputs, _ = session.run(None, {"observations": pictures})
    np.testing.assert_allclose(outputs, actor.outputs(pictures), atol=1e-4)


def test_tables_are_refused(tmp_path):
    table = TableActor(np.zeros((1, 3), np.float32), np.zeros(1, np.int64))
    with pytest.raises(UsageError, match="a network can be exported; this agent is a TableActor"):
        export_agent(table, SEEN, Actions(spaces.Discrete(2)), tmp_path / "x", onnx=False, facts={})
    assert not (tmp_path / "x").exists()
