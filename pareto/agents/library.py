"""The learners of morl-baselines, called for comparison and scored like everything else (extra `baselines`)."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto import simplex
from pareto.errors import ConfigError, MissingPackageError
from pareto.registry import Registry


@dataclass(frozen=True)
class LibraryPolicy:
    """One policy of a learner of the library.

    Args:
        begin: called at the start of every episode.
        act: observation -> action, both as the environment has them.
        told: hears every reward [m].
    """

    begin: Callable[[], None]
    act: Callable[[Any], Any]
    told: Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Order:
    """What a learner is asked for.

    Args:
        make: makes an environment of MO-Gymnasium's.
        ref_point: [m].
        gamma: discount.
        steps: environment steps of training.
        seed: of everything.
        n_policies: at how many weights a conditioned learner is deployed.
    """

    make: Callable[[], Any]
    ref_point: np.ndarray
    gamma: float
    steps: int
    seed: int
    n_policies: int = 16

    @property
    def weights(self) -> np.ndarray:
        """[k, m] evenly spread, at least `n_policies` of them or the coarsest lattice that has."""
        m = len(self.ref_point)
        return simplex.das_dennis(m, simplex.divisions_for(m, self.n_policies)).astype(np.float32)


LIBRARY: Registry[Callable[[Order], list[LibraryPolicy]]] = Registry(
    "learner of the library", "pareto.agents.library"
)
"""Name -> function that trains and returns the policies to be scored."""


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


@LIBRARY.register("envelope_library", source="morl-baselines 1.3, Envelope; Yang et al. (2019)")
def envelope_library(order: Order) -> list[LibraryPolicy]:
    """Envelope Q-learning with the library's defaults."""
    from morl_baselines.multi_policy.envelope.envelope import Envelope

    learner = Envelope(order.make(), gamma=order.gamma, log=False, seed=order.seed)
    learner.train(total_timesteps=order.steps)
    return [_at(learner, w) for w in order.weights]


@LIBRARY.register("gpi_ls", source="morl-baselines 1.3, GPI-LS; Alegre et al. (2023)")
def gpi_ls(order: Order) -> list[LibraryPolicy]:
    """GPI-LS with the library's defaults; `per=True`, since it crashes without prioritised replay."""
    from morl_baselines.multi_policy.gpi_pd.gpi_pd import GPIPD

    learner = GPIPD(order.make(), gamma=order.gamma, per=True, dyna=False, log=False, seed=order.seed)
    learner.train(
        total_timesteps=order.steps,
        eval_env=order.make(),
        ref_point=order.ref_point,
        timesteps_per_iter=max(1, order.steps // 2),
        num_eval_weights_for_front=4,
        num_eval_episodes_for_front=1,
        eval_freq=order.steps * 2,
        eval_mo_freq=order.steps * 2,
        checkpoints=False,
    )
    return [_at(learner, w) for w in order.weights]


@LIBRARY.register("morl_d", source="morl-baselines 1.3, MORL/D with MOSACDiscrete; Felten et al. (2024)")
def morl_d(order: Order) -> list[LibraryPolicy]:
    """MORL/D: six soft actor-critics at fixed weights."""
    from morl_baselines.multi_policy.morld.morld import MORLD

    learner = MORLD(
        order.make(),
        policy_name="MOSACDiscrete",
        gamma=order.gamma,
        log=False,
        seed=order.seed,
        exchange_every=max(1, order.steps // 2),
    )
    learner.train(
        total_timesteps=order.steps,
        eval_env=order.make(),
        ref_point=order.ref_point,
        num_eval_episodes_for_front=1,
        checkpoints=False,
    )
    return [_at(member.wrapped, member.weights) for member in learner.population]


def train_library(name: str, order: Order) -> list[LibraryPolicy]:
    """Train one of `LIBRARY`, in a folder of its own, since the library writes where it stands.

    Raises:
        MissingPackageError: morl-baselines is not installed.
        UnknownNameError: no such learner.
    """
    if importlib.util.find_spec("morl_baselines") is None:
        raise MissingPackageError("morl-baselines", "baselines", f"the library's learner {name!r}")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("WANDB_MODE", "disabled")
    learn = LIBRARY.get(name)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        return learn(order)


def score_library(policies: Sequence[LibraryPolicy], order: Order, seeds: Sequence[int]) -> np.ndarray:
    """[k, n, m] discounted returns of every policy on the same episodes.

    Args:
        policies: k of them.
        order: they were trained by.
        seeds: [n], one per episode.
    """
    env = order.make()
    limit = env.spec.max_episode_steps if env.spec is not None else None
    if limit is None:
        raise ConfigError("an environment without a time limit could run for ever; give make() one that has")
    returns = np.zeros((len(policies), len(seeds), len(order.ref_point)))
    for k, policy in enumerate(policies):
        for i, seed in enumerate(seeds):
            seen, _ = env.reset(seed=int(seed))
            policy.begin()
            discount, over = 1.0, False
            while not over:
                seen, reward, terminated, truncated, _ = env.step(policy.act(seen))
                policy.told(np.asarray(reward))
                returns[k, i] += discount * np.asarray(reward)
                discount *= order.gamma
                over = terminated or truncated
    env.close()
    return returns


def _at(learner: Any, weights: np.ndarray) -> LibraryPolicy:
    return LibraryPolicy(lambda: None, lambda seen: learner.eval(seen, weights), lambda reward: None)


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
