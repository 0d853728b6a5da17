"""Runs seed by seed, and at equal terms."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pareto.report import Report, build, read_run
from pareto.report.equal_kl import common_limit
from pareto.report.growth import jobs
from pareto.report.pairing import attainment_differences, pairings


@pytest.fixture(scope="module")
def seeds(folder: Callable[..., Path]) -> Report:
    few = {"n": 4, "units": 24, "seeds": 3}
    return build(
        [
            read_run(folder("pair-a", **few)),
            read_run(folder("pair-b", drift=0.7, method="soup", **few)),
            read_run(folder("pair-c", drift=1.05, method="mod", **few)),
        ]
    )


def test_every_two_runs_are_compared_seed_by_seed(seeds: Report) -> None:
    comparison = seeds.comparison
    assert comparison is not None
    assert [(p.first, p.second) for p in comparison.pairings] == [(0, 1), (0, 2), (1, 2)]
    for pair in comparison.pairings:
        a, b = (np.array(comparison.contenders[r].by_seed) for r in (pair.first, pair.second))
        assert pair.seeds == 3
        assert pair.difference == pytest.approx((a - b).mean())
        assert pair.p == pytest.approx(stats.wilcoxon(a, b).pvalue)  # type: ignore[attr-defined]
        assert pair.p <= pair.p_holm <= min(1.0, 3 * pair.p)
        wins = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
        assert pair.improvement == pytest.approx(wins)
    assert comparison.pairings[0].improvement == 1.0  # 30 % less of everything loses with every seed


def test_interquartile_means_of_the_seeds(seeds: Report) -> None:
    assert seeds.comparison is not None
    for contender in seeds.comparison.contenders:
        assert contender.interquartile_mean == pytest.approx(
            np.mean(contender.by_seed)
        )  # three seeds: their mean
        low, high = contender.interquartile_mean_ci95 or (np.nan, np.nan)
        assert min(contender.by_seed) <= low <= high <= max(contender.by_seed)


def test_only_shared_seeds_are_paired(seeds: Report) -> None:
    assert pairings(seeds.runs[:1], [[1.0, 2.0, 3.0]]) == []
    short = replace(seeds.runs[1], policies=[p for p in seeds.runs[1].policies if p.seed != 1])
    (made,) = pairings([seeds.runs[0], short], [[1.0, 100.0, 3.0], [0.0, 1.0]])  # seeds 0, 1, 2 and 0, 2
    assert (made.seeds, made.difference) == (2, 1.5)
    alone = replace(short, policies=[p for p in short.policies if p.seed == 0])
    assert pairings([seeds.runs[0], alone], [[1.0, 2.0, 3.0], [0.0]]) == []


def test_equal_cost_and_equal_kl_hold_every_run_to_the_same_limits(seeds: Report) -> None:
    comparison = seeds.comparison
    assert comparison is not None
    assert comparison.budget == min(run.cost["train_tokens"] for run in seeds.runs)
    assert comparison.kl_limit_nats == common_limit(seeds.runs)
    assert comparison.kl_limit_nats == min(max(p.kl_nats for p in run.policies) for run in seeds.runs)
    for contender, run in zip(comparison.contenders, seeds.runs):
        held = contender.at_equal_kl
        inside = sum(p.kl_nats <= comparison.kl_limit_nats for p in run.policies if p.kl_nats is not None)
        assert (held.policies if held else 0) == inside
        share = comparison.budget / run.cost["train_tokens"]
        paid = 3 * int(share * len(jobs(run.policies)[0]) + 1e-9)
        assert (contender.at_equal_cost.policies if contender.at_equal_cost else 0) == paid
    cheapest = comparison.contenders[1]
    assert cheapest.at_equal_cost is not None
    assert cheapest.at_equal_cost.hypervolume == cheapest.hypervolume


def test_the_ratio_at_equal_kl_has_an_interval_that_knows_shared_units(folder: Callable[..., Path]) -> None:
    def level(front: dict[str, Any]) -> None:
        for policy in front["policies"]:
            policy["kl_nats"] = 1.0

    few = {"n": 4, "units": 200, "edit": level}
    runs = [read_run(folder("kl-a", **few)), read_run(folder("kl-b", drift=0.8, method="soup", **few))]
    comparison = build(runs).comparison
    assert comparison is not None
    other = comparison.contenders[1]
    assert other.equal_kl_ratio is not None
    assert other.equal_kl_ratio_ci95 is not None
    low, high = other.equal_kl_ratio_ci95
    assert low <= other.equal_kl_ratio <= high < 1.0
    # every policy lies at the same KL, so the ratio is that of the whole hypervolumes
    assert other.equal_kl_ratio == pytest.approx(other.hypervolume / comparison.contenders[0].hypervolume)
    own = [c.hypervolume_ci95 for c in comparison.contenders]
    assert own[0] is not None
    assert own[1] is not None
    unpaired = (own[1][1] - own[1][0]) / comparison.contenders[0].hypervolume
    assert high - low < unpaired + (own[0][1] - own[0][0]) / comparison.contenders[0].hypervolume


def test_attainment_differences_add_up_to_the_difference_in_hypervolume(seeds: Report) -> None:
    comparison = seeds.comparison
    assert comparison is not None
    ref = np.array(comparison.ref_point)  # both objectives grow
    for found in comparison.attainment:
        r = np.array(found.rectangles)
        assert (r[:, :2] >= ref - 1e-12).all()
        signed = float(((r[:, 2] - r[:, 0]) * (r[:, 3] - r[:, 1]) * r[:, 4]).sum())
        first, other = comparison.contenders[0], comparison.contenders[found.run]
        # the area under the attainment function is the mean hypervolume
        assert signed == pytest.approx(first.hypervolume - other.hypervolume, rel=1e-9)


def test_attainment_differences_need_two_objectives(report: Callable[..., Report]) -> None:
    three = report("m3", m=3, n=8, units=16).runs
    assert attainment_differences([*three, *three], np.zeros(3)) == []
