"""Networks that see the weights: exact at fixed weights, and they learn the whole of a small front."""

import numpy as np
import pytest
import torch

from pareto.agents.conditioning import ConditionedTask, WithWeights
from pareto.agents.envelope_learning import envelope_targets
from pareto.agents.value_network import ValueNetwork
from pareto.models.actors.conditioned_mlp import ConditionedMLP
from pareto.models.actors.mlp import MLPActor
from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study
from pareto.tasks.env import EnvTask
from tests.agents.fork import register_envs
from tests.agents.small import cart, seeded

register_envs()


def test_targets_by_hand():
    """One state, two weights, two actions. Under w = (1, 0) the largest first number is 5, known under the second weight;
    under (0, 1) the largest second number is 7, known under the first. Values come from the other network.
    """
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    picked = torch.tensor([[[[1.0, 2.0], [3.0, 7.0]], [[5.0, 0.0], [4.0, 6.0]]]])
    targets = envelope_targets(picked, picked + 100, weights)
    assert targets.tolist() == [[[105.0, 100.0], [103.0, 107.0]]]


def test_a_plain_network_at_fixed_weights_is_the_same_function():
    """Against the torch network that was shown the weights."""
    network = ValueNetwork(3, 2, 4, (5, 6), seeded(1))
    network.fit_scale(torch.randn(50, 3, generator=seeded(2)) * 4 + 1)
    weights = torch.tensor([0.3, 0.7])
    seen = torch.randn(9, 3, generator=seeded(3)) * 5
    inputs = torch.cat([seen, weights.expand(9, 2)], dim=1)
    wanted = torch.einsum("bam,m->ba", network(inputs), weights).detach().numpy()
    actor = ConditionedMLP(network.stored(), weights.numpy(), values=True)
    np.testing.assert_allclose(actor.at(weights.numpy()).outputs(seen.numpy()), wanted, atol=1e-5)
    np.testing.assert_array_equal(actor.act(seen.numpy(), np.random.default_rng(0)), wanted.argmax(axis=1))


def test_weights_are_drawn_for_every_episode_and_survive_storing():
    task = ConditionedTask(cart(), corners=0.5)
    with task.open(3, max_episode_steps=4) as envs:
        assert isinstance(envs, WithWeights)
        first = envs.reset([1, 2, 3])[:, -3:]
        np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-6)
        for _ in range(3):
            step = envs.step(np.zeros(3, dtype=int))
            np.testing.assert_array_equal(step.observations[:, -3:], first)
        saved = envs.state_dict()
        step = envs.step(np.zeros(3, dtype=int))
        np.testing.assert_array_equal(step.final_observations[:, -3:], first)
        assert (step.observations[:, -3:] != first).any(axis=1).all()
        np.testing.assert_array_equal(envs.taken(), np.concatenate([first] * 4))
        envs.load_state_dict(saved)
        np.testing.assert_array_equal(envs.step(np.zeros(3, dtype=int)).observations, step.observations)


@pytest.mark.parametrize(
    "method",
    [
        {"name": "envelope", "total_steps": 3000, "warmup": 200, "every": 8, "batch": 16, "draws": 4, "hidden": [16],
         "renew": 50, "lr": 5e-3},
        {"name": "ppo_conditioned", "total_steps": 12_000,
         "ppo": {"envs": 16, "steps": 16, "minibatch": 64, "lr": 5e-3, "hidden": [16]}},
    ],
    ids=lambda method: method["name"],
)  # fmt: skip
def test_the_front_of_a_fork(tmp_path, method):
    study = {
        "study": "fork",
        "task": {
            "kind": "env",
            "id": "Fork-v0",
            "gamma": 1.0,
            "selection_episodes": 1,
            "heldout_episodes": 1,
        },
        "method": method,
        "weights": {"kind": "das_dennis", "divisions": 4},
        "score": {"ref_point": {"objective_1": -0.1, "objective_2": -0.1}},
    }
    run_study(load_study(study), tmp_path / "run", workers=0)
    run = load(tmp_path / "run")
    best = {1.0: [1, 0], 0.75: [1, 0], 0.5: [0.6, 0.6], 0.25: [0, 1], 0.0: [0, 1]}
    for weights, values in zip(run.weights, run.values):
        np.testing.assert_allclose(values, best[weights[0]], atol=1e-6)
    steered = run.steer([0.55, 0.45], method="conditioned")
    assert steered.act(np.ones(1, dtype=np.float32)) == 2


def test_envelope_refuses_continuous_actions(tmp_path):
    from pareto.agents.envelope import Envelope
    from pareto.cells import FitContext
    from pareto.errors import ConfigError

    task = EnvTask(id=_building())
    (cell,) = Envelope().plan(task, [dict.fromkeys(task.objectives.names, 1 / len(task.objectives))], [0])
    with pytest.raises(ConfigError, match="envelope needs discrete actions"):
        Envelope().train(cell, task, FitContext(tmp_path, tmp_path))


def _building() -> str:
    import gymnasium as gym

    return next(env_id for env_id in sorted(gym.registry) if env_id.startswith("pareto/Building"))


def test_actor_of_means(tmp_path):
    """A network over (observation, weights) with continuous actions goes through a folder unchanged."""
    draw = np.random.default_rng(0)
    layers = [
        (draw.normal(size=(4, 3)), draw.normal(size=3)),
        (draw.normal(size=(3, 2)), draw.normal(size=2)),
    ]
    network = MLPActor(
        [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers],
        np.zeros(4), np.ones(4), "mode", np.zeros(2, dtype=np.float32),
    )  # fmt: skip
    actor = ConditionedMLP(network, np.array([0.25, 0.75]))
    actor.save(tmp_path, {"kind": "agent", "actor": "conditioned_mlp"})
    from pareto.models.actors import load_actor

    again = load_actor(tmp_path)
    seen = draw.normal(size=(5, 2)).astype(np.float32)
    # by hand: tanh of observation and weights times the first layer, then the second
    hidden = np.tanh(np.c_[seen, np.tile([0.25, 0.75], (5, 1))] @ layers[0][0] + layers[0][1])
    wanted = hidden @ layers[1][0] + layers[1][1]
    np.testing.assert_allclose(again.act(seen, draw), wanted, atol=1e-5)
