from dataclasses import replace

import moocore
import numpy as np
import pytest

from pareto.objectives import Objective, Objectives
from pareto.report.seeds import across_seeds, volume
from pareto.report.tree import PolicyRow
from pareto.rng import generator
from tests.report.test_steering import row

TWO = Objectives([Objective("a"), Objective("b", "min")])


def seeded(n_seeds: int, per_seed: int = 4) -> list[PolicyRow]:
    values = generator("seeds", n_seeds).integers(1, 9, (n_seeds, per_seed, 2)).astype(float)
    return [
        replace(row(f"{s}-{i}", None, values[s, i].tolist()), seed=s)
        for s in range(n_seeds)
        for i in range(per_seed)
    ]


def test_hypervolume_of_each_seed_alone_by_hand() -> None:
    rows = [
        row("1", None, [1.0, 1.0]),
        row("2", None, [2.0, 3.0]),
        replace(row("3", None, [3.0, 2.0]), seed=7),
    ]
    made = across_seeds(TWO, rows, [0.0, 4.0])
    assert made is not None
    # seed 0: [0,1]x[1,4] and [1,2]x[3,4] -> 3 + 1; seed 7: [0,3]x[2,4] -> 6
    assert [(r.seed, r.policies, r.hypervolume) for r in made.rows] == [(0, 2, 4.0), (7, 1, 6.0)]
    assert made.interquartile_mean == 5.0


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end() -> None:
    made = across_seeds(TWO, seeded(8), [0.0, 9.0])
    assert made is not None
    alone = sorted(r.hypervolume for r in made.rows)
    assert made.interquartile_mean == pytest.approx(sum(alone[2:6]) / 4)
    assert made.interquartile_mean_ci95[0] <= made.interquartile_mean <= made.interquartile_mean_ci95[1]


def test_surfaces_hold_what_so_many_seeds_attain() -> None:
    rows = seeded(4)
    made = across_seeds(TWO, rows, [0.0, 9.0])
    assert made is not None
    assert [s.seeds for s in made.surfaces] == [1, 2, 3]
    for surface in made.surfaces:
        corners = np.array(surface.points)
        for a in np.arange(0.5, 9):
            for b in np.arange(0.5, 9):
                attaining = {p.seed for p in rows if p.values[0] >= a and p.values[1] <= b}
                inside = bool(((corners[:, 0] >= a) & (corners[:, 1] <= b)).any())
                assert inside == (len(attaining) >= surface.seeds)


def test_two_seeds_have_two_surfaces_and_three_objectives_none() -> None:
    made = across_seeds(TWO, seeded(2), [0.0, 9.0])
    assert made is not None
    assert [s.seeds for s in made.surfaces] == [1, 2]
    three = [replace(row("1", None, [1.0, 2.0, 3.0]), seed=s) for s in range(2)]
    made = across_seeds(Objectives(["a", "b", "c"]), three, [0.0, 0.0, 0.0])
    assert made is not None
    assert made.surfaces == []


def test_one_seed_or_no_reference_point_says_nothing() -> None:
    assert across_seeds(TWO, seeded(1), [0.0, 9.0]) is None
    assert across_seeds(TWO, seeded(3), None) is None


def test_points_outside_the_reference_add_nothing_and_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    points = np.array([[2.0, 1.0], [5.0, -1.0]])
    assert volume(points, np.zeros(2)) == 2.0
    assert volume(points[1:], np.zeros(2)) == 0.0
    assert volume(np.empty((0, 2)), np.zeros(2)) == 0.0
    many = generator("volume").random((12, 3))
    assert volume(many, np.zeros(3)) == pytest.approx(
        float(moocore.hypervolume(many, ref=[0, 0, 0], maximise=True))
    )
    assert not recwarn.list
