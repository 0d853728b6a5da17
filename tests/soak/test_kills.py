"""The short form of `make soak`: one kill or more of a sweep of every study, and nothing is lost or done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.kills import Kills, studies, summary

FAULTS = (
    "unreadable stores",
    "finished cells forgotten",
    "cells lost",
    "cells committed twice",
    "folders with problems",
    "other content",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(studies()))
def test_killed_sweeps_end_as_if_nobody_had_touched_them(name: str, tmp_path: Path) -> None:
    kills = Kills(studies()[name], tmp_path)
    kills.run(1)
    (row,) = summary({name: kills.ledger})
    assert row["kills"] >= 1
    assert {fault: row[fault] for fault in FAULTS} == dict.fromkeys(FAULTS, 0)
