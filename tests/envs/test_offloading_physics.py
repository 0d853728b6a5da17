"""The formulas against hand calculations and against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.offloading import physics
from envs.offloading.channel import Interference, LinkBudget, Rayleigh
from envs.offloading.workload import Poisson
from envs.streams import Streams

bits = st.floats(1.0, 1e8)


def descending(sizes, places):
    levels = np.zeros((places, 1))
    levels[: len(sizes), 0] = sorted(sizes, reverse=True)
    return levels


@settings(max_examples=60, deadline=None)
@given(st.lists(bits, max_size=8), st.floats(0.0, 5e8), st.integers(0, 3))
def test_drained_serves_the_work_or_everything(sizes, work, spare):
    levels = descending(sizes, len(sizes) + spare + 1)
    lost = physics.drained(levels, np.array([work]))[0]
    served = sum(min(size, lost) for size in sizes)
    assert served == pytest.approx(min(work, sum(sizes)), rel=1e-9, abs=1e-3)
    if work >= sum(sizes):
        assert lost >= max(sizes, default=0.0) - 1e-6


@settings(max_examples=40, deadline=None)
@given(st.lists(bits, max_size=8), bits)
def test_insert_keeps_the_order(sizes, size):
    levels = descending(sizes, len(sizes))
    placed = physics.insert(levels, np.array([size]))
    assert placed[:, 0].tolist() == sorted([*sizes, size], reverse=True)
    np.testing.assert_array_equal(physics.insert(levels, np.zeros(1))[:-1], levels)


@settings(max_examples=40, deadline=None)
@given(st.lists(bits, min_size=1, max_size=8))
def test_remaining_delay_equals_the_papers_sum(sizes):
    ascending = [0.0, *sorted(sizes)]
    n = len(sizes)
    paper = sum((n - i + 1) ** 2 * (ascending[i] - ascending[i - 1]) for i in range(1, n + 1))
    ours = physics.remaining_delay_s(descending(sizes, n + 2), np.array([5e-7]))[0]
    assert ours == pytest.approx(5e-7 * paper, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(bits, max_size=8), bits, st.floats(0.0, 1e8))
def test_shared_bits_are_the_rise_of_the_remaining_delay(sizes, size, served):
    levels = descending(sizes, len(sizes) + 1)
    now = np.maximum(levels - served, 0.0)
    before = physics.remaining_delay_s(now, np.ones(1))
    after = physics.remaining_delay_s(physics.insert(now, np.array([size])), np.ones(1))
    added = physics.shared_bits(levels, np.array([served]), np.array([size]))
    assert added[0] == pytest.approx((after - before)[0], rel=1e-6, abs=1e-2)


def test_two_tasks_by_hand():
    # 4 Mbit and 2 Mbit at 2 Mbit/s: 1 Mbit/s each, the small one ends after 2 s, the large one after 3 s
    levels = np.array([[4e6], [2e6]])
    np.testing.assert_allclose(physics.serve(levels, np.array([1e6])), [[3.5e6], [1.5e6]])
    np.testing.assert_allclose(physics.serve(levels, np.array([5e6])), [[1e6], [0.0]])
    np.testing.assert_allclose(physics.remaining_delay_s(levels, np.array([5e-7])), 5.0)


def test_energy_of_the_papers_average_task():
    # 16 Mbit at 2 GHz: 1.6e10 cycles of 5e-31 * 4e18 J = 0.032 J, and 0.02 s of 0.2 W
    joule = physics.energy_j(
        np.array([16e6]),
        np.array([0.02]),
        np.array([2e9]),
        transmit_w=0.2,
        cycles_per_bit=1e3,
        capacitance=5e-31,
    )
    np.testing.assert_allclose(joule, 0.036)


def test_link_budget_by_hand():
    # 1 km at 3.5 GHz: 28 + 66 + 10.881 dB; 23.01 dBm + 25 dB - 104.881 dB = -56.87 dBm over -89 dBm noise
    link = LinkBudget(shadowing_db=0.0, cloud_m=(1000.0, 1000.0), edge_m=(100.0, 100.0))
    assert 10 * math.log10(link.noise_w * 1e3) == pytest.approx(-89.0)
    snr = link.mean_snr(Streams([1]), 2, 3)
    np.testing.assert_allclose(10 * np.log10(snr[0, 0]), 32.129, atol=1e-3)
    np.testing.assert_allclose(10 * np.log10(snr[0, 1]), 54.129, atol=1e-3)  # 22 dB a decade
    np.testing.assert_allclose(link.rate(np.array([1.0, 3.0])), [150e6, 200e6])  # the floor, and 2 bit/s/Hz


def test_fading_is_rayleigh_and_shadowing_log_normal():
    link = LinkBudget(cloud_m=(1000.0, 1000.0), guaranteed_bps=1.0)
    streams = Streams(range(20_000))
    db = 10 * np.log10(link.mean_snr(streams, 1, 1)[:, 0, 0])
    assert db.mean() == pytest.approx(32.13, abs=0.12)  # 4 standard errors
    assert db.std() == pytest.approx(4.0, abs=0.08)
    rates = Rayleigh(link=link).rates(streams, np.full((20_000, 1, 1), 10.0), np.zeros(20_000, dtype=int))[
        :, 0
    ]
    power = (2 ** (rates / link.bandwidth_hz) - 1) / 10.0  # |h|^2, which is exponential with mean 1
    assert power.mean() == pytest.approx(1.0, abs=0.03)
    assert (power > 1.0).mean() == pytest.approx(math.exp(-1), abs=0.014)


def test_interference_lowers_rates_and_vanishes_with_rejection():
    gains = np.full((500, 2, 4), 300.0)
    user = np.zeros(500, dtype=int)
    rates = {
        db: Interference(rejection_db=db).rates(Streams(range(500)), gains, user) for db in (0.0, 30.0, 300.0)
    }
    assert (rates[0.0] <= rates[30.0]).all()
    assert (rates[30.0] < rates[300.0]).any()
    fading = -np.log1p(-Streams(range(500)).uniforms(8)).reshape(500, 2, 4)[:, :, 0]
    np.testing.assert_allclose(rates[300.0], LinkBudget().rate(300.0 * fading))


def test_arrivals_are_poisson_and_sizes_balance_capacity():
    n = 40_000
    workload = Poisson(users=4, arrivals_per_user=0.5, smallest_bits=1e-6, largest_bits=1e12)
    waiting = np.full(n, 10)
    size, user, backlog = workload.arrive(Streams(range(n)), np.full(n, 16e6), waiting)
    arrived = backlog + 1 - waiting
    for k in range(5):
        expected = math.exp(-2) * 2**k / math.factorial(k)
        assert (arrived == k).mean() == pytest.approx(expected, abs=0.01)
    assert size.mean() == pytest.approx(8e6, rel=0.02)  # 16 Mbit a slot over 2 tasks a slot
    assert (size > 8e6).mean() == pytest.approx(math.exp(-1), abs=0.01)
    np.testing.assert_allclose(np.bincount(user) / n, 0.25, atol=0.01)


def test_queue_is_first_come_first_served_one_a_slot():
    workload, streams = Poisson(), Streams(range(2000))
    backlog, placed, arrived = np.zeros(2000, dtype=int), 0, 0
    for _ in range(50):
        before = backlog
        size, _, backlog = workload.arrive(streams, np.full(2000, 16e6), backlog)
        new = backlog + (size > 0) - before
        assert (new >= 0).all()
        assert ((size == 0) <= (backlog == 0)).all()  # idle only with an empty queue
        placed, arrived = placed + (size > 0).sum(), arrived + new.sum()
    assert placed + backlog.sum() == arrived
    assert arrived / (2000 * 50) == pytest.approx(1.0, abs=0.013)
