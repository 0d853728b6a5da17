"""Networks of users: they equal the plain perceptrons where both are the same function, learn, and are stored by name."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from pareto.agents.heads import make_head
from pareto.agents.networks import StackedMLP
from pareto.agents.stacked_modules import StackedModules
from pareto.errors import ConfigError, ShapeError, UnknownNameError
from pareto.models.policy_networks import NETWORKS
from pareto.models.spaces import Actions
from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study
from tests.agents.fork import WAYS
from tests.agents.small import seeded

HEAD = make_head(Actions(spaces.Discrete(3)))


def perceptron(shape, n_outputs):
    return torch.nn.Sequential(torch.nn.Linear(shape[0], 5), torch.nn.Tanh(), torch.nn.Linear(5, n_outputs))


@pytest.fixture
def mine(temporary):
    temporary(NETWORKS)
    NETWORKS.register("mine", source="test")(perceptron)


def test_the_same_function_as_stacked_perceptrons(mine):
    plain, modules = StackedMLP(4, HEAD, 2, (5,)), StackedModules("mine", (4,), HEAD, 2)
    ours = plain.begin(3, seeded())
    theirs = torch.zeros(3, modules.size)
    a, b = plain.views(ours), modules.views(theirs)
    for i, part in enumerate(("actor", "critic")):
        b[f"{part}.0.weight"].copy_(a["hidden.0.weight"][:, i].transpose(1, 2))
        b[f"{part}.0.bias"].copy_(a["hidden.0.bias"][:, i])
        b[f"{part}.2.weight"].copy_(a[f"{part}.weight"].transpose(1, 2))
        b[f"{part}.2.bias"].copy_(a[f"{part}.bias"])
    seen = torch.randn(3, 7, 4, generator=seeded(1))
    for one, other in zip(plain.both(a, seen), modules.both(b, seen)):
        torch.testing.assert_close(one, other)


def test_first_parameters_differ_and_leave_torch_alone(mine):
    modules = StackedModules("mine", (4,), HEAD, 2)
    state = torch.random.get_rng_state()
    flat = modules.begin(3, seeded())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(flat, modules.begin(3, seeded()))
    assert len({tuple(row.tolist()) for row in flat}) == 3


class Pictured(gym.Env):
    """The fork of `tests.agents.fork`, seen as a picture."""

    observation_space = spaces.Box(0, 255, (36, 36, 1), dtype=np.uint8)
    action_space = spaces.Discrete(3)
    reward_space = spaces.Box(0, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full((36, 36, 1), 200, dtype=np.uint8), {}

    def step(self, action):
        return self.reset()[0], WAYS[action], True, False, {}


def study(network):
    if "Pictured-v0" not in gym.registry:
        gym.register("Pictured-v0", entry_point=Pictured, max_episode_steps=2, disable_env_checker=True)
    return load_study(
        {
            "study": "pictures",
            "task": {
                "kind": "env",
                "id": "Pictured-v0",
                "gamma": 1.0,
                "selection_episodes": 1,
                "heldout_episodes": 1,
            },
            "method": {
                "name": "ppo_scalarized",
                "total_steps": 600,
                "ppo": {"envs": 4, "steps": 8, "minibatch": 16, "epochs": 2, "lr": 2e-3, "network": network},
            },
            "weights": {"kind": "das_dennis", "divisions": 1},
            "score": {"ref_point": {"objective_1": -0.1, "objective_2": -0.1}},
        }
    )


def test_pictures_are_learned_from_and_policies_stored(tmp_path):
    run_study(study("nature_cnn"), tmp_path / "run", workers=0)
    run = load(tmp_path / "run")
    np.testing.assert_allclose(run.values, [[1, 0], [0, 1]], atol=1e-6)
    policy = run.steer({"objective_1": 1.0, "objective_2": 0.0})
    assert policy.act(np.full((36, 36, 1), 200, dtype=np.uint8)) == 0


def test_messages(temporary):
    temporary(NETWORKS)
    with pytest.raises(UnknownNameError, match=r"did you mean 'nature_cnn'"):
        StackedModules("nature_cn", (4,), HEAD, 2)
    with pytest.raises(ConfigError, match="sees pictures"):
        StackedModules("nature_cnn", (4,), HEAD, 2)
    NETWORKS.register("flat", source="test")(lambda shape, n: torch.nn.Flatten(0))
    with pytest.raises(ShapeError, match=r"must map \[B, 4\] to \[B, 3\]; it gave \(8,\) for B = 2"):
        StackedModules("flat", (4,), HEAD, 2)
    NETWORKS.register("batchnorm", source="test")(lambda shape, n: torch.nn.BatchNorm1d(n))
    with pytest.raises(ConfigError, match="has buffers"):
        StackedModules("batchnorm", (3,), HEAD, 3)
