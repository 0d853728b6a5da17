"""The frozen numbers are those of the committed calibration, and the calibration is what measuring gives."""

import json
from pathlib import Path

import numpy as np
import pytest

from envs.offloading import SYSTEMS
from envs.offloading.calibrate import PREFERENCES, SEED, measured_scales, ref_points
from envs.offloading.frozen import REF_POINTS, SCALES
from envs.offloading.heuristics import Greedy, Random
from envs.offloading.play import episode_costs
from envs.streams import Streams

FILE = Path(__file__).parents[2] / "reports/agents/offloading/calibration.json"


@pytest.fixture(scope="module")
def committed():
    return json.loads(FILE.read_text())


def test_frozen_numbers_are_the_committed_ones(committed):
    measured = {
        name: row["ref_points"] for name, row in (*committed["systems"].items(), ("tiny", committed["tiny"]))
    }
    assert measured.keys() == SYSTEMS.keys() == REF_POINTS.keys()
    for name, points in REF_POINTS.items():
        assert {kind: list(point) for kind, point in points.items()} == {k: measured[name][k] for k in points}
    assert (committed["scales"]["delay_s"], committed["scales"]["energy_j"]) == SCALES


def test_reference_points_follow_from_the_committed_fronts(committed):
    for row in committed["systems"].values():
        means = {name: np.array(front)[:, 1:3] for name, front in row["fronts"].items()}
        assert ref_points(means) == row["ref_points"]


def test_measuring_again_gives_the_committed_rows(committed):
    # two rows of 303 in one system, on all hundred episodes; 6 digits are written down
    config, seeds = SYSTEMS["nominal-6"], range(SEED, SEED + 100)
    fronts = committed["systems"]["nominal-6"]["fronts"]
    assert measured_scales(SYSTEMS["training-6"], 100) == SCALES
    for name, rule in (("greedy", Greedy(PREFERENCES[[40]])), ("random", None)):
        if rule is None:  # the streams of the 41st preference of a batch of forty are the first ones
            rule = Random(np.full(100, PREFERENCES[40, 0]), SEED)
        costs = episode_costs(rule, config, seeds)
        np.testing.assert_allclose(costs.mean(axis=0), fronts[name][40][1:3], rtol=1e-5)


def test_random_rule_shares_no_stream_with_the_environment():
    environment = Streams(range(SEED, SEED + 100)).uniforms(4)
    coins = Random(np.full(4096, 0.5), SEED)._streams.uniforms(4)
    assert not np.isin(coins, environment).any()
