"""The lab's world: what its settings promise, checked by counting."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pareto.errors import ConfigError
from pareto.tasks.lab import Lab
from pareto.tasks.lab.reference import PairsConfig, _group_of_users, sample_pairs
from pareto.tasks.lab.world import make_world

SETTINGS = dict(n_prompts=96, heldout=24, slots=4, choices=3, conflict=0.2, reward_scale=2.5)


def world(seed: int = 0, m: int = 2, **more: object):
    return make_world(seed=seed, m=m, **{**SETTINGS, **more})


def test_every_reply_is_enumerated_once_in_order() -> None:
    assert world().responses.tolist() == [list(c) for c in product(range(3), repeat=4)]


def test_held_out_prompts_are_unseen_combinations_of_seen_parts() -> None:
    w = world()
    train, heldout = w.prompts[w.split("selection")], w.prompts[w.split("heldout")]
    assert len(train) == 72
    assert len(heldout) == 24
    assert not {tuple(p) for p in train} & {tuple(p) for p in heldout}
    for factor in range(3):
        assert set(heldout[:, factor]) <= set(train[:, factor])


def test_rewards_are_their_tables_added_up() -> None:
    """Against a loop over the definition."""
    w = world(m=3)
    rewards = w.rewards()
    for k, p, y in ((0, 0, 0), (1, 50, 17), (2, 95, 80)):
        c = w.responses[y]
        by_hand = sum(w.unary[k, p, s, c[s]] for s in range(4)) + sum(
            w.neighbours[k, s, c[s], c[s + 1]] for s in range(3)
        )
        assert rewards[k, p, y] == pytest.approx(by_hand, abs=1e-12)
    assert w.rewards_by_slot(5).sum(-1) == pytest.approx(rewards[:, 5])


def test_rewards_are_standardised_under_the_corpus() -> None:
    w = world(seed=3)
    p, r = np.exp(w.corpus_logps(np.arange(96))), w.rewards()
    mean = (p * r).sum(-1)
    assert mean == pytest.approx(np.zeros((2, 96)), abs=1e-9)
    assert np.sqrt((p * r**2).sum(-1).mean(-1)) == pytest.approx([2.5, 2.5])


def test_the_corpus_is_a_distribution() -> None:
    assert np.exp(world().corpus_logps(np.arange(96))).sum(1) == pytest.approx(np.ones(96))


def test_rewards_depend_on_the_prompt_and_on_neighbouring_slots() -> None:
    w = world()
    r = w.rewards()[0]
    assert np.abs(r[0] - r[1]).max() > 0.1
    grid = r[0].reshape((3,) * 4)
    interaction = grid[1, 1] - grid[0, 1] - grid[1, 0] + grid[0, 0]  # zero where slots 0 and 1 only add up
    assert np.abs(interaction).max() > 0.01
    assert np.ptp(interaction) == pytest.approx(0.0, abs=1e-9)  # and slot 2 meets slot 1 only


@pytest.mark.parametrize(("m", "conflict"), [(2, 0.0), (2, 0.5), (2, 1.0), (4, 1.0)])
def test_conflict_is_minus_the_correlation_of_the_tables(m: int, conflict: float) -> None:
    tables = np.concatenate(
        [world(seed=s, m=m, conflict=conflict).neighbours.reshape(m, -1) for s in range(60)], axis=1
    )
    correlation = np.corrcoef(tables)[np.triu_indices(m, 1)]
    assert correlation == pytest.approx(np.full(len(correlation), -conflict / (m - 1)), abs=0.08)


def test_a_seed_is_a_problem() -> None:
    assert (world(seed=1).unary == world(seed=1).unary).all()
    assert not (world(seed=1).unary == world(seed=2).unary).any()


def test_too_few_prompts_to_show_every_part() -> None:
    with pytest.raises(ConfigError, match="more prompts"):
        make_world(seed=0, m=2, **{**SETTINGS, "n_prompts": 20, "heldout": 18})


def pairs(w, **settings: object):
    lab = Lab(slots=4, choices=3)
    from pareto.tasks.lab import language

    ref = w.corpus_logps(np.arange(w.n_prompts))
    return sample_pairs(w, ref, language.make_tokenizer(w), lab.objectives, PairsConfig(n=40_000, **settings))


def test_labels_follow_bradley_terry() -> None:
    """Label frequency against the sigmoid of the reward gap, in bins of the gap."""
    w = world()
    data, reply = pairs(w)
    r = w.rewards()[:, data.table.prompt_of, reply]
    gap = r[0, data.a] - r[0, data.b]
    for low in (-3, -1, 0, 1):
        bin_ = (gap >= low) & (gap < low + 1)
        expected = (1 / (1 + np.exp(-gap[bin_]))).mean()
        assert (data.labels[bin_, 0] > 0).mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(bin_.sum()))


def test_noise_ties_and_missing_labels_come_in_the_asked_shares() -> None:
    w = world()
    noisy, reply = pairs(w, label_noise=0.2, tie_rate=0.1, missing_rate=0.3)
    assert np.isnan(noisy.labels).mean() == pytest.approx(0.3, abs=0.01)
    known = ~np.isnan(noisy.labels)
    assert (noisy.labels[known] == 0).mean() == pytest.approx(0.1, abs=0.01)
    r = w.rewards()[:, noisy.table.prompt_of, reply]
    gap = (r[:, noisy.a] - r[:, noisy.b]).T
    assert np.abs(gap[noisy.labels == 0]).max() < np.quantile(np.abs(gap), 0.2)
    sure = known & (np.abs(gap) > 6) & (noisy.labels != 0)
    assert ((noisy.labels > 0) != (gap > 0))[sure].mean() == pytest.approx(0.2, abs=0.02)


def test_responses_of_a_pair_differ_and_answer_its_prompt() -> None:
    data, _ = pairs(world())
    assert (data.a != data.b).all()
    assert data.table.prompt_of.max() < 72  # training prompts only


def test_users_choose_by_their_groups_taste() -> None:
    w = world(groups=2)
    assert w.tastes[0].argmax() == 0
    assert w.tastes[1].argmax() == 1
    data, reply = pairs(w, users=22)
    assert data.user is not None
    assert data.group is not None
    assert data.choice is not None
    assert np.bincount(_group_of_users(2, 22)).tolist() == [20, 2]
    r = w.rewards()[:, data.table.prompt_of, reply]
    gap = r[:, data.a] - r[:, data.b]
    second = (data.group == 1) & (np.abs(gap[1]) > 4) & (np.sign(gap[0]) != np.sign(gap[1]))
    assert ((data.choice > 0) == (gap[1] > 0))[second].mean() > 0.7


def test_planted_importance_is_on_the_simplex_and_follows_the_prompt() -> None:
    planted = world(planted_importance=True).importance
    assert planted.sum(1) == pytest.approx(np.ones(96))
    assert np.ptp(planted[:, 0]) > 0.1
    assert np.ptp(world().importance) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 6, "choices": 8}, "8192"),
        ({"prompts": 20, "heldout": 20}, "heldout must be less"),
        ({"objectives": ["only"]}, "2 to 6 objectives"),
        ({"groups": 3, "users": 1}, "every group needs a user"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lab(**settings)  # type: ignore[arg-type]
