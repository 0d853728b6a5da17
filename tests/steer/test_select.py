"""Queries by measured value: bounds, one goal, and a clear word when nothing meets them."""

from __future__ import annotations

import pytest

from pareto.errors import ObjectiveError, UsageError
from pareto.policy_set import load
from pareto.steer.select import parse_query


@pytest.fixture
def run(write_run, fake_kind):
    return load(write_run())  # (helpful, tokens): a (3, 9), b (2, 4), c (1.5, 6), d (0.5, 1)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("max helpful", "a"),
        ("min tokens", "d"),
        ("helpful >= 1, min tokens", "b"),
        ("min tokens,helpful>=1", "b"),
        ("tokens <= 8, max helpful", "b"),
        ("tokens >= 5, tokens <= 8, max helpful", "c"),
        ("helpful >= 3, min tokens", "a"),  # a bound may be met exactly
        ("helpful >= -1e3, tokens <= .2e1, max helpful", "d"),
    ],
)
def test_the_best_of_those_that_meet_every_bound(run, query, expected):
    assert run.steer(at=query) == ("run", expected)


def test_equal_policies_go_by_order(write_run, run):
    def level(front):
        for row in front["policies"]:
            row["values"]["helpful"] = 1.0

    assert load(write_run(level)).steer(at="max helpful") == ("run", "a")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("helpful >= 4, min tokens", r"none of the 4 .* helpful >= 4 \(best measured: 3\); nearest is policy 'a' with helpful=3, tokens=9"),
        ("tokens <= 0.5, max helpful", r"tokens <= 0\.5 \(best measured: 1\); nearest is policy 'd'"),
        # in shares of the ranges 2.5 and 8, b misses 3 / 8 and d misses 1.5 / 2.5
        ("helpful >= 2, tokens <= 1, max helpful", r"each can be met, but not together; nearest is policy 'b'"),
        ("helpful >= 2, tokens <= 3, max helpful", r"each can be met, but not together; nearest is policy 'b'"),
    ],
)  # fmt: skip
def test_when_nothing_meets_the_bounds_the_reachable_is_named(run, query, message):
    with pytest.raises(UsageError, match=message):
        run.steer(at=query)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("", UsageError, "cannot read ''"),
        ("helpful", UsageError, "cannot read 'helpful'"),
        ("helpful > 1, min tokens", UsageError, "cannot read 'helpful > 1'"),
        ("helpful >= much, min tokens", UsageError, "'much' in 'helpful >= much' is no finite number"),
        ("helpful >= nan, min tokens", UsageError, "is no finite number"),
        ("helpful >= 1", UsageError, "exactly one goal; got 0"),
        ("max helpful, min tokens", UsageError, "exactly one goal; got 2"),
        ("max tokens", UsageError, "objective 'tokens' has direction 'min'; write 'min tokens'"),
        ("max helpfull", ObjectiveError, "did you mean 'helpful'"),
        ("helpfull >= 1, min tokens", ObjectiveError, "did you mean 'helpful'"),
    ],
)
def test_queries_that_cannot_be_read(run, query, error, message):
    with pytest.raises(error, match=message):
        parse_query(query, run.objectives)


def test_a_run_without_policies_has_nothing_to_choose(write_run, run):
    with pytest.raises(UsageError, match="holds no policy to choose from"):
        load(write_run(lambda f: f.update(policies=[]))).steer(at="max helpful")
