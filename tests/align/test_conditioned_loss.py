"""The loss of a weight-conditioned policy: numbers by hand, and a population whose optimum is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto import rng
from pareto.align.conditioned_loss import ConditionedLoss
from pareto.core.objective import ScoredExamples

NAN = float("nan")


def scored(logps: list[list[float]], n_views: int) -> ScoredExamples:
    values = torch.tensor(logps)
    return ScoredExamples(
        torch.zeros(0),
        torch.zeros(0, dtype=torch.int64),
        values,
        torch.full_like(values, 3.0),
        torch.arange(len(values)),
    )


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def coins(gap: float, target: float) -> float:
    p, q = sigmoid(target), sigmoid(gap)
    return -(p * np.log(q) + (1 - p) * np.log(1 - q))


def loss(labels: list[float], weights: list[list[float]], gaps: list[float] | None = None, **more):
    return ConditionedLoss(
        torch.zeros(1, 2),
        torch.tensor([labels]),
        torch.tensor([weights]),
        None if gaps is None else torch.tensor([gaps]),
        **{"beta": 0.5, **more},
    )


def test_distance_by_hand():
    """Gaps at beta .5: corners .5 * (2 - 0) = 1 and .5 * (0 - 1) = -.5, inner .5 * (1 - .6) = .2; target .3 - .35 = -.05."""
    views = scored([[2.0, 0.0, 1.0, 0.0, 1.0, 0.6]], 1)
    want = -np.log(sigmoid(1.0)) - np.log(sigmoid(0.5)) + coins(0.2, 0.3 * 1.0 + 0.7 * -0.5)
    value, metrics = loss([1.0, -1.0], [[0.3, 0.7]])(views)
    assert float(value) == pytest.approx(want / 3, rel=1e-6)
    assert float(metrics["rewards/accuracies"]) == 1.0
    # a tie and an unknown label leave their corners out
    value, _ = loss([0.0, NAN], [[0.3, 0.7]])(views)
    assert float(value) == pytest.approx(coins(0.2, 0.3 * 1.0 + 0.7 * -0.5), rel=1e-6)
    # given gaps: corners are drawn to them, an unknown one is the corner's own
    value, _ = loss([NAN, NAN], [[0.3, 0.7]], [0.4, NAN])(views)
    want = coins(1.0, 0.4) + coins(0.2, 0.3 * 0.4 + 0.7 * -0.5)
    assert float(value) == pytest.approx(want / 2, rel=1e-6)


def test_margin_by_hand():
    """Objective 0 won, so its margin is .7 * -.5; objective 1 lost, so with the sign turned its margin is .3 * 1."""
    views = scored([[2.0, 0.0, 1.0, 0.0, 1.0, 0.6]], 1)
    first = -np.log(sigmoid((0.2 + 0.35) / 0.3))
    second = -np.log(sigmoid(-(0.2 - 0.3) / 0.7))
    want = -np.log(sigmoid(1.0)) - np.log(sigmoid(0.5)) + 0.3 * first + 0.7 * second
    value, _ = loss([1.0, -1.0], [[0.3, 0.7]], inner="margin")(views)
    assert float(value) == pytest.approx(want / 3, rel=1e-6)


def test_the_anchor_counts_the_mass_of_all_views():
    views = scored([[0.0, 0.0, np.log(0.5), 0.0, 0.0, np.log(0.5)]], 1)
    plain, anchored = (loss([1.0, 1.0], [[0.5, 0.5]], mass_anchor=a)(views)[0] for a in (0.0, 0.2))
    assert float(plain - anchored) == pytest.approx(0.2 * (4 * 1.0 + 2 * 0.5) / 6)


@pytest.mark.parametrize(
    "form", ["implicit distance", "implicit margin", "explicit distance", "explicit margin"]
)
def test_the_population_optimum_is_the_tilted_reference(form: str):
    """Six replies, all pairs with the probabilities of their labels, free log-probabilities at every view: at
    pi_ref exp(w.r / beta) all slopes vanish, and nowhere near."""
    margins, inner = form.split()
    draw = rng.generator("test", 0)
    ref = np.log(draw.dirichlet(np.full(6, 3.0)))
    r = draw.standard_normal((6, 2))
    w = np.array([[0.25, 0.75], [0.6, 0.4]])
    a, b = np.array([(i, j) for i in range(6) for j in range(6) if i != j]).T
    gap = r[a] - r[b]
    win = 1 / (1 + np.exp(-gap))
    rows, labels, chance = [], [], []
    for y0 in (1.0, -1.0):
        for y1 in (1.0, -1.0):
            rows.append(np.arange(len(a)))
            labels.append(np.tile([y0, y1], (len(a), 1)))
            chance.append(
                np.where(y0 > 0, win[:, 0], 1 - win[:, 0]) * np.where(y1 > 0, win[:, 1], 1 - win[:, 1])
            )
    row, share = np.concatenate(rows), torch.tensor(np.concatenate(chance))
    own = ConditionedLoss(
        torch.tensor(np.stack([ref[a], ref[b]], 1)[row]),
        torch.tensor(np.concatenate(labels)),
        torch.tensor(np.tile(w, (len(row), 1, 1))),
        torch.tensor(gap[row]) if margins == "explicit" else None,
        beta=0.7,
        inner=inner,  # type: ignore[arg-type]
    )
    index = torch.arange(len(row))
    ia, ib = torch.tensor(a[row]), torch.tensor(b[row])
    best = ref[:, None] + r @ np.array([[1.0, 0.0], [0.0, 1.0], *w.tolist()]).T / 0.7  # [6, 4]

    def slope(shift: np.ndarray) -> torch.Tensor:
        free = torch.tensor(best + shift, requires_grad=True)
        logps = free.log_softmax(0)
        both = torch.cat([logps[ia], logps[ib]], dim=1)
        losses, _ = own(ScoredExamples(both[:0, 0], index[:0], both, both, index))
        (losses * share).sum().backward()
        assert free.grad is not None
        return free.grad.abs().amax(0)

    # Corners and inner views are convex each in its own log-ratios, so where all slopes vanish is the only minimum.
    assert float(slope(np.zeros((6, 4))).max()) < 1e-6
    for view in range(4):
        moved = np.zeros((6, 4))
        moved[2, view] = 0.1
        assert float(slope(moved)[view]) > 1e-3
