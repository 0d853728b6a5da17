"""What an archive keeps, and what is chosen from it."""

import numpy as np
import pytest
import torch

from pareto.agents.archive import Archive, crowding, lower_bounds
from pareto.agents.gaps import GapSelection
from pareto.agents.normalise import Running
from pareto.agents.population import Snapshots
from pareto.agents.selecting import CrowdingSelection, GainSelection, Known, Lesson, expected, promising
from pareto.objectives import Objectives


def numbered(*numbers):
    """Policies whose one parameter is their number."""
    rows = torch.tensor([[float(n)] for n in numbers])
    return Snapshots(rows, Running.begin(len(rows), 1), Running.begin(len(rows), 2))


def offered(archive, points, first=0, lows=None):
    points = np.array(points, dtype=float)
    lows = points if lows is None else np.array(lows, dtype=float)
    return archive.offer(numbered(*range(first, first + len(points))), points, lows)


def numbers(archive):
    return archive.policies.parameters[:, 0].tolist()


def test_a_lower_bound_is_the_mean_less_its_standard_errors():
    """1, 2, 3: mean 2, sample deviation 1, standard error 1 / sqrt 3."""
    found = lower_bounds(np.array([[[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]]), 2.0)
    np.testing.assert_allclose(found, [[2 - 2 / 3**0.5, 5.0]])
    np.testing.assert_allclose(lower_bounds(np.array([[[4.0, 1.0]]]), 2.0), [[4.0, 1.0]])


def test_only_what_is_surely_good_enters():
    """A mean above all and a bound below: one lucky episode more or less decides nothing."""
    archive = offered(Archive.empty(2, 10), [[1, 1]])
    archive = offered(archive, [[5, 5], [2, 0]], first=1, lows=[[0, 0], [2, 0]])
    assert numbers(archive) == [0, 2]
    assert offered(archive, [[1, 1]], first=7) is archive  # of equal points the first stays
    assert numbers(offered(archive, [[3, 3]], first=8)) == [8]
    assert numbers(offered(archive, [[np.nan, 9]], first=9)) == [0, 2]


def test_a_full_archive_keeps_its_ends_and_the_most_isolated():
    points = [[0, 10], [1, 9], [2, 8], [5, 5], [10, 0]]
    # distances of the inner ones: (2 + 2) / 10, (4 + 4) / 10, (8 + 8) / 10
    np.testing.assert_allclose(crowding(np.array(points, dtype=float)), [np.inf, 0.4, 0.8, 1.6, np.inf])
    assert numbers(offered(Archive.empty(2, 4), points)) == [0, 2, 3, 4]


def known(points, tried=(), gained=(0.1, 0.1), lessons=()):
    points = np.array(points, dtype=float)
    return Known(
        Objectives(["a", "b"]),
        points,
        np.ptp(points, axis=0),
        np.zeros(2),
        np.array(gained),
        dict.fromkeys(tried, 1),
        tuple(lessons),
    )


def test_crowding_passes_over_what_was_extended():
    points = [[0, 10], [1, 9], [5, 5], [10, 0]]
    assert CrowdingSelection(n=2).choose(known(points), [0, 1]) == [
        (0, 0, None),
        (0, 1, None),
        (3, 0, None),
        (3, 1, None),
    ]
    done = {(0.0, 10.0, 0.0), (10.0, 0.0, 0.0)}
    assert CrowdingSelection(n=1).choose(known(points, done), [0, 1]) == [(2, 0, None), (2, 1, None)]


def test_gain_goes_where_hypervolume_is_to_be_had():
    """Spans are 8: b is hoped to climb by .625 x 8 = 5 at the price of .05 x 8 = .4 in a.

    From (9, 1) to (8.6, 6): 3.6 x 5 beside (5, 5) and 4 x 1 above it, 22 in all. From (5, 5) to (4.6, 10): 3.6 x 5 and 1 x 1.
    """
    points = [[1, 9], [5, 5], [9, 1]]
    gain = GainSelection(n=1)
    assert gain.choose(known(points, gained=(0.1, 0.625)), [0, 1]) == [(2, 1, None)]
    assert gain.choose(known(points, {(9.0, 1.0, 1.0)}, (0.1, 0.625)), [0, 1]) == [(1, 1, None)]


def test_what_gained_nothing_nearby_is_not_hoped_for_again():
    """Spans are 8; from (9, 1) climbing b gained nothing: (.625 + 0) / 2 there. (5, 5) lies .5 x 2^.5 spans away: with a reach
    of .25 the lesson weighs exp(-4) = .0183 there and makes .625 / 1.0183; (1, 9) lies twice as far, exp(-16).

    Then (8.6, 3.5) adds 3.6 x 2.5 = 9 only, (4.6, 9.9) adds 3.6 x 4.9 and 1 x .9.
    """
    points = [[1, 9], [5, 5], [9, 1]]
    told = known(points, gained=(0.1, 0.625), lessons=[Lesson((9.0, 1.0), 1, 0.0)])
    np.testing.assert_allclose(expected(told, 0.25)[:, 0], 0.1)
    np.testing.assert_allclose(expected(told, 0.25)[:, 1], [0.625, 0.625 / 1.0183, 0.3125], rtol=1e-4)
    assert GainSelection(n=1).choose(told, [0, 1]) == [(2, 1, None)]
    assert GainSelection(n=1, reach=0.25).choose(told, [0, 1]) == [(1, 1, None)]


def test_a_fall_is_no_reason_to_expect_another():
    told = known([[1, 9], [9, 1]], lessons=[Lesson((9.0, 1.0), 0, -5.0)])
    np.testing.assert_allclose(expected(told, 0.1), [[0.1, 0.1], [0.0, 0.1]])


@pytest.mark.parametrize(
    "select", [CrowdingSelection(n=1), GainSelection(n=4), GapSelection(between=("a", "b"), n=4)]
)
def test_only_objectives_that_are_climbed_are_chosen(select):
    choices = select.choose(known([[1, 9], [5, 5], [9, 1]], gained=(0.5, 0.5)), [1])
    assert choices
    assert {choice.climb for choice in choices} == {1}


def test_gaps_are_approached_from_both_neighbours_and_halved():
    """Between (9, 1), (5, 5) and (1, 9): rectangles 16 each, promises 4. Ends: .19 x 8 x 1 = 1.52.

    The first gap, the second, either end, then a quarter of the first gap, 1 of 16: at shares 1/4 and 3/4 of the way.
    """
    points, select = [[1, 9], [5, 5], [9, 1]], GapSelection(between=("a", "b"), n=5)
    choices = select.choose(known(points, gained=(0.19, 0.19)), [0, 1])
    assert choices[:4] == [(2, 1, (0, 7.0)), (1, 0, (1, 3.0)), (1, 1, (0, 3.0)), (0, 0, (1, 7.0))]
    assert choices[4:6] == [(2, 0, None), (0, 1, None)]
    assert choices[6:] == [(2, 1, (0, 8.0)), (1, 0, (1, 2.0))]


def test_a_gap_that_was_tried_in_vain_waits():
    """Promises 4 / (1 + (1 + 1) / 2) = 2 for the first gap, 4 for the other, .04 for the ends."""
    tried = {(9.0, 1.0, 1.0), (5.0, 5.0, 0.0)}
    select = GapSelection(between=("a", "b"), n=2)
    choices = select.choose(known([[1, 9], [5, 5], [9, 1]], tried, (0.005, 0.005)), [0, 1])
    assert [(c.place, c.climb) for c in choices] == [(1, 1), (0, 0), (2, 1), (1, 0)]


def test_policies_behind_the_front_of_the_two_objectives_open_no_gap():
    choices = GapSelection(between=("a", "b"), n=2).choose(known([[1, 9], [4, 4], [5, 5], [9, 1]]), [0, 1])
    assert {c.place for c in choices} <= {0, 2, 3}


def test_candidates_promise_what_they_add_to_those_before_them():
    """Above (0, 0) with (2, 2) held: (3, 1) adds 1, (1, 4) adds 2, (1.5, 3.5) adds 2.25 and leaves (1, 4) .5 and (3, 1) its 1."""
    lows, held = np.array([[3.0, 1.0], [1.0, 4.0], [1.5, 3.5], [1.0, 1.0]]), np.array([[2.0, 2.0]])
    assert promising(lows, held, np.zeros(2), 4).tolist() == [2, 0, 1]
    assert promising(lows, held, np.zeros(2), 1).tolist() == [2]
    assert promising(lows, held[:0], np.full(2, -np.inf), 1).tolist() == [2]
