"""Dispatchers in training: what is remembered, what critics aim at, and resume."""

import numpy as np
import pytest
import torch

from envs.offloading import TINY_SLOTS
from pareto.agents.discrete_sac import DiscreteSAC, SACConfig, Transitions, _entropy, _pessimistic
from pareto.agents.dispatch_learning import DispatchConfig
from pareto.agents.dispatch_memory import DispatchMemory
from pareto.agents.gmorl import GMORL
from pareto.agents.sac_scalarized import ScalarizedSAC
from pareto.errors import ConfigError
from pareto.models.dispatching import Seen
from pareto.tasks.env import EnvTask
from tests.agents.small import sea, seeded
from tests.laws.resuming import whole_and_resumed

TASK = EnvTask(id="pareto/OffloadingTiny-v0", gamma=1.0, selection_episodes=2, heldout_episodes=2)
SHORT = DispatchConfig(total_steps=4 * 8 * TINY_SLOTS, copies=8, updates=3, replay=100, checkpoint_every=1)


def states(value, n=2):
    """States whose features tell which one they are."""
    return Seen(
        torch.full((n, 3, 1), float(value)),
        torch.zeros(n, 3, 2),
        torch.ones(n, 3, dtype=torch.bool),
        torch.full((n, 2), 0.5),
    )


@pytest.mark.parametrize("ends", [False, True])
def test_memory_keeps_what_belongs_together(ends):
    """Two rounds of two decisions of two copies in a memory of one: states 10, 11, 12, actions and rewards 20 + t."""
    memory = DispatchMemory(1)
    for first in (0, 10):
        memory.add(
            [states(first + t) for t in range(3)],
            [np.array([first + 10 + t, first + 10 + t]) for t in range(2)],
            [np.full((2, 2), first + 10 + t) for t in range(2)],
        )
    found = memory.sample(64, seeded(), ends=ends)
    before = found.before.features[:, 0, 0]
    assert set(before.tolist()) == {10.0, 11.0}
    torch.testing.assert_close(found.after.features[:, 0, 0], before + 1)
    torch.testing.assert_close(found.actions.float(), before + 10)
    torch.testing.assert_close(found.rewards[:, 1], before + 10)
    assert (found.over == ((before == 11) if ends else False)).all()


def test_of_two_critics_the_worse_one_is_believed():
    """At weights (1, 0) the first says 1 and 3, the second 2 and 2: whole vectors (1, 9) and (2, 5)."""
    first = torch.tensor([[[1.0, 9.0], [3.0, 9.0]]])
    second = torch.tensor([[[2.0, 5.0], [2.0, 5.0]]])
    weights = torch.tensor([[1.0, 0.0]])
    assert _pessimistic([first, second], weights).tolist() == [[[1.0, 9.0], [2.0, 5.0]]]


def test_entropy_leaves_absent_servers_out():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]], requires_grad=True)
    found = _entropy(logits.log_softmax(-1))
    torch.testing.assert_close(found, torch.tensor([np.log(2.0)], dtype=torch.float32))
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("critic", ["vector", "scalar"])
def test_critics_learn_a_cost_to_come(critic):
    """One state that repeats: server 0 is charged (0, 0) and then costs (2, 1) a step for ever, at gamma .5.

    Rewards are (-2, -1) whatever is done and the state never changes, so that Q = (-2, -1) / (1 - .5) = (-4, -2).
    """
    from pareto.models.dispatching import WIDTH

    n = 16
    seen = Seen(
        torch.ones(n, 2, WIDTH),
        torch.zeros(n, 2, 2),
        torch.ones(n, 2, dtype=torch.bool),
        torch.full((n, 2), 0.5),
    )
    batch = Transitions(
        seen,
        torch.arange(n) % 2,
        torch.tensor([-2.0, -1.0]).expand(n, 2),
        seen,
        torch.zeros(n, dtype=torch.bool),
    )
    config = SACConfig(critic=critic, hidden=16, gamma=0.5, lr=3e-3, lr_end=1.0, tau=0.1, temperature=1e-6)
    sac = DiscreteSAC(config, 2, seeded(), "cpu")
    for _ in range(250):
        sac.update(batch, 0.0)
    found = sac._values(sac.critics[0], seen)[0]
    wanted = torch.tensor([-4.0, -2.0]) if critic == "vector" else torch.tensor([-3.0])
    torch.testing.assert_close(found, wanted.expand(2, -1), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    "method", [GMORL(experience=SHORT), ScalarizedSAC(experience=SHORT)], ids=["all", "one"]
)
def test_killed_and_resumed_is_uninterrupted(tmp_path, method):
    cell = method.plan(TASK, [{"delay": 0.5, "energy": 0.5}], [3])[-1]
    whole, resumed = whole_and_resumed(method, cell, TASK, tmp_path)
    assert resumed == whole
    assert whole[0].env_steps == SHORT.total_steps


def test_other_environments_are_refused():
    with pytest.raises(ConfigError, match="a dispatcher needs pareto/Offloading-v0"):
        GMORL().plan(sea(), [{"treasure": 0.5, "time": 0.5}], [0])
