from collections.abc import Callable
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pytest

from pareto.report import Report, build, read_run
from pareto.report.measuring import mean_volume


@pytest.fixture(scope="module")
def compared(folder: Callable[..., Path]) -> Report:
    folders = [
        folder("cmp-a"),
        folder("cmp-b", drift=0.8, method="soup"),
        folder("cmp-c", seeds=2, method="mod"),
    ]
    return build([read_run(f) for f in folders])


def test_one_reference_point_the_worst_of_all(compared: Report) -> None:
    assert compared.comparison is not None
    points = np.array([run.ref_point for run in compared.runs])
    assert compared.comparison.ref_point == points.min(axis=0).tolist()


def test_hypervolumes_are_moocores_and_means_over_seeds(compared: Report) -> None:
    assert compared.comparison is not None
    ref = compared.comparison.ref_point
    for contender, run in zip(compared.comparison.contenders, compared.runs):
        seeds = sorted({p.seed for p in run.policies})
        alone = [
            moocore.hypervolume(
                np.array([p.values for p in run.policies if p.seed == s]), ref=ref, maximise=True
            )
            for s in seeds
        ]
        assert contender.hypervolume == pytest.approx(float(np.mean(alone)), rel=1e-12)
        assert contender.seeds == len(seeds)


def test_differences_are_paired_and_have_an_interval(compared: Report) -> None:
    assert compared.comparison is not None
    first, second, _ = compared.comparison.contenders
    assert first.difference is None
    assert second.difference == pytest.approx(second.hypervolume - first.hypervolume, rel=1e-9)
    assert second.difference_ci95 is not None
    assert (
        second.difference_ci95[0] <= second.difference <= second.difference_ci95[1] < 0
    )  # 20 % less of everything
    # the units' difficulty is shared by both runs, so the paired interval is narrower than the two put together
    assert first.hypervolume_ci95 is not None
    assert second.hypervolume_ci95 is not None
    width = second.difference_ci95[1] - second.difference_ci95[0]
    apart = sum(c.hypervolume_ci95[1] - c.hypervolume_ci95[0] for c in (first, second) if c.hypervolume_ci95)
    assert width < apart


def test_notes_say_what_differs(compared: Report) -> None:
    assert compared.comparison is not None
    notes = " ".join(compared.comparison.notes)
    assert "different reference points" in notes
    assert "different numbers of seeds" in notes
    assert "mean KL to the reference differs" in notes


def test_the_ratio_at_equal_kl_by_hand(folder: Callable[..., Path]) -> None:
    def at(kls: list[float], points: list[list[float]]) -> Callable[[dict[str, Any]], None]:
        def edit(front: dict[str, Any]) -> None:
            front["policies"] = front["policies"][: len(kls)]
            front["ref_point"], front["exact"] = [0.0, 0.0], None
            for policy, kl, (a, b) in zip(front["policies"], kls, points):
                policy |= {"kl_nats": kl, "values": {"helpful": a, "brief": b}, "ci95": None}

        return edit

    first = folder("thrifty", edit=at([1.0, 2.0], [[1.0, 2.0], [2.0, 1.0]]))
    other = folder("drifter", edit=at([1.0, 4.0], [[1.0, 1.0], [9.0, 9.0]]))
    comparison = build([read_run(first), read_run(other)]).comparison
    assert comparison is not None
    # Limits up to 2 nats, which both reach: from 1 to 2 nats the first has 2 (its first policy), the drifter 1.
    assert comparison.contenders[0].equal_kl_ratio is None
    assert comparison.contenders[1].equal_kl_ratio == pytest.approx(0.5)
    assert comparison.contenders[1].hypervolume == 81.0
    assert comparison.verdict == "Hypervolume against one reference point: drifter 81, thrifty 3."
    apart = folder("apart", edit=at([3.0, 4.0, 5.0], [[1.0, 1.0], [9.0, 9.0], [8.0, 8.0]]))
    comparison = build([read_run(first), read_run(apart)]).comparison
    assert comparison is not None
    assert comparison.contenders[1].equal_kl_ratio is None
    assert any("hardly overlaps" in note for note in comparison.notes)


def test_runs_with_other_objectives_are_reported_but_not_compared(folder: Callable[..., Path]) -> None:
    made = build([read_run(folder("cmp-a")), read_run(folder("three", m=3, n=10))])
    assert made.comparison is None
    assert made.notes == ["Not compared: the runs do not have the same objectives in the same order."]
    assert len(made.runs) == 2


def test_runs_without_scores_have_no_difference(folder: Callable[..., Path]) -> None:
    made = build([read_run(folder("cmp-a")), read_run(folder("bare-b", sparse=True, exact=False))]).comparison
    assert made is not None
    assert made.contenders[1].difference is None
    assert made.contenders[1].hypervolume_ci95 is None
    assert made.cost_unit is None


def test_the_same_folder_name_twice_stays_told_apart(folder: Callable[..., Path]) -> None:
    run = read_run(folder("few", n=3, units=16))
    assert [r.name for r in build([run, run, run]).runs] == ["few", "few (2)", "few (3)"]


def test_mean_volume_never_pools_seeds() -> None:
    points = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert mean_volume(points, [[0], [1]], np.zeros(2)) == 2.0
    assert mean_volume(points, [[0, 1]], np.zeros(2)) == 3.0
