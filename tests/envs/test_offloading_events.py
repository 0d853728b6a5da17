"""The dynamics against a second simulator: one event after another, in plain Python, from the definitions."""

import math
from itertools import product

import numpy as np
import pytest

from envs.offloading import TINY, OffloadingConfig, OffloadingDynamics
from envs.offloading.channel import Interference, Wired
from envs.offloading.encoding import FEATURES
from envs.offloading.exact import best_values, grow, supported_front
from envs.offloading.system import Fixed, Range
from envs.offloading.workload import Discrete
from envs.streams import Streams

SYSTEMS = {
    "padded": OffloadingConfig(system=Range(edges=(1, 4), max_edges=5), histogram_bins=5, histogram_bits=3e6),
    "interference": OffloadingConfig(system=Fixed(edge_hz=(1.5e9, 2.5e9)), channel=Interference()),
    "tiny": TINY,
}


def share(bits_per_s, jobs, until=math.inf):
    """Serve jobs [(start, size)] by processor sharing; (completion times, residual sizes at `until`)."""
    left, done, now = {}, [None] * len(jobs), 0.0
    waiting = sorted(range(len(jobs)), key=lambda j: jobs[j][0])
    while waiting or left:
        joins = jobs[waiting[0]][0] if waiting else math.inf
        finishes = now + min(left.values()) * len(left) / bits_per_s if left else math.inf
        then = min(joins, finishes, until)
        for j in left:
            left[j] -= (then - now) * bits_per_s / len(left)
        now = then
        if finishes <= joins and finishes <= until:
            first = min(left, key=left.get)
            for j in [j for j in left if left[j] <= left[first] + 1e-6]:
                done[j] = now
                del left[j]
        elif joins <= until:
            left[waiting[0]] = jobs[waiting[0]][1]
            waiting.pop(0)
        else:
            break
    return done, list(left.values())


def poisson(u, rate):
    k, term, total = 0, math.exp(-rate), math.exp(-rate)
    while u >= total:
        k += 1
        term *= rate / k
        total += term
    return k


class Draws:
    """The random numbers of one copy, turned into tasks and rates with Python's own mathematics."""

    def __init__(self, config, seed):
        self.config, self.streams = config, Streams([seed])
        self.servers = config.system.servers
        self.hertz = self.frequencies()
        self.snr = self.mean_snr()
        self.backlog = 0

    def uniforms(self, k):
        return self.streams.uniforms(k)[0].tolist()

    def frequencies(self):
        system = self.config.system
        if system.kind == "fixed":
            return [system.cloud_hz, *system.edge_hz]
        u = self.uniforms(1 + self.servers)
        n_edges = system.edges[0] + int(u[0] * (system.edges[1] - system.edges[0] + 1))
        ranges = [system.cloud_hz] + [system.edge_hz] * n_edges
        return [low + (high - low) * x for (low, high), x in zip(ranges, u[1:])]

    def mean_snr(self):
        channel, users = self.config.channel, self.config.workload.users
        if channel.kind == "wired":
            return None
        link, k = channel.link, self.servers * users
        u, normal = self.uniforms(k), self.streams.normals(k)[0].tolist()
        snr = []
        for e in range(self.servers):
            near, far = link.cloud_m if e == 0 else link.edge_m
            row = []
            for i in range(e * users, (e + 1) * users):
                metres = near + (far - near) * u[i]
                loss_db = (
                    28 + 22 * math.log10(metres) + 20 * math.log10(link.carrier_hz / 1e9) + 4 * normal[i]
                )
                received_dbm = 10 * math.log10(link.transmit_w * 1e3) + link.antenna_gain_db - loss_db
                noise_dbm = link.noise_dbm_per_hz + 10 * math.log10(link.bandwidth_hz) + link.noise_figure_db
                row.append(10 ** ((received_dbm - noise_dbm) / 10))
            snr.append(row)
        return snr

    def slot(self):
        """(size of the task to place, rate to each server)."""
        workload, channel = self.config.workload, self.config.channel
        if workload.kind == "discrete":
            u = self.uniforms(1)[0]
            reached = [sum(workload.probabilities[: k + 1]) for k in range(len(workload.sizes_bits))]
            size = next(s for s, r in zip(workload.sizes_bits, reached) if u < r)
            user = 0
        else:
            u = self.uniforms(3)
            self.backlog += poisson(u[0], workload.users * workload.arrivals_per_user)
            mean = sum(self.hertz) * self.config.slot_s / self.config.cycles_per_bit
            mean /= workload.users * workload.arrivals_per_user
            size = min(max(-mean * math.log(1 - u[1]), workload.smallest_bits), workload.largest_bits)
            size = size if self.backlog else 0.0
            self.backlog -= 1 if self.backlog else 0
            user = int(u[2] * workload.users)
        return size, self.rates(channel, user)

    def rates(self, channel, user):
        if channel.kind == "wired":
            return list(channel.rates_bps)
        link, users = channel.link, self.config.workload.users
        if channel.kind == "rayleigh":
            u = self.uniforms(self.servers)
            sinr = [-self.snr[e][user] * math.log(1 - u[e]) for e in range(self.servers)]
        else:
            u = self.uniforms(self.servers * users)
            power = [
                [-self.snr[e][i] * math.log(1 - u[e * users + i]) for i in range(users)]
                for e in range(self.servers)
            ]
            sinr = [
                row[user] / (1 + 10 ** (-channel.rejection_db / 10) * (sum(row) - row[user])) for row in power
            ]
        return [max(link.guaranteed_bps, link.bandwidth_hz * math.log2(1 + x)) for x in sinr]


def simulate(config, seed, choose, slots):
    """Play one episode; (observations, costs of every choice, costs charged, total delay of all tasks)."""
    draws = Draws(config, seed)
    n = len(draws.hertz)
    bits_per_s = [f / config.cycles_per_bit for f in draws.hertz]
    jobs = [[] for _ in range(n)]
    decided = [[] for _ in range(n)]
    seen, charged = [], []
    for t in range(slots):
        size, rates = draws.slot()
        now = t * config.slot_s
        costs = []
        for e in range(n):
            sending = size / rates[e]
            energy = config.channel.transmit_w * sending + 5e-31 * draws.hertz[e] ** 2 * 1e3 * size
            before, _ = share(bits_per_s[e], jobs[e])
            after, _ = share(bits_per_s[e], [*jobs[e], (now + sending, size)]) if size else (before, None)
            costs.append((sum(after) - sum(before) - (now if size else 0.0), energy))
        residuals = [share(bits_per_s[e], jobs[e], until=now)[1] for e in range(n)]
        seen.append((size, rates, residuals, draws.backlog, costs))
        action = choose(t, n)
        charged.append(costs[action])
        if size:
            jobs[action].append((now + size / rates[action], size))
            decided[action].append(now)
    total = sum(sum(share(bits_per_s[e], jobs[e])[0]) - sum(decided[e]) for e in range(n))
    return draws.hertz, seen, charged, total


def row(config, hertz, size, rate, residual, n_edges, backlog, elapsed, cost):
    """One row of the observation, from its description."""
    residual = [r for r in residual if r > 1e-3]
    values = (size, rate, hertz, len(residual), n_edges, backlog, elapsed, *cost)
    counts = [0.0] * config.histogram_bins
    for r in residual:
        counts[min(int(r / config.histogram_bits), config.histogram_bins - 1)] += 1.0
    return [v / unit for v, unit in zip(values, FEATURES.values())] + counts


@pytest.mark.parametrize("name", SYSTEMS)
def test_batched_dynamics_equal_the_event_simulator(name):
    config, slots, seeds = SYSTEMS[name], 60, [11, 12, 13]
    dynamics, streams = OffloadingDynamics(config), Streams(seeds)
    choices = np.random.default_rng(5).integers(0, 1 << 30, (len(seeds), slots))
    state = dynamics.start(streams)
    observations, rewards = [], []
    for t in range(slots):
        observations.append(dynamics.observe(state))
        there = (state.frequency > 0).sum(axis=1)
        state, reward, terminated = dynamics.step(state, choices[:, t] % there, streams)
        rewards.append(reward)
        assert not terminated.any()
    rewards = np.array(rewards)
    for i, seed in enumerate(seeds):
        hertz, seen, charged, total = simulate(config, seed, lambda t, n, i=i: choices[i, t] % n, slots)
        np.testing.assert_allclose(-rewards[:, i], charged, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(-rewards[:, i, 0].sum(), total, rtol=1e-9)
        for t, (size, rates, residuals, backlog, costs) in enumerate(seen):
            n_edges = len(hertz) - 1
            rows = [
                row(config, hertz[e], size, rates[e], residuals[e], n_edges, backlog, t, costs[e])
                for e in range(len(hertz))
            ]
            np.testing.assert_allclose(observations[t][i, : len(hertz)], rows, rtol=3e-7, atol=1e-6)
            assert (observations[t][i, len(hertz) :] == -1).all()


def test_tiny_front_equals_brute_force_over_all_policies():
    config = TINY.model_copy(
        update={
            "workload": Discrete(sizes_bits=(3e6, 9e6), probabilities=(0.5, 0.5)),
            "channel": Wired(rates_bps=(2e8, 5e8)),
        }
    )
    sizes, rates, bits_per_s, hertz = (3e6, 9e6), (2e8, 5e8), (4e6, 2e6), (4e9, 2e9)
    # a policy of two slots: a server for each first size, then one for each (first size, second size)
    points = []
    for first in product((0, 1), repeat=2):
        for second in product((0, 1), repeat=4):
            delay = energy = 0.0
            for i, j in product((0, 1), repeat=2):
                jobs = [[], []]
                for t, size, e in ((0.0, sizes[i], first[i]), (1.0, sizes[j], second[2 * i + j])):
                    jobs[e].append((t + size / rates[e], size))
                    energy += 0.25 * (0.2 * size / rates[e] + 5e-31 * 1e3 * hertz[e] ** 2 * size)
                delay += 0.25 * sum(sum(share(bits_per_s[e], jobs[e])[0]) for e in (0, 1)) - 0.25 * 1.0
            points.append((-delay, -energy))
    points = np.array(points)
    tree = grow(config, 2)
    weights = np.column_stack([np.linspace(0.0, 1.0, 501), np.linspace(1.0, 0.0, 501)])
    weights[:, 0] /= 300.0  # seconds and joules are of different size
    weights /= weights.sum(axis=1, keepdims=True)
    best = best_values(tree, weights)
    np.testing.assert_allclose((best * weights).sum(axis=1), (points @ weights.T).max(axis=0), rtol=1e-9)
    corners = supported_front(tree)
    found = {tuple(p) for p in np.round(best[1:-1], 6)}
    assert found == {tuple(p) for p in np.round(corners, 6)}
