"""Tools the environment tests share; the library's environments stand in as the independent implementation."""

import os

import numpy as np
import pytest

from pareto.env_loader import load_envs

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
ENVS = load_envs()


@pytest.fixture(scope="session")
def library():
    """Make one of MO-Gymnasium's environments."""
    mo_gymnasium = pytest.importorskip(
        "mo_gymnasium", reason="compares with MO-Gymnasium, which is not installed"
    )

    def make(env_id, **kwargs):
        return mo_gymnasium.make(env_id, **kwargs)

    return make


@pytest.fixture
def walk_together(library):
    """Step our batched environment beside as many of the library's, under the same actions and the same luck.

    Everything observable must agree at every step, across episode ends and resets. Returns counts of what happened.
    """

    def walk(ours, theirs, actions, *, rig=None, luck_of=None, atol=0.0):
        """Args: `theirs` id and arguments of the library's; `rig(env)` makes its chance obey what the returned function
        is told; `luck_of(counters)` [n, ...] foretells what chance will say in the next step.
        """
        n = ours.num_envs
        envs = [library(theirs[0], **theirs[1]) for _ in range(n)]
        first = [env.reset(seed=0)[0] for env in envs]
        tell = [] if rig is None else [rig(env.unwrapped) for env in envs]
        our_first, _ = ours.reset(seed=7)
        np.testing.assert_array_equal(our_first, first)
        ends = {"terminated": 0, "truncated": 0, "rewards": []}
        for t in range(len(actions)):
            if luck_of is not None:
                for told, luck in zip(tell, luck_of(ours.state_dict()["counters"])):
                    told(luck)
            stepped = [env.step(a) for env, a in zip(envs, actions[t].tolist())]
            obs, reward, terminated, truncated, info = ours.step(actions[t])
            where = f"step {t}"
            their_obs = np.stack([s[0] for s in stepped])
            assert their_obs.dtype == obs.dtype
            np.testing.assert_allclose(
                info.get("final_obs", obs), their_obs, rtol=0, atol=atol, err_msg=where
            )
            their_reward = np.float32([s[1] for s in stepped])
            np.testing.assert_allclose(reward, their_reward, rtol=0, atol=atol, err_msg=where)
            np.testing.assert_array_equal(terminated, [s[2] for s in stepped], err_msg=where)
            np.testing.assert_array_equal(truncated, [s[3] for s in stepped], err_msg=where)
            ended = terminated | truncated
            if ended.any():
                np.testing.assert_array_equal(info["_final_obs"], ended, err_msg=where)
                for i in np.flatnonzero(ended):
                    np.testing.assert_array_equal(envs[i].reset()[0], obs[i], err_msg=where)
                    ends["rewards"].append(tuple(reward[i].tolist()))
                ends["terminated"] += int(terminated.sum())
                ends["truncated"] += int(truncated.sum())
        return ends

    return walk
