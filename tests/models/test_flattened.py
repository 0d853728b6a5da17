"""A perceptron over rows: every number counts, wherever it stands, and PPO learns with it where perceptrons see no shape."""

import torch

from pareto.agents.ppo import PPOConfig
from pareto.agents.ppo_scalarized import ScalarizedPPO
from pareto.cells import FitContext
from pareto.models.actors import load_actor
from pareto.models.policy_networks.flattened import flattened
from pareto.tasks.env import EnvTask


def test_the_function_by_hand():
    """Matrix products over the rows laid side by side, written out."""
    torch.manual_seed(0)
    network, seen = flattened((2, 3), 4), torch.randn(5, 2, 3)
    _, a, _, b, _, c = network
    row = torch.stack([torch.cat([one[0], one[1]]) for one in seen])
    hidden = torch.tanh(torch.tanh(row @ a.weight.T + a.bias) @ b.weight.T + b.bias)
    torch.testing.assert_close(network(seen), hidden @ c.weight.T + c.bias)


def test_ppo_takes_servers_with_it(tmp_path):
    """In the tiny offloading system energy alone asks for the edge server, always: 2e-9 against 8e-9 J a bit."""
    task = EnvTask(id="pareto/OffloadingTiny-v0", gamma=1.0)
    ppo = PPOConfig(network="flattened", envs=32, steps=6, minibatch=64, epochs=4, lr=3e-3)
    method = ScalarizedPPO(total_steps=32 * 6 * 30, ppo=ppo)
    (cell,) = method.plan(task, [{"delay": 0.0, "energy": 1.0}], [0])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = method.train(cell, task, FitContext(tmp_path, scratch))
    played = task.play(load_actor(made.policies[0].folder), "heldout", range(50))
    edge = task.play(_Always(1), "heldout", range(50))
    assert (played.returns[:, 1] == edge.returns[:, 1]).mean() > 0.9


class _Always:
    def __init__(self, server):
        self.server = server

    def act(self, observations, draw):
        return torch.full((len(observations),), self.server).numpy()
