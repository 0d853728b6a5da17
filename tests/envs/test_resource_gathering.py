"""Resource gathering against MO-Gymnasium's under the same luck, and its front by a search in the other direction."""

import gymnasium as gym
import moocore
import numpy as np
import pytest

from envs.streams import Streams
from pareto.rng import generator

UP, DOWN, LEFT, RIGHT = range(4)
SAFE_ROUND = [
    LEFT,
    UP,
    UP,
    UP,
    UP,
    RIGHT,
    LEFT,
    DOWN,
    DOWN,
    RIGHT,
    RIGHT,
    RIGHT,
    UP,
    DOWN,
    DOWN,
    DOWN,
    LEFT,
    LEFT,
]


def luck_of(counters):
    streams = Streams([0] * len(counters))
    streams.counters[:] = counters
    return streams.uniforms(1)[:, 0].tolist()


class Luck:
    """Stands in for the library's generator and hands out the number it was told."""

    def tell(self, number):
        self.next = number

    def random(self):
        return self.next


def rig(env):
    env.np_random = Luck()
    return env.np_random.tell


def test_equals_the_library_step_for_step_under_the_same_luck(walk_together):
    n, steps = 48, 700
    ours = gym.make_vec("pareto/ResourceGathering-v0", num_envs=n)
    rng = generator("test", "gathering")
    leaning = rng.dirichlet([2.0, 1.0, 1.0, 1.0], size=n)
    actions = np.stack([rng.choice(4, size=steps, p=p) for p in leaning], axis=1)
    # half of the copies make for the treasures, slip now and then, and start over when they end
    tours = [
        SAFE_ROUND,
        [UP, UP, UP, UP, DOWN, DOWN, DOWN, DOWN],
        [UP] * 4 + [RIGHT, RIGHT, DOWN, DOWN, DOWN, DOWN],
    ]
    for copy in range(n // 2):
        tour = np.resize(tours[copy % 3], steps)
        actions[:, copy] = np.where(rng.random(steps) < 0.05, actions[:, copy], tour)
    ends = walk_together(ours, ("resource-gathering-v0", {}), actions, rig=rig, luck_of=luck_of)
    assert ends["terminated"] > 1000
    assert ends["truncated"] > 3
    assert {(-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 1.0)} <= set(ends["rewards"])


def forward_front(gamma, horizon=24):
    """Follow every course of action forwards, carrying (chance to be alive, harm so far); no tables, no set backups."""
    labels = {(4, 2, 0, 0): {(1.0, 0.0)}}
    returns = []
    for t in range(horizon):
        after = {}
        for (row, column, gold, gem), pasts in labels.items():
            for drow, dcolumn in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                r, c = min(4, max(0, row + drow)), min(4, max(0, column + dcolumn))
                g, j = gold or (r, c) == (0, 2), gem or (r, c) == (1, 4)
                danger = 0.1 if (r, c) in ((0, 3), (1, 2)) else 0.0
                for alive, harm in pasts:
                    now = (round(alive * (1 - danger), 12), round(harm - gamma**t * alive * danger, 12))
                    if (r, c) == (4, 2):
                        returns.append((now[1], gamma**t * now[0] * g, gamma**t * now[0] * j))
                    else:
                        after.setdefault((r, c, g, j), set()).add(now)
        labels = {
            s: {p for p in pasts if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in pasts)}
            for s, pasts in after.items()
        }
    returns = np.unique(np.round(returns, 9), axis=0)
    return returns[moocore.is_nondominated(-returns)]


@pytest.mark.parametrize("gamma", [0.9, 0.99, 1.0])
def test_front_equals_a_forward_search(gamma):
    front = gym.make("pareto/ResourceGathering-v0").unwrapped.pareto_front(gamma)
    theirs = forward_front(gamma)
    np.testing.assert_allclose(front, theirs[np.lexsort(theirs.T[::-1])], atol=1e-9)
    assert moocore.is_nondominated(-front).all()


def test_front_beats_the_one_the_library_declares_on_the_library_itself(library):
    """The declared front (5.2315) is not exact: a safe round trip played on the library dominates one of its points."""
    theirs = library("resource-gathering-v0")
    gamma, ref = 0.99, np.array([-1.0, -1.0, -2.0])
    declared = np.array(theirs.unwrapped.pareto_front(gamma=gamma))
    assert moocore.hypervolume(-declared, ref=-ref) == pytest.approx(5.2315, abs=5e-5)
    theirs.reset(seed=0)
    rewards = [theirs.step(a)[1] for a in SAFE_ROUND]
    played = sum(gamma**t * r.astype(float) for t, r in enumerate(rewards))
    np.testing.assert_allclose(played, [0.0, gamma**17, gamma**17])
    both = declared[(declared[:, 1] > 0) & (declared[:, 2] > 0)]
    assert (played > both).all()
    front = gym.make("pareto/ResourceGathering-v0").unwrapped.pareto_front(gamma)
    np.testing.assert_allclose(front[front[:, 1] * front[:, 2] > 0], [played])
    # gamma^11 gold, gamma^9 gem, gamma^17 both, nobody killed: volume by inclusion and exclusion
    gold, gem, both_ = gamma**11, gamma**9, gamma**17
    by_hand = (1 + gold) * 2 + 1 * (2 + gem) - 1 * 2 + (1 + both_ - 1) * (2 + both_ - 2)
    assert moocore.hypervolume(-front, ref=-ref) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(5.4147, abs=5e-5)


def test_dying_is_as_likely_as_stated():
    env = gym.make_vec("pareto/ResourceGathering-v0", num_envs=20_000)
    env.reset(seed=3)
    for _ in range(3):
        _, reward, _, _, _ = env.step(np.full(20_000, UP))
    share = -reward[:, 0].mean()
    assert abs(share - 0.1) < 4 * np.sqrt(0.09 / 20_000)
