"""Batches: every example once an epoch, seeded, at any step first, similar lengths together."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.core.sampler import WINDOW_BATCHES, Sampler, epoch_batches

LENGTHS = np.random.default_rng(0).integers(1, 200, 600)


@pytest.mark.parametrize(("n", "size"), [(600, 8), (601, 8), (607, 8), (9, 8), (600, 600)])
def test_an_epoch_holds_each_example_at_most_once_and_drops_less_than_a_batch(n, size):
    batches = epoch_batches(np.resize(LENGTHS, n), size, seed=0, epoch=0)
    seen = np.concatenate(batches)
    assert all(len(b) == size for b in batches)
    assert len(set(seen.tolist())) == len(seen) == n // size * size
    assert seen.min() >= 0
    assert seen.max() < n


def test_a_batch_larger_than_the_data_takes_all_of_it():
    (batch,) = epoch_batches(LENGTHS[:5], 8, seed=0, epoch=0)
    assert sorted(batch.tolist()) == [0, 1, 2, 3, 4]


def test_the_seed_and_the_epoch_decide_the_order():
    def order(seed, epoch):
        return np.concatenate(epoch_batches(LENGTHS, 8, seed=seed, epoch=epoch)).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


def test_what_is_left_out_changes_from_epoch_to_epoch():
    left = [
        set(range(15)) - set(np.concatenate(epoch_batches(LENGTHS[:15], 8, seed=0, epoch=e)).tolist())
        for e in range(10)
    ]
    assert len(set().union(*left)) == 15


def test_a_step_does_not_depend_on_the_steps_before_it():
    forward = Sampler(LENGTHS[:50], 8, seed=3)
    assert forward.steps_per_epoch == 6
    in_order = [forward.batch(i).tolist() for i in range(20)]
    jumping = Sampler(LENGTHS[:50], 8, seed=3)
    for i in (19, 0, 7, 6, 13, 5, 19):
        assert jumping.batch(i).tolist() == in_order[i]
    assert [Sampler(LENGTHS[:50], 8, seed=3).batch(i).tolist() for i in range(20)] == in_order


def test_similar_lengths_stand_together():
    def padding(batches):
        return sum(int((LENGTHS[b].max() - LENGTHS[b]).sum()) for b in batches)

    sorted_by_length = epoch_batches(LENGTHS, 8, seed=0, epoch=0)
    shuffled = epoch_batches(np.ones(600, dtype=np.int64), 8, seed=0, epoch=0)
    assert padding(sorted_by_length) < padding(shuffled) / 10


def test_batches_do_not_come_in_order_of_length():
    means = [LENGTHS[b].mean() for b in epoch_batches(LENGTHS, 8, seed=0, epoch=0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4
    assert WINDOW_BATCHES > 1
