"""`pareto list` shows every registered thing with its source."""

from __future__ import annotations

import pytest

from pareto.cli.list import _SHELVES, add_arguments
from pareto.env_loader import load_envs
from pareto.front import INDICATORS


@pytest.mark.parametrize("kind", sorted(_SHELVES))
def test_every_shelf_lists_names_with_a_status_and_a_source(pareto, kind):
    code, out, _ = pareto("list", kind)
    assert code == 0
    for line in out.splitlines():
        name, summary, status, source = line.split("\t")
        assert name
        assert summary
        assert status in ("verified", "unverified")
        assert source


def test_indicators_are_all_there(pareto):
    names = [line.split("\t")[0] for line in pareto("list", "indicators")[1].splitlines()]
    assert names == INDICATORS.names()


def test_environments_are_listed_with_their_credits(pareto):
    load_envs()
    code, out, _ = pareto("list", "envs")
    assert code == 0
    rows = dict(line.split("\t", 1) for line in out.splitlines())
    assert "Vamplew" in rows["pareto/DeepSeaTreasure-v0"]
    assert all(name.startswith("pareto/") for name in rows)


def test_a_terminal_gets_a_table(pareto, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = pareto("list", "indicators")
    assert code == 0
    assert f"{len(INDICATORS.names())} indicators" in out
    assert "hypervolume" in out


def test_an_unknown_kind_is_bad_usage(pareto):
    assert add_arguments is not None
    code, _, err = pareto("list", "cakes")
    assert code == 2
    assert "indicators" in err
