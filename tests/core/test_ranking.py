"""Ranking accuracy against counts by hand, the DPO loss, and the exact optimum of an enumerable bandit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pareto.core import ranking
from pareto.core.losses.base import PairLogps
from pareto.core.losses.dpo import dpo
from pareto.core.preference_metrics import pair_metrics
from tests.core.losses.pairs import BANDIT_REF, BANDIT_REWARDS, random_pairs, sigmoid, tilted


def pairs_of(policy, reference, lengths=((1.0, 1.0),) * 4):
    """Pairs from rows (chosen, rejected) of log-probabilities."""
    columns = [torch.tensor(column, dtype=torch.float64) for column in (*zip(*policy), *zip(*reference))]
    return PairLogps(*columns, *(torch.tensor(c, dtype=torch.float64) for c in zip(*lengths)))


# right before and after; right only after; right only before; wrong both times
POLICY = [(-1.0, -2.0), (-1.0, -2.0), (-3.0, -2.0), (-3.0, -2.0)]
REFERENCE = [(-1.0, -3.0), (-4.0, -2.0), (-1.0, -2.0), (-5.0, -2.0)]


def test_counts_by_hand():
    pairs = pairs_of(POLICY, REFERENCE)
    assert ranking.ranked_right(pairs.chosen_logps, pairs.rejected_logps).tolist() == [1, 1, 0, 0]
    assert ranking.flips(pairs).tolist() == [0, 1, -1, 0]
    # gaps of log-ratios: 1 - 2 = -1; 1 + 2 = 3; -1 - 1 = -2; -1 + 3 = 2: moving right is not ranking right
    assert ranking.moved_right(pairs_of(POLICY, REFERENCE)).tolist() == [0, 1, 0, 1]


def test_a_tie_is_not_right():
    assert ranking.ranked_right(torch.zeros(1), torch.zeros(1)).tolist() == [0]


def test_per_token_ranking_divides_by_length():
    pairs = pairs_of([(-4.0, -2.0)], [(-1.0, -1.0)], [(8.0, 1.0)])  # -0.5 against -2 per token
    assert ranking.ranked_right(pairs.chosen_logps, pairs.rejected_logps).item() == 0
    assert ranking.ranked_right(pairs.chosen_mean, pairs.rejected_mean).item() == 1


def test_accuracy_moves_by_the_flips():
    pairs = random_pairs(500, seed=4)
    after = ranking.ranked_right(pairs.chosen_logps, pairs.rejected_logps).mean()
    before = ranking.ranked_right(pairs.ref_chosen_logps, pairs.ref_rejected_logps).mean()
    flips = ranking.flips(pairs)
    assert (after - before).item() == pytest.approx(flips.mean().item(), abs=1e-6)
    assert (flips == 1).sum() > 50
    assert (flips == -1).sum() > 50


def test_the_figures_of_a_log_are_these():
    pairs = random_pairs(300, seed=5)
    logged = pair_metrics(pairs, beta=0.4, confidence=0.8)
    assert torch.equal(
        logged["ranking_accuracy"], ranking.ranked_right(pairs.chosen_logps, pairs.rejected_logps)
    )
    assert torch.equal(logged["rewards/accuracies"], ranking.moved_right(pairs))
    assert torch.equal(logged["flips/gained"] - logged["flips/lost"], ranking.flips(pairs))
    ideal = ranking.ideally_ranked_right(pairs, beta=0.4, certainty=0.8)
    assert torch.equal(logged["idealised_ranking_accuracy"], ideal)


@pytest.mark.parametrize("beta", [0.05, 0.3, 2.0])
def test_a_pair_is_ranked_right_iff_its_dpo_loss_is_below_the_threshold(beta):
    pairs = random_pairs(1000, seed=1)
    below = dpo(pairs, beta=beta) < ranking.loss_when_ranked_right(pairs, beta=beta)
    assert torch.equal(below, ranking.ranked_right(pairs.chosen_logps, pairs.rejected_logps).bool())
    assert 100 < below.sum() < 900


def test_the_threshold_is_ln_2_where_the_reference_is_indifferent():
    pairs = pairs_of([(-1.0, -2.0)], [(-3.0, -3.0)], [(1.0, 1.0)])
    assert ranking.loss_when_ranked_right(pairs, beta=0.7).item() == pytest.approx(math.log(2.0))


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_the_ideal_is_what_the_exact_optimum_of_the_bandit_does(beta):
    """pi* = ref exp(r / beta) / Z enumerated, its odds taken pair by pair, against the formula."""
    reward = BANDIT_REWARDS[0]
    best = tilted(reward / beta)
    i, j = map(np.ravel, np.indices((5, 5)))
    i, j = i[i != j], j[i != j]
    certainty = torch.tensor([sigmoid(d) for d in reward[i] - reward[j]], dtype=torch.float64)
    ref = torch.from_numpy(np.log(BANDIT_REF))
    ones = torch.ones(len(i), dtype=torch.float64)
    pairs = PairLogps(ones, ones, ref[i], ref[j], ones, ones)
    odds = ranking.ideal_log_odds(pairs, beta=beta, certainty=certainty)
    np.testing.assert_allclose(odds, np.log(best[i] / best[j]), atol=1e-12)
    right = ranking.ideally_ranked_right(pairs, beta=beta, certainty=certainty)
    assert right.numpy().astype(bool).tolist() == (best[i] > best[j]).tolist()
    assert 0 < right.mean() < 1


def test_even_the_optimum_ranks_a_far_off_reference_wrong():
    """log(.9 / .1) / .5 = 4.394 nats is all that a 90 % label moves at beta .5."""
    pairs = pairs_of([(0.0, 0.0)] * 2, [(-5.0, -0.7), (-5.0, -0.5)], [(1.0, 1.0)] * 2)
    assert ranking.ideally_ranked_right(pairs, beta=0.5, certainty=0.9).tolist() == [1, 0]
