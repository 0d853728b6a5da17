"""Weights chosen by what was measured, against fronts whose best policies are known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pareto import simplex
from pareto.errors import ConfigError, MissingPackageError
from pareto.front import hypervolume
from pareto.objectives import Objectives
from pareto.rng import generator
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS
from pareto.study.weights.linear_support import _corners
from pareto.study.weights.search import Known, Proposal, Search, pool, untried

Front = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""[n, m] weights -> ([n, m] values of the best policies, [n] what they maximise beside weights . values)."""


def search(kind: str, m: int = 3, **config: Any) -> tuple[Search, WeightsConfig]:
    made = WeightsConfig.model_validate({"kind": kind, "n": 12, **config})
    found: Any = WEIGHTS.get(kind)
    found = found()
    found.check(Objectives([f"o{i}" for i in range(m)]), made)
    return found, made


def known(front: Front, weights: np.ndarray, variance: float = 0.0, round: int = 1) -> Known:
    values, offsets = front(weights)
    corners, _ = front(np.eye(weights.shape[1]))
    point = corners.min(axis=0) - 0.1 * np.ptp(corners, axis=0)
    return Known(weights, values, np.full(values.shape, variance), offsets, point, weights, round)


def finite(vectors: np.ndarray) -> Front:
    """The best of finitely many value vectors."""
    return lambda weights: (vectors[(weights @ vectors.T).argmax(axis=1)], np.zeros(len(weights)))


def bandit(rewards: np.ndarray, beta: float) -> Front:
    """[k, m] rewards of k actions: the policy that is best with a KL penalty, by its closed form."""

    def front(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = weights @ rewards.T / beta
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        kl = (p * np.log(np.maximum(p, 1e-300) * len(rewards))).sum(axis=1)
        return p @ rewards, -beta * kl

    return front


def run(
    kind: str, front: Front, m: int, rounds: int, batch: int = 1, **config: Any
) -> tuple[np.ndarray, Proposal]:
    """Weights after some rounds, and the last proposal."""
    found, made = search(kind, m, **config)
    weights, proposal = np.eye(m), Proposal(np.zeros((0, m)))
    for i in range(rounds):
        proposal = found.propose(known(front, weights, round=i + 1), made, batch)
        if not len(proposal.weights):
            break
        weights = np.vstack([weights, proposal.weights])
    return weights, proposal


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_corners_of_the_upper_surface_are_where_m_lines_meet(m: int) -> None:
    """Brute force: every m of the lines and simplex borders meet in a point; those on the surface are its corners."""
    draw = generator("test", "corners", m)
    lines = np.column_stack([draw.normal(size=(5, m)), 0.3 * draw.normal(size=5)])
    from itertools import combinations

    planes = [np.append(line[:m], [-1.0, line[m]]) for line in lines]  # w.f - u + t = 0
    planes += [np.append(np.eye(m)[i], [0.0, 0.0]) for i in range(m)]  # w_i = 0
    wanted = []
    for chosen in combinations(planes, m):
        system = np.array([row[:-1] for row in chosen] + [np.append(np.ones(m), 0.0)])
        if abs(np.linalg.det(system)) < 1e-9:
            continue
        solved = np.linalg.solve(system, np.append([-row[-1] for row in chosen], 1.0))
        w, u = solved[:m], solved[m]
        if (w > -1e-9).all() and abs((lines[:, :m] @ w + lines[:, m]).max() - u) < 1e-9:
            wanted.append(np.clip(w, 0, 1))
    wanted = np.unique(np.round(wanted, 7), axis=0)
    found = np.unique(np.round(_corners(lines), 7), axis=0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("m", [2, 3])
def test_linear_support_finds_every_best_vector_and_certifies_it(m: int) -> None:
    vectors = generator("test", "ols", m).normal(size=(12, m))
    front = finite(vectors)
    weights, last = run("linear_support", front, m, 40)
    found = set((weights @ vectors.T).argmax(axis=1))
    grid = simplex.das_dennis(m, 60)
    assert set((grid @ vectors.T).argmax(axis=1)) <= found
    # rounding weights to 4 digits can leave a gap of about 1e-4 of a value
    assert last.facts["certificate"] < 1e-3


@pytest.mark.parametrize("batch", [1, 3])
def test_the_certificate_bounds_what_any_weights_could_gain(batch: int) -> None:
    """With a KL penalty too: J(w) = max_p w.f - beta KL is convex, and the bound must lie above it everywhere."""
    front = bandit(generator("test", "bandit").normal(size=(30, 3)), beta=0.4)
    found, made = search("linear_support", 3)
    grid = simplex.cell_centres(3, 25)
    values, offsets = front(grid)
    best = (grid * values).sum(axis=1) + offsets
    weights, gaps = np.eye(3), []
    for i in range(4):
        told = known(front, weights, round=i + 1)
        proposal = found.propose(told, made, batch)
        reached = (grid @ told.values.T + told.offsets).max(axis=1)
        assert (reached <= best + 1e-9).all()
        assert (best - reached).max() <= proposal.facts["certificate"] + 1e-9
        assert len(proposal.weights) == batch
        gaps.append(proposal.facts["certificate"])
        weights = np.vstack([weights, proposal.weights])
    assert gaps == sorted(gaps, reverse=True)


def test_noise_widens_the_certificate_and_epsilon_ends_the_search() -> None:
    front = bandit(generator("test", "bandit").normal(size=(30, 3)), beta=0.4)
    weights, last = run("linear_support", front, 3, 6)
    found, made = search("linear_support", epsilon=1.01 * last.facts["certificate"])
    assert len(found.propose(known(front, weights[:-1]), made, 2).weights) == 0
    noisy = found.propose(known(front, weights[:-1], variance=0.04), made, 2)
    assert noisy.facts["certificate"] > made.epsilon
    assert len(noisy.weights) == 2


@pytest.fixture
def compiling_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a lock that a killed process left behind would, but at once instead of for ever."""
    from botorch.acquisition.multi_objective import logei
    from torch.utils import cpp_extension

    def never(*args: object, **options: object) -> None:
        pytest.fail("botorch was about to compile")

    monkeypatch.setattr(cpp_extension, "load", never)
    monkeypatch.setattr(logei, "_load_attempted", False)


@pytest.mark.usefixtures("compiling_fails")
@pytest.mark.parametrize("model", ["gradient", "independent"])
def test_qlognehvi_takes_the_gap_and_repeats_itself(model: str) -> None:
    """A quarter circle known at one half only: both of the next two weights lie in the other."""

    def circle(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = weights[:, 0] * np.pi / 2
        return np.column_stack([np.sin(angle), np.cos(angle)]), np.zeros(len(weights))

    first = np.array([1.0, 0.0, 0.55, 0.65, 0.75, 0.85, 0.95])
    told = known(circle, np.column_stack([first, 1 - first]), variance=1e-6)
    found, made = search("qlognehvi", 2, pool=40, model=model)
    one, two = (found.propose(told, made, 2) for _ in range(2))
    np.testing.assert_array_equal(one.weights, two.weights)
    assert (one.weights[:, 0] < 0.5).all()
    assert abs(np.diff(one.weights[:, 0]))[0] > 0.1  # the second knows of the first
    lattice = simplex.cell_centres(2, 40)
    assert all(np.abs(lattice - w).max(axis=1).min() == 0 for w in one.weights)
    with_them = circle(np.vstack([told.weights, one.weights]))[0]
    gained = hypervolume(with_them, told.ref_point) - hypervolume(told.values, told.ref_point)
    assert sum(one.facts["expected_gain"][:1]) == pytest.approx(gained, rel=0.6)


@pytest.mark.usefixtures("compiling_fails")
def test_qlognehvi_never_takes_what_was_tried_and_ends_with_its_pool() -> None:
    front = bandit(generator("test", "bandit").normal(size=(10, 2)), beta=0.5)
    lattice = pool(2, WeightsConfig(kind="qlognehvi", n=9, pool=2))  # 3 cells
    weights, last = run("qlognehvi", front, 2, 9, batch=2, pool=2)
    assert len(weights) == 2 + len(lattice)
    assert len(last.weights) == 0


def test_a_search_says_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"needs weights\.n, the number of weights in all, larger than the 3 corners"
    ):
        search("linear_support", n=3)
    with pytest.raises(ConfigError, match="remove corners: false"):
        search("linear_support", corners=False)
    with pytest.raises(ConfigError, match="2 to 4 objectives; got 5"):
        search("qlognehvi", 5)
    monkeypatch.setitem(sys.modules, "botorch", None)
    monkeypatch.setattr("pareto.study.weights.qlognehvi.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pareto-align\[adaptive\]"):
        search("qlognehvi", 3)


def test_untried_is_a_set_difference() -> None:
    rows = simplex.das_dennis(3, 2)
    left = untried(rows, rows[[0, 3]] + 1e-12)
    np.testing.assert_array_equal(left, np.delete(rows, [0, 3], axis=0))
    assert len(untried(rows, np.zeros((0, 3)))) == len(rows)


@pytest.mark.parametrize(("m", "n"), [(2, 7), (3, 11)])
def test_energy_gives_exactly_n_that_keep_their_distance(m: int, n: int) -> None:
    pytest.importorskip("pymoo")
    config = WeightsConfig(kind="energy", n=n, seed=1)
    rows = WEIGHTS.get("energy")(Objectives([f"o{i}" for i in range(m)]), config)
    simplex.check(rows)
    assert rows.shape == (n, m)
    np.testing.assert_array_equal(rows[:m], np.eye(m))
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=-1)[np.triu_indices(n, 1)]
    spread = simplex.sample(m, n, generator("test", "energy"))
    by_chance = np.linalg.norm(spread[:, None] - spread[None], axis=-1)[np.triu_indices(n, 1)]
    assert apart.min() > 2 * by_chance.min()
    with pytest.raises(ConfigError, match=r"needs weights\.n"):
        WEIGHTS.get("energy")(Objectives(["a", "b"]), WeightsConfig(kind="energy"))


@pytest.mark.parametrize("batch", [2, 3])
def test_with_the_gradient_fifteen_weights_reach_twenty_one_cell_centres(batch: int) -> None:
    """On a strongly curved front; the best fifteen that can be found from the true front reach 1.04 times as much."""
    draw = generator("test", "curved")
    rewards = draw.normal(size=(60, 3))
    front = bandit(rewards - 0.8 * rewards.mean(axis=1, keepdims=True), beta=0.15)
    weights, _ = run("qlognehvi", front, 3, rounds=12 // batch, batch=batch, pool=15)
    assert len(weights) == 15
    told = known(front, weights)
    lattice = front(simplex.cell_centres(3, 5))[0]
    assert hypervolume(told.values, told.ref_point) > hypervolume(lattice, told.ref_point)
