"""Advantages, windows and running statistics against sums written out."""

import numpy as np
import torch

from pareto.agents.normalise import Running
from pareto.agents.returns import Window, advantages
from tests.agents.small import seeded


def test_advantages_are_the_sums_they_stand_for():
    """Five steps, the episode cut off after the second and over after the fourth; gamma 0.9, lambda 0.8."""
    gamma, lam = 0.9, 0.8
    rewards = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])[:, None]
    values = torch.tensor([0.5, 0.4, 0.3, 0.2, 0.1])[:, None]
    following = torch.tensor([0.4, 7.0, 0.2, 0.0, 0.6])[:, None]  # 7: what was seen last before the cut
    ended = torch.tensor([False, True, False, True, False])
    delta = [1 + 0.9 * 0.4 - 0.5, 2 + 0.9 * 7 - 0.4, 3 + 0.9 * 0.2 - 0.3, 4 - 0.2, 5 + 0.9 * 0.6 - 0.1]
    by_hand = [delta[0] + 0.72 * delta[1], delta[1], delta[2] + 0.72 * delta[3], delta[3], delta[4]]
    found = advantages(rewards, values, following, ended, gamma, lam)
    np.testing.assert_allclose(found[:, 0], by_hand, rtol=1e-6)


def test_with_lambda_one_an_advantage_is_the_return_minus_the_value():
    draw = np.random.default_rng(0)
    rewards, values = draw.normal(size=(6, 2, 3)), draw.normal(size=(7, 2, 3))
    ended = np.zeros((6, 2), dtype=bool)
    ended[-1] = True
    following = np.where(ended[..., None], 0.0, values[1:])
    found = advantages(
        *(torch.tensor(x) for x in (rewards, values[:-1], following)), torch.tensor(ended), 0.9, 1.0
    )
    returns = sum(0.9**t * rewards[t] for t in range(6))
    np.testing.assert_allclose(found[0], returns - values[0])


def test_a_window_keeps_the_last_episodes():
    window = Window.begin(2, 3, 1)
    assert np.isnan(window.means()).all()
    window.add(
        np.array([0, 0, 1, 0, 0]), np.array([[1.0], [2.0], [9.0], [3.0], [4.0]]), np.array([1, 2, 5, 3, 4])
    )
    np.testing.assert_allclose(window.means(), [[3.0], [9.0]])  # (2 + 3 + 4) / 3
    assert sorted(window.episodes(0)[:, 0]) == [2, 3, 4]
    # lengths 2, 3, 4 at gamma 1/2: 1.5, 1.75, 1.875; length 5: 1.9375
    np.testing.assert_allclose(window.horizon(0.5), [(1.5 + 1.75 + 1.875) / 3, 1.9375])
    np.testing.assert_allclose(window.horizon(1.0), [3.0, 5.0])


def test_running_statistics_are_those_of_everything_seen():
    parts = [torch.randn(2, n, 3, generator=seeded(n)) * n for n in (4, 1, 7)]
    running = Running.begin(2, 3)
    for part in parts:
        running.add(part)
    whole = torch.cat(parts, dim=1).double()
    torch.testing.assert_close(running.mean, whole.mean(1))
    torch.testing.assert_close(running.var, whole.var(1, unbiased=False))
