"""Pareto-conditioned networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.agents.library import LIBRARY, LibraryPolicy, Order


@LIBRARY.register("pcn", source="morl-baselines 1.3, PCN; Reymond et al. (2022)")
def pcn(order: Order) -> list[LibraryPolicy]:
    """Pareto-conditioned networks: deployed at the returns of the undominated episodes in the replay.

    Needs a scale per objective and one for the horizon; the reciprocals of the ranges of random play stand in.
    """
    from morl_baselines.multi_policy.pcn.pcn import PCN

    spans, horizon = _random_play(order)
    scale = np.append(1.0 / spans, 1.0 / horizon).astype(np.float32)
    learner = PCN(order.make(), scaling_factor=scale, gamma=order.gamma, log=False, seed=order.seed)
    learner.train(
        total_timesteps=order.steps,
        eval_env=order.make(),
        ref_point=order.ref_point,
        num_er_episodes=10,
        max_return=np.maximum(spans, 1.0).astype(np.float32),
    )
    episodes = [episode for _, _, episode in learner.experience_replay]
    return [_towards(learner, episode) for episode in episodes[-order.n_policies :]]


def _towards(learner: Any, episode: Any) -> LibraryPolicy:
    """A Pareto-conditioned network asked for the return of an episode, and for what is left of it at every step."""
    wanted, horizon = np.float32(episode[0].reward), np.float32(len(episode))

    def begin() -> None:
        learner.set_desired_return_and_horizon(wanted.copy(), np.float32(horizon))

    def told(reward: np.ndarray) -> None:
        left = np.float32(max(float(learner.desired_horizon) - 1.0, 1.0))
        learner.set_desired_return_and_horizon(np.float32(learner.desired_return - reward), left)

    return LibraryPolicy(begin, learner.eval, told)


def _random_play(order: Order, episodes: int = 5) -> tuple[np.ndarray, float]:
    """([m] ranges of the returns, mean length) of random episodes, at least 1."""
    env = order.make()
    env.action_space.seed(order.seed)
    returns, lengths = [], []
    for i in range(episodes):
        env.reset(seed=order.seed + i)
        total, over, n = np.zeros(len(order.ref_point)), False, 0
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total, n, over = total + np.asarray(reward), n + 1, terminated or truncated
        returns.append(total)
        lengths.append(n)
    env.close()
    return np.maximum(np.abs(np.array(returns)).max(axis=0), 1.0), float(np.mean(lengths))
