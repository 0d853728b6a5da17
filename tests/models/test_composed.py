"""Composed perceptrons: what they choose by hand, through a folder, at other weights, steered and exported."""

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_state

from pareto.errors import ArtifactError, ConfigError, ShapeError
from pareto.models.actors import Conditioned, agent_facts, load_actor
from pareto.models.actors.composed import ComposedMLP
from pareto.models.actors.mlp import MLPActor
from pareto.models.agent_module import AgentModule, export_agent
from pareto.models.spaces import Actions, Observations
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import manifest

SEEN = Observations(spaces.Box(-np.inf, np.inf, (3,), dtype=np.float32))
DISCRETE = Actions(spaces.Discrete(4, start=-1))
BOX = Actions(spaces.Box(np.float32([0, -1]), np.float32([10, 1])))
FACTS = {"kind": "agent", "actor": "composed"}


def table(rows):
    """A perceptron of one layer that gives row s of a table at state s, seen as a unit vector."""
    rows = np.asarray(rows, dtype=np.float32)
    n, width = rows.shape
    return MLPActor([(rows, np.zeros(width, np.float32))], np.zeros(n), np.ones(n), "mode")


def two_states(weights):
    """State 0 leads to state 1, which ends; gamma 1/2. Policy k always takes action k.

    Rewards: state 0: action 0 (2, 0), action 1 (0, 3); state 1: action 0 (0, 2), action 1 (2, 0).
    V_0(1) = (0, 2), V_0(0) = (2, 0) + (0, 2) / 2 = (2, 1); V_1(1) = (2, 0), V_1(0) = (0, 3) + (2, 0) / 2 = (1, 3).
    """
    policies = [table([[1, 0], [1, 0]]), table([[0, 1], [0, 1]])]
    return ComposedMLP(policies, table([[2, 1, 1, 3], [0, 2, 2, 0]]), np.array(weights))


def network(seed, width, actions="mode", log_std=None, d=3):
    """A random perceptron that sees observations in its own way; 20 * scale goes past the clip."""
    draw = np.random.default_rng(seed)
    layers = [
        (draw.normal(size=(a, b)).astype(np.float32), draw.normal(size=b).astype(np.float32))
        for a, b in ((d, 5), (5, width))
    ]
    offset, scale = draw.normal(size=d).astype(np.float32), draw.uniform(0.5, 2, d).astype(np.float32)
    return MLPActor(layers, offset, scale, actions, log_std)


def continuous(seed, actions="mode"):
    return network(seed, 2, actions, np.float32([-1, seed / 10]))


def composed(policies, weights=(0.3, 0.7)):
    values = network(106, len(policies) * len(weights), d=3)
    return ComposedMLP(policies, values, np.array(weights))


def worth(actor, seen, weights):
    """[n, K] of every policy at every observation."""
    return actor.values.outputs(seen).reshape(len(seen), len(actor.policies), -1) @ weights


def observations(n=60):
    return (np.random.default_rng(0).normal(size=(n, 3)) * 5).astype(np.float32)


def test_each_policy_is_followed_where_it_is_best():
    seen, draw = np.eye(2, dtype=np.float32)[[1, 0, 1]], np.random.default_rng(0)
    # w = (1, 0): state 0: 2 against 1; state 1: 0 against 2. Worth 2 + 2 / 2 = 3 at state 0; either alone has at most 2
    first = two_states([1.0, 0.0])
    assert first.chosen(seen).tolist() == first.act(seen, draw).tolist() == [1, 0, 1]
    # w = (0, 1): state 0: 1 against 3; state 1: 2 against 0. Worth 3 + 2 / 2 = 4 at state 0; either alone has at most 3
    second = first.at(np.array([0.0, 1.0]))
    assert second.chosen(seen).tolist() == second.act(seen, draw).tolist() == [0, 1, 0]
    # w = (1/2, 1/2): state 0: 1.5 against 2; state 1: 1 against 1, so the first of equals
    assert first.at(np.array([0.5, 0.5])).chosen(seen).tolist() == [0, 1, 0]
    assert first.chosen(seen).dtype == np.int64


@pytest.mark.parametrize("actions", ["mode", "sample"])
@pytest.mark.parametrize("log_std", [None, np.float32([0, 1, -1, 0])], ids=["discrete", "box"])
def test_one_policy_is_the_plain_perceptron(actions, log_std):
    plain = network(1, 4, actions, log_std)
    own = composed([plain]).act(observations(), np.random.default_rng(5))
    wanted = plain.act(observations(), np.random.default_rng(5))
    np.testing.assert_array_equal(own, wanted)
    assert own.dtype == wanted.dtype


@pytest.mark.parametrize("actions", ["mode", "sample"])
def test_gaussian_policies_row_by_row(actions):
    policies = [continuous(k, actions) for k in range(3)]
    actor, seen = composed(policies), observations()
    best = [max(range(3), key=lambda k, row=row: row[k]) for row in worth(actor, seen, [0.3, 0.7])]
    assert set(best) == {0, 1, 2}
    taken = actor.act(seen, np.random.default_rng(1))
    means = np.stack([policies[k].outputs(seen[i : i + 1])[0] for i, k in enumerate(best)])
    if actions == "mode":
        np.testing.assert_allclose(taken, means, atol=1e-5)
        return
    # the draws are standard normal once each policy's own mean and deviation are taken off; three errors of 60 draws
    deviations = np.exp(np.stack([policies[k].log_std for k in best]))
    noise = (taken - means) / deviations
    assert abs(noise.mean()) < 3 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 3 * np.sqrt(2 / noise.size)
    again = actor.act(seen, np.random.default_rng(1))
    np.testing.assert_array_equal(taken, again)


def test_no_observations_give_no_actions():
    assert composed([network(k, 4) for k in range(2)]).act(
        observations(0), np.random.default_rng(0)
    ).shape == (0,)
    assert composed([continuous(0)]).act(observations(0), np.random.default_rng(0)).shape == (0, 2)


@pytest.mark.parametrize("kind", ["discrete", "box"])
def test_through_a_folder_bit_for_bit(tmp_path, kind):
    policies = [network(k, 4) if kind == "discrete" else continuous(k, "sample") for k in range(12)]
    actor = composed(policies)
    actor.save(tmp_path / "a", FACTS)
    again = load_actor(tmp_path / "a")
    assert isinstance(again, ComposedMLP)
    assert isinstance(again, Conditioned)
    again.save(tmp_path / "b", FACTS)
    for name in ("actor.safetensors", "policy.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    stored = load_file(tmp_path / "a" / "actor.safetensors")
    assert {str(t.dtype) for t in stored.values()} == {"float32"}
    np.testing.assert_array_equal(stored["policies.11.layers.1.weight"], policies[11].layers[1][0])
    told = json.loads((tmp_path / "a" / "policy.json").read_text())
    assert told == {**FACTS, "weights": [0.3, 0.7], "actions": policies[0].actions}
    for weights in (np.array([0.3, 0.7]), np.array([1.0, 0.0])):
        np.testing.assert_array_equal(
            again.at(weights).act(observations(), np.random.default_rng(2)),
            actor.at(weights).act(observations(), np.random.default_rng(2)),
        )


def test_steering_takes_it_to_any_weights(tmp_path):
    actor = composed([network(k, 4) for k in range(3)], (1.0, 0.0))
    actor.save(tmp_path / "policies" / "a", agent_facts("composed", SEEN, DISCRETE))
    ends = {"speed": 1.0, "saving": 0.0}
    files = manifest.digests(tmp_path / "policies" / "a")
    run = PolicySet(
        tmp_path, (PolicyRecord("a", "agent", ends, ends, files=files),), Objectives(["speed", "saving"])
    )
    served = run.steer({"speed": 0.2, "saving": 0.8}, method="conditioned").actor
    seen = observations()
    wanted = worth(actor, seen, [0.2, 0.8]).argmax(axis=1)
    assert served.chosen(seen).tolist() == wanted.tolist() != actor.chosen(seen).tolist()


@pytest.mark.parametrize(
    ("policies", "actions"),
    [([network(k, 4) for k in range(3)], DISCRETE), ([continuous(k) for k in range(3)], BOX)],
    ids=["discrete", "box"],
)
def test_exports_act_alike(tmp_path, policies, actions):
    actor, seen = composed(policies), observations()
    followed = actor.chosen(seen)
    assert set(followed.tolist()) == {0, 1, 2}
    means = np.stack([policies[k].outputs(seen[i : i + 1])[0] for i, k in enumerate(followed)])
    wanted = actions.decode(actor.act(seen, np.random.default_rng(0)), len(seen))
    export_agent(actor, SEEN, actions, tmp_path / "torch", onnx=False, facts={})
    blank = composed(
        [network(k + 50, p.layers[-1][1].size, "mode", p.log_std) for k, p in enumerate(policies)]
    )
    module = AgentModule(blank.at(np.array([0.0, 0.0])), actions)
    module.load_state_dict(load_state(tmp_path / "torch" / "policy.safetensors"))
    with torch.no_grad():
        outputs, taken = module(torch.from_numpy(seen))
    np.testing.assert_allclose(outputs.numpy(), means, atol=1e-5)
    np.testing.assert_allclose(taken.numpy(), wanted, atol=1e-4)
    runtime = pytest.importorskip("onnxruntime", reason="runs the exported file")
    export_agent(actor, SEEN, actions, tmp_path / "onnx", onnx=True, facts={})
    session = runtime.InferenceSession(str(tmp_path / "onnx" / "policy.onnx"))
    outputs, taken = session.run(None, {"observations": seen})
    np.testing.assert_allclose(outputs, means, atol=1e-5)
    np.testing.assert_allclose(taken, wanted, atol=1e-4)


def test_what_does_not_fit_is_refused():
    plain, values, weights = network(0, 4), network(1, 2), np.ones(2)
    with pytest.raises(ConfigError, match="at least one policy; got none"):
        ComposedMLP([], values, weights)
    with pytest.raises(ConfigError, match=r"must act alike.*got mode discrete, sample discrete"):
        ComposedMLP([plain, network(0, 4, "sample")], values, weights)
    with pytest.raises(ConfigError, match="got mode discrete, mode continuous"):
        ComposedMLP([plain, network(0, 4, "mode", np.zeros(4))], values, weights)
    with pytest.raises(ShapeError, match=r"policies\[1\] must take 3 inputs and give 4 outputs.*gives 5"):
        ComposedMLP([plain, network(0, 5)], values, weights)
    with pytest.raises(ShapeError, match=r"values must take 3 inputs and give 2 outputs.*takes 4"):
        ComposedMLP([plain], network(1, 2, d=4), weights)
    with pytest.raises(ShapeError, match=r"values must take 3 inputs and give 4 outputs.*gives 2"):
        ComposedMLP([plain, plain], values, weights)
    with pytest.raises(ShapeError, match=r"values must take 3 inputs and give 3 outputs.*gives 2"):
        ComposedMLP([plain], values, weights).at(np.ones(3))
    with pytest.raises(ShapeError, match=r"weights must be a vector \[m\]; got shape \[2, 1\]"):
        ComposedMLP([plain], values, np.ones((2, 1)))


@pytest.mark.parametrize(
    "breaking",
    [
        "gone",
        "garbage",
        "no values",
        "no layers",
        "other width",
        "no weights",
        "weights of text",
        "no actions",
    ],
)
def test_broken_folders_are_refused(tmp_path, breaking):
    composed([network(k, 4) for k in range(2)]).save(tmp_path, FACTS)
    path, told = tmp_path / "actor.safetensors", json.loads((tmp_path / "policy.json").read_text())
    tensors = load_file(path)
    if breaking == "gone":
        path.unlink()
    elif breaking == "garbage":
        path.write_bytes(b"not tensors at all")
    else:
        dropped = {"no values": "values.", "no layers": "policies.1.layers."}.get(breaking, "nothing")
        kept = {name: t for name, t in tensors.items() if not name.startswith(dropped)}
        if breaking == "other width":
            kept["values.layers.1.bias"] = np.zeros(3, np.float32)
        save_file(kept, path)
        told.pop({"no weights": "weights", "no actions": "actions"}.get(breaking, ""), None)
        if breaking == "weights of text":
            told["weights"] = "both"
        (tmp_path / "policy.json").write_text(json.dumps(told))
    with pytest.raises(ArtifactError, match="does not hold"):
        load_actor(tmp_path)


def test_a_broken_file_of_one_perceptron_is_refused_too(tmp_path):
    network(0, 4).save(tmp_path, {"kind": "agent", "actor": "mlp"})
    (tmp_path / "actor.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(ArtifactError, match="does not hold a stored perceptron"):
        load_actor(tmp_path)
